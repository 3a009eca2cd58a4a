# SPDX-License-Identifier: MIT
"""DNS rebinding, tried for real: names whose answers change, mix, lead through CNAMEs or wrap an
IPv4 address in an IPv6 one, in two networks of the test's own. On the near one are the proxy and
what must stay hidden behind it; across a veth pair are public addresses, an intranet and gateways
of the transition mechanisms. Everybody serves port 80, so that one URL may lead to any of them."""

import ctypes
import ipaddress
import os
import random
import socket
import subprocess
import threading
import time

import pytest

import networks
import wire
from dns_server import DnsServer, Reply
from splits import Faults
from wire import request_bytes, response_bytes

CLONE_NEWNET = 0x40000000
PRIVATE = "builtin:private-address"
METHODS = ["GET", "CONNECT"]

# The near network: the proxy's machine. Two of its addresses are as public as any.
NEAR = ["52.9.9.1/24", "10.9.9.1/24", "2a00:77::ff/64"]
GATEWAY = "52.9.9.254", "2a00:77::fe"
# The far one: what the proxy may reach,
PUBLIC = ["52.9.9.9", "52.9.9.10", "2a00:78::1", "64:ff9b::3409:909"]
ONE, OTHER, SIX, NAT64_OF_ONE = PUBLIC
SILENT = "52.9.8.8"  # nobody answers
# and what it may not.
INTRANET = "10.9.9.9"
WEB_OF_STAFF = "10.9.9.8"  # for those whose rules say so
METADATA = "169.254.169.254"


def teredo(server, client):
    """RFC 4380 4: the server's address, flags, port and client's address, the last two inverted."""
    inverted = int(ipaddress.IPv4Address(client)) ^ 0xFFFFFFFF
    packed = b"\x20\x01\0\0" + ipaddress.IPv4Address(server).packed + b"\0\0\xc0\0"
    return str(ipaddress.IPv6Address(packed + inverted.to_bytes(4, "big")))


def wrapped(address):
    """The IPv6 forms of an IPv4 address: {how: address}."""
    high, low = divmod(int(ipaddress.IPv4Address(address)), 65536)
    return {
        f"mapped {address}": f"::ffff:{address}",
        f"nat64 {address}": f"64:ff9b::{high:x}:{low:x}",
        f"local nat64 {address}": f"64:ff9b:1::{high:x}:{low:x}",
        f"6to4 {address}": f"2002:{high:x}:{low:x}::1",
        f"teredo {address}": teredo(ONE, address),
        f"compatible {address}": f"::{high:x}:{low:x}",
    }


# Addresses that no name may lead to, by what they are.
INSIDE = {
    "loopback": "127.0.0.1",
    "more of loopback": "127.9.9.9",
    "unspecified": "0.0.0.0",
    "the machine's private": "10.9.9.1",
    "the machine's public": "52.9.9.1",
    "private": INTRANET,
    "private /12": "172.16.9.9",
    "private /16": "192.168.9.9",
    "shared": "100.64.9.9",
    "metadata": METADATA,
    "cloud host": "168.63.129.16",
    "loopback 6": "::1",
    "unspecified 6": "::",
    "the machine's public 6": "2a00:77::ff",
    "nat64 of the machine's public": "64:ff9b::3409:901",
    "unique local": "fd77::9",
    **wrapped("127.0.0.1"),
    **wrapped(INTRANET),
    **wrapped(METADATA),
}
HERE = ("loopback", "more", "unspecified", "the machine's", "mapped 127")


def far_addresses():
    """Of those above that lie across the wire, as a socket there is bound to them."""
    found = [ipaddress.ip_address(a) for name, a in INSIDE.items() if not name.startswith(HERE)]
    return sorted({str(getattr(a, "ipv4_mapped", None) or a) for a in found})


# --- The networks -------------------------------------------------------------


class Net:
    """A network namespace, kept by a descriptor. Threads enter it one call at a time: a socket
    belongs to the network in which it was made."""

    def __init__(self):
        self.descriptor = None

        def unshare():
            if ctypes.CDLL(None).unshare(CLONE_NEWNET) == 0:
                self.descriptor = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)

        thread = threading.Thread(target=unshare)
        thread.start()
        thread.join(wire.DEADLINE)
        if self.descriptor is None:
            pytest.skip("network namespaces may not be made here")
        self.path = f"/proc/{os.getpid()}/fd/{self.descriptor}"
        self.wrapper = ["nsenter", f"--net={self.path}"]

    def run(self, *command):
        subprocess.run([*self.wrapper, *command], check=True, timeout=wire.DEADLINE)

    def inside(self, action):
        with networks.inside(self.path):
            return action()

    def close(self):
        os.close(self.descriptor)


class Vault:
    """What nobody may reach. Its connections wait in the listening queue, so that each one that
    ever came is there to be counted."""

    def __init__(self, host):
        self.host = host
        self.listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if host == "::":
            self.listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        self.listener.bind((host, 80))
        self.listener.listen(128)
        self.listener.setblocking(False)

    def accepted(self):
        """How many have connected since it was asked last."""
        for count in range(1000):
            try:
                self.listener.accept()[0].close()
            except BlockingIOError:
                return count
        raise AssertionError("no end of connections")


class World:
    """The two networks, the wire between them, and the vaults on all that is INSIDE."""

    def __init__(self, ip):
        self.near, self.far = Net(), Net()
        made = subprocess.run(
            [*self.near.wrapper, ip, "link", "add", "near", "type", "veth", "peer", "far",
             "netns", self.far.path], capture_output=True, check=False)  # fmt: skip
        if made.returncode != 0:
            pytest.skip("veth pairs may not be made here")
        if not os.path.exists("/proc/net/if_inet6"):
            pytest.skip("no IPv6 here")
        for net, device in ((self.near, "near"), (self.far, "far")):
            net.run(ip, "link", "set", "lo", "up")
            net.run(ip, "link", "set", device, "up")
        for address in NEAR:
            self.near.run(ip, "address", "add", address, "dev", "near", *nodad(address))
        for address, size in zip(GATEWAY, ("/24", "/64")):
            self.far.run(ip, "address", "add", address + size, "dev", "far", *nodad(address))
            self.near.run(ip, "route", "add", "default", "via", address)
        for address in [*PUBLIC, WEB_OF_STAFF, *far_addresses()]:
            self.far.run(ip, "address", "add", address, "dev", "lo", *nodad(address))
        self.near.run(ip, "route", "add", "10.9.9.8/31", "via", GATEWAY[0])
        self.far.run(ip, "route", "add", "blackhole", SILENT)
        self.vaults = [self.near.inside(lambda: Vault("::"))]
        self.vaults += [self.far.inside(lambda host=host: Vault(host)) for host in far_addresses()]

    def accepted(self):
        """{where: how many} of the vaults that somebody has connected to since the last call."""
        counts = {vault.host: vault.accepted() for vault in self.vaults}
        return {host: count for host, count in counts.items() if count}

    def close(self):
        for vault in self.vaults:
            vault.listener.close()
        self.near.close()
        self.far.close()


def nodad(address):
    return ["nodad"] if ":" in address else []


@pytest.fixture(scope="module")
def world():
    """As root, with iproute2; the tests are skipped where that is not allowed."""
    made = World("ip")
    yield made
    made.close()


class Lab:
    """What one test sets up in that world."""

    def __init__(self, world, lab):
        self.world, self.lab = world, lab
        self.dns = world.near.inside(DnsServer)
        self.logged = {}  # (daemon, target): what each of its lines is to say

    def proxy(self, *rules):
        """One worker: one pool for all clients."""
        options = ["server.workers=1", f"dns.servers={self.dns.address}", "dns.negative_ttl=0",
                   f"timeouts.response={wire.SLOWNESS:g}s", "timeouts.connect=2s"]  # fmt: skip
        return self.lab.fresh(*options, *rules, wrapper=self.world.near.wrapper)

    def client(self, proxy, source="127.0.0.1", port=None):
        def connect():
            address = ("127.0.0.1", port or proxy.port)
            return wire.Peer(socket.create_connection(address, wire.DEADLINE, (source, 0)))

        peer = self.world.near.inside(connect)
        self.lab.peers.append(peer)
        return peer

    def origin(self, host, script=None):
        """Says in X-At which one it is."""
        script = script or response_bytes(fields=[("X-At", host)], body=b"ok")
        return self.world.far.inside(lambda: self.lab.origin(script, host=host, port=80))

    def ask(self, proxy, name, method="GET", client=None, **logged):
        """One request for a name, by a client of its own unless given. logged: what its line is to
        say; all lines are looked at together when the test is over."""
        own = None if client else self.client(proxy)
        target = f"{name}:80" if method == "CONNECT" else f"http://{name}/"
        (client or own).request(method, target)
        response = (client or own).read_response(to=method)
        if own:
            own.close()
        self.will_log(proxy, target, **logged)
        return response

    def will_log(self, proxy, target, **fields):
        """One more line for this target."""
        self.logged.setdefault((proxy, target), []).append(fields)

    def refused(self, proxy, name, method="GET", client=None, rule=PRIVATE):
        response = self.ask(
            proxy, name, method, client, status="403", rule=rule, upstream="-", end="denied"
        )
        assert (response.status, response.reason) == (403, f"Denied by rule {rule}")

    def served(self, proxy, name, at, method="GET", client=None, reused=None):
        where = f"[{at}]:80" if ":" in at else f"{at}:80"
        logged = {} if reused is None else {"reused": "yes" if reused else "no"}
        response = self.ask(proxy, name, method, client, status="200", upstream=where, **logged)
        assert response.status == 200, response
        assert method == "CONNECT" or response.get("X-At") == at

    def check_log(self):
        """In the order of the requests, save that a tunnel's line is written when it ends."""
        for (proxy, target), logged in self.logged.items():
            proxy.wait_request(target, count=len(logged))
            lines = proxy.find_lines(event="request", target=target)
            for fields in logged:
                found = [n for n, line in enumerate(lines) if fields.items() <= line.items()]
                assert found, f"{fields} is not among:\n" + "\n".join(l["raw"] for l in lines)
                del lines[found[0] if target.endswith(":80") else 0 : found[0] + 1]

    def untouched(self):
        accepted = self.world.accepted()
        assert not accepted, f"the proxy connected to {accepted}"


@pytest.fixture
def net(world, lab):
    made = Lab(world, lab)
    world.accepted()
    yield made
    made.dns.close()
    made.dns.check()
    made.untouched()
    made.check_log()


def kinds(addresses, ttl=0, cnames=()):
    """The addresses of a reply for A and for AAAA."""
    sixes = [address for address in addresses if ":" in address]
    fours = [address for address in addresses if ":" not in address]
    return {"a": Reply(fours, ttl, list(cnames)), "aaaa": Reply(sixes, ttl, list(cnames))}


def in_turn(*replies):
    """One after the other; the last one stays."""
    left = list(replies)
    return lambda query: left.pop(0) if len(left) > 1 else left[0]


def rebinds(dns, name, *answers, cnames=()):
    """Each answer is a list of addresses, and holds for one look-up (TTL 0)."""
    replies = [kinds(addresses, cnames=cnames) for addresses in answers]
    dns.add(name, **{kind: in_turn(*(reply[kind] for reply in replies)) for kind in ("a", "aaaa")})


# --- One client ---------------------------------------------------------------


def test_all_that_is_inside_answers_who_may_reach_it(net):
    """Without this the others would prove nothing: each vault is where the names lead."""
    proxy = net.proxy("access.all=allow from loopback to any")
    faults = Faults()
    for number, (what, address) in enumerate(INSIDE.items()):
        with faults(what):
            net.dns.add(f"n{number}.test", **kinds([address]))
            client = net.client(proxy)
            client.request("CONNECT", f"n{number}.test:80")
            assert client.read_response(to="CONNECT").status == 200
            seen = net.world.accepted()
            client.close()
            assert list(seen.values()) == [1], seen
    faults.check()


@pytest.mark.parametrize("method", METHODS)
def test_first_public_then_inside(net, method):
    """The page comes from a public address; what its script fetches a moment later from the same
    name does not come from inside, and not over the connection that is left either."""
    origin = net.origin(ONE)
    proxy = net.proxy("access.out=allow from loopback")
    faults = Faults()
    for number, (what, address) in enumerate(INSIDE.items()):
        with faults(what):
            name = f"n{number}.test"
            rebinds(net.dns, name, [ONE], [address])
            net.served(proxy, name, ONE, method)
            origin.wait_peers(number + 1)
            for _ in range(2):
                net.refused(proxy, name, method)
            assert len(origin.peers) == number + 1
            assert len(origin.requests) == (number + 1 if method == "GET" else 0)
            net.untouched()
    faults.check()


def test_the_same_client_connection(net):
    net.origin(ONE)
    proxy = net.proxy("access.out=allow from loopback")
    rebinds(net.dns, "www.test", [ONE], [INTRANET], [ONE], ["127.0.0.1"], [ONE])
    client = net.client(proxy)
    for _ in range(2):
        net.served(proxy, "www.test", ONE, client=client)
        net.refused(proxy, "www.test", client=client)
    net.served(proxy, "www.test", ONE, client=client, reused=True)


def test_pipelined_requests(net):
    """Each has its own look-up, and is judged by it."""
    net.origin(ONE)
    proxy = net.proxy("access.out=allow from loopback")
    rebinds(net.dns, "www.test", [ONE], ["127.0.0.1"], [ONE], ["::ffff:10.9.9.9"])
    client = net.client(proxy)
    client.send(4 * request_bytes("GET", "http://www.test/"))
    assert [client.read_response().status for _ in range(4)] == [200, 403, 200, 403]


@pytest.mark.parametrize("method", METHODS)
def test_mixed_answers(net, method):
    """The public address of the answer is used, wherever it stands; the others never."""
    net.origin(ONE)
    net.origin(SIX)
    proxy = net.proxy("access.out=allow from loopback")
    faults = Faults()
    for number, (what, address) in enumerate(INSIDE.items()):
        for place, addresses in enumerate(([address, ONE], [ONE, address], [address, SIX],
                                           [address, ONE, "127.0.0.1", METADATA])):  # fmt: skip
            with faults(f"{what} {place}"):
                name = f"n{number}-{place}.test"
                net.dns.add(name, **kinds(addresses))
                net.served(proxy, name, SIX if SIX in addresses else ONE, method)
                net.untouched()
    faults.check()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dead", [SILENT, OTHER])
def test_public_address_that_fails_has_no_substitute_inside(net, dead, method):
    """It refuses, or is silent for longer than the race of addresses waits (RFC 8305)."""
    proxy = net.proxy("access.out=allow from loopback")
    inside = ["127.0.0.1", INTRANET, METADATA, *wrapped(INTRANET).values()]
    net.dns.add("www.test", **kinds([dead, *inside]))
    status = 504 if dead == SILENT else 502
    assert net.ask(proxy, "www.test", method, status=str(status)).status == status


@pytest.mark.parametrize("method", METHODS)
def test_cname_chains(net, method):
    """However long, and whatever the names on the way: the addresses at the end are judged."""
    net.origin(ONE)
    proxy = net.proxy("access.out=allow from loopback host .test")
    chains = {
        "one": [("inner.corp.example", 0)],
        "localhost": [("localhost", 0)],
        "long-lived": [("a.test", 86400), ("b.test", 86400)],
        "seven": [(f"c{number}.test", 0) for number in range(7)],
    }
    for label, chain in chains.items():
        for number, address in enumerate(["127.0.0.1", INTRANET, *wrapped(METADATA).values()]):
            name = f"{label}-{number}.test"
            rebinds(net.dns, name, [ONE], [address], [address, ONE], cnames=chain)
            net.served(proxy, name, ONE, method)
            net.refused(proxy, name, method)
            net.served(proxy, name, ONE, method)
            net.untouched()


def test_public_address_in_an_ipv6_form_is_public(net):
    """The forms are not refused as such."""
    net.origin(NAT64_OF_ONE)
    proxy = net.proxy("access.out=allow from loopback")
    rebinds(net.dns, "www.test", [NAT64_OF_ONE], ["64:ff9b::a09:909"])
    net.served(proxy, "www.test", NAT64_OF_ONE)
    net.refused(proxy, "www.test")


# --- The pool -----------------------------------------------------------------


def test_lease_goes_on_while_the_address_is_among_the_allowed(net):
    """What else the answer holds does not matter; when it is gone from the answer it is not leased,
    and when it is back it is."""
    one, other = net.origin(ONE), net.origin(OTHER)
    proxy = net.proxy("access.out=allow from loopback")
    rebinds(net.dns, "www.test", [ONE], [ONE, "127.0.0.1"], [INTRANET, ONE], [OTHER], ["::1"],
            [ONE], [OTHER])  # fmt: skip
    net.served(proxy, "www.test", ONE, reused=False)
    net.served(proxy, "www.test", ONE, reused=True)
    net.served(proxy, "www.test", ONE, reused=True)
    net.served(proxy, "www.test", OTHER, reused=False)
    net.refused(proxy, "www.test")
    net.served(proxy, "www.test", ONE, reused=True)
    net.served(proxy, "www.test", OTHER, reused=True)
    assert (len(one.peers), len(other.peers)) == (1, 1)


def test_answer_that_changes_while_the_connection_is_busy(net):
    """It is given back to the pool after the name has moved inside."""
    asked, gate = threading.Event(), threading.Event()
    net.lab.at_end(gate.set)

    def script(peer):
        while peer.read_request() is not None:
            asked.set()
            assert gate.wait(wire.DEADLINE)
            peer.send(response_bytes(fields=[("X-At", ONE)], body=b"ok"))

    origin = net.origin(ONE, script)
    proxy = net.proxy("access.out=allow from loopback")
    rebinds(net.dns, "www.test", [ONE], ["127.0.0.1"], ["127.0.0.1"], [ONE])
    first = net.client(proxy)
    first.request("GET", "http://www.test/")
    assert asked.wait(wire.DEADLINE)
    net.refused(proxy, "www.test")
    gate.set()
    assert first.read_response().status == 200
    net.will_log(proxy, "http://www.test/", status="200", reused="no")
    net.refused(proxy, "www.test")
    net.served(proxy, "www.test", ONE, reused=True)
    assert len(origin.peers) == 1


@pytest.mark.parametrize("there", [True, False])
def test_second_attempt_goes_where_the_first_was_allowed(net, there):
    """The origin ends the pooled connection instead of answering: the request is sent again to an
    address of the same answer, though the name has moved meanwhile."""

    def script(peer):
        if peer.read_request() is not None:
            peer.send(response_bytes(fields=[("X-At", ONE)], body=b"ok"))
            peer.read_head()

    origin = net.origin(ONE, script)
    proxy = net.proxy("access.out=allow from loopback")
    rebinds(net.dns, "www.test", [ONE], [ONE, INTRANET], ["127.0.0.1"])
    net.served(proxy, "www.test", ONE)
    if there:
        net.served(proxy, "www.test", ONE, reused=False)
    else:
        origin.stop_listening()
        assert net.ask(proxy, "www.test", upstream=f"{ONE}:80").status == 502
    assert net.dns.count("www.test", "A") == 2
    net.refused(proxy, "www.test")


def test_connection_bound_to_its_client_is_judged_too(net):
    """NTLM: the client's own connection, which is leased however old it is."""
    challenge = response_bytes("401 No", [("WWW-Authenticate", "NTLM"), ("X-At", ONE)])
    origin = net.origin(ONE, challenge)
    net.origin(OTHER)
    proxy = net.proxy("access.out=allow from loopback")
    rebinds(net.dns, "www.test", [ONE], [INTRANET], [OTHER], [ONE])
    client = net.client(proxy)
    assert net.ask(proxy, "www.test", client=client, reused="no").status == 401
    net.refused(proxy, "www.test", client=client)
    net.served(proxy, "www.test", OTHER, client=client)
    assert net.ask(proxy, "www.test", client=client, reused="yes").status == 401
    assert len(origin.peers) == 1


# --- Clients with different rules ---------------------------------------------

FIRST, SECOND = "127.0.0.2", "127.0.0.3"
EACH_ITS_OWN = (
    f"access.first=allow from {FIRST} to {ONE}",
    f"access.second=allow from {SECOND} to {OTHER}",
)


@pytest.mark.parametrize("method", METHODS)
def test_each_client_reaches_what_its_rules_allow(net, method):
    """Though a connection of the other one lies idle at the only address that the name has."""
    one, other = net.origin(ONE), net.origin(OTHER)
    proxy = net.proxy(*EACH_ITS_OWN)
    rebinds(net.dns, "www.test", [ONE], [ONE], [OTHER], [OTHER], [ONE, OTHER], [OTHER, ONE])

    def refused(source):
        client = net.client(proxy, source)
        net.refused(proxy, "www.test", method, client, rule="builtin:default")
        client.close()

    def served(source, at, reused):
        client = net.client(proxy, source)
        net.served(proxy, "www.test", at, method, client, reused if method == "GET" else None)
        client.close()

    served(FIRST, ONE, False)
    refused(SECOND)
    refused(FIRST)
    served(SECOND, OTHER, False)
    served(FIRST, ONE, True)
    served(SECOND, OTHER, True)
    if method == "GET":
        assert (len(one.peers), len(other.peers)) == (1, 1)


def test_pooled_connection_to_the_inside_is_for_those_who_may(net):
    """Of two listeners one is for the staff: the site that their connection leads to is hidden from
    guests."""
    web = net.origin(WEB_OF_STAFF)
    net.origin(ONE)
    proxy = net.proxy(
        "listen staff.address=127.0.0.1:3128",
        "listen guest.address=127.0.0.1:3129",
        "access.staff=allow listener staff to any",
        "access.guest=allow listener guest",
    )
    proxy.addresses(2)
    staff, guest = net.client(proxy, port=3128), net.client(proxy, port=3129)
    rebinds(net.dns, "www.test", *4 * [[WEB_OF_STAFF]], *2 * [[WEB_OF_STAFF, ONE]])
    for reused in (False, True):
        net.served(proxy, "www.test", WEB_OF_STAFF, client=staff, reused=reused)
        net.refused(proxy, "www.test", client=guest)
    net.served(proxy, "www.test", ONE, client=guest, reused=False)
    net.served(proxy, "www.test", WEB_OF_STAFF, client=staff, reused=True)
    assert len(web.peers) == 1 and len(web.requests) == 3


def test_two_clients_while_the_address_changes_all_the_time(net):
    """Each asks as fast as it can, and the name moves at every look-up: whoever is served is served
    where its rules allow, and over pooled connections too."""
    seed = random.randrange(1 << 32)
    picks = random.Random(seed)
    lock = threading.Lock()
    answers = [[ONE], [OTHER], [ONE, OTHER], [OTHER, ONE], [INTRANET], [INTRANET, OTHER],
               ["127.0.0.1", ONE]]  # fmt: skip

    def pick(query):
        with lock:
            return Reply(picks.choice(answers), 0)

    net.dns.add("www.test", a=pick, aaaa=[])
    origins = {ONE: net.origin(ONE), OTHER: net.origin(OTHER)}
    proxy = net.proxy(*EACH_ITS_OWN)
    allowed = {FIRST: ONE, SECOND: OTHER}
    clients = [(source, net.client(proxy, source)) for source in 2 * [FIRST, SECOND]]
    seen, errors = [], []

    def hammer(source, client):
        try:
            for _ in range(60):
                response = client.get("http://www.test/", [("X-Client", source)])
                seen.append((source, response.status, response.get("X-At")))
        except Exception as error:  # pylint: disable=broad-except
            errors.append(error)

    threads = [threading.Thread(target=hammer, args=client) for client in clients]
    for thread in threads:
        thread.start()
    end = time.monotonic() + wire.DEADLINE
    for thread in threads:
        thread.join(max(0, end - time.monotonic()))
    assert not errors and len(seen) == 4 * 60, (seed, errors)
    for source, status, at in seen:
        assert (status, at) in ((200, allowed[source]), (403, None)), (seed, source, status, at)
    assert len({(source, status) for source, status, _ in seen}) == 4, seed
    for at, origin in origins.items():
        assert {allowed[request.get("X-Client")] for request in origin.requests} == {at}, seed
        assert len(origin.peers) < len(origin.requests), "nothing was leased"
