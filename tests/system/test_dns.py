# SPDX-License-Identifier: MIT
"""Names: what is asked, how often, what is kept, and what a client is told when there is no answer."""

import itertools
import socket
import threading
import time

import pytest

import wire
from dns_server import FORMERR, NXDOMAIN, REFUSED, SERVFAIL, DnsServer, Reply
from wire import SLOWNESS, wait_until

LOOK_AGAIN = 1.2  # seconds after which a changed file must have been seen


@pytest.fixture
def dns():
    with DnsServer() as server:
        yield server


def start(lab, dns, *options, **how):
    """A daemon with one worker, because each worker has a cache of its own. Its patience keeps a slow
    answer from being asked for twice."""
    options = [f"dns.servers={dns.address}", "server.workers=1", *options]
    if not any(option.startswith("timeouts.dns=") for option in options):
        options.append("timeouts.dns=30s")
    return lab.fresh(*options, **how)


def get(lab, proxy, host, port, path="/"):
    return lab.client(proxy).get(f"http://{host}:{port}{path}")


def resolves(lab, proxy, host, port):
    """A request that must succeed; its log line."""
    target = f"http://{host}:{port}/{time.monotonic_ns()}"
    assert lab.client(proxy).get(target).status == 200
    return proxy.wait_request(target)


# --- What is asked ------------------------------------------------------------------------------------


def test_both_families_are_asked_once(lab, dns):
    origin = lab.origin()
    dns.add("www.test", a=["127.0.0.1"])
    line = resolves(lab, start(lab, dns), "www.test", origin.port)
    assert line["upstream"] == f"127.0.0.1:{origin.port}"
    assert sorted(query.type for query in dns.queries) == ["A", "AAAA"]
    assert all(query.udp_size >= 1200 for query in dns.queries), "EDNS is on"


@pytest.mark.parametrize("family, kind, address", [("ipv4", "A", "127.0.0.1"), ("ipv6", "AAAA", "::1")])
def test_family_asks_for_that_one_only(lab, dns, family, kind, address):
    origin = lab.origin(host=address)
    dns.add("www.test", a=["127.0.0.1"], aaaa=["::1"])
    resolves(lab, start(lab, dns, f"dns.family={family}"), "www.test", origin.port)
    assert [query.type for query in dns.queries] == [kind]


@pytest.mark.parametrize("method", ["GET", "CONNECT"])
def test_hundred_requests_for_a_slow_name_are_one_pair_of_queries(lab, dns, method):
    origin = lab.origin()
    slow = {"a": Reply(["127.0.0.1"], delay=0.5), "aaaa": Reply([], delay=0.5)}
    dns.add("slow.test", **slow)
    proxy = start(lab, dns)
    clients = [lab.client(proxy) for _ in range(100)]
    authority = f"slow.test:{origin.port}"
    for client in clients:
        client.request(method, authority if method == "CONNECT" else f"http://{authority}/")
    assert [client.read_response(to=method).status for client in clients] == [200] * 100
    assert (dns.count("slow.test", "A"), dns.count("slow.test", "AAAA")) == (1, 1)


def test_case_and_trailing_dot_make_no_other_name(lab, dns):
    origin = lab.origin()
    dns.add("www.test", a=["127.0.0.1"])
    proxy = start(lab, dns)
    for name in ("www.test", "WWW.Test", "www.test."):
        resolves(lab, proxy, name, origin.port)
    assert dns.count("www.test", "A") == 1


def test_no_search_domain_is_ever_tried(lab, dns):
    proxy = start(lab, dns, env={"LOCALDOMAIN": "corp.test", "RES_OPTIONS": "ndots:5"})
    for name in ("intranet", "a.b.intranet"):
        assert get(lab, proxy, name, 80).status == 502
    assert {query.name for query in dns.queries} == {"intranet", "a.b.intranet"}


def test_literals_are_never_asked_for(lab, dns):
    origin = lab.origin()
    proxy = start(lab, dns)
    for host in ("127.0.0.1", "127.1", "0x7f.1", "2130706433"):
        resolves(lab, proxy, host, origin.port)
    assert not dns.queries


def test_localhost_is_loopback_whatever_dns_and_hosts_say(lab, dns, tmp_path):
    origin = lab.origin()
    hosts = tmp_path / "hosts"
    hosts.write_text("192.0.2.1 localhost app.localhost\n")
    dns.add("localhost", a=["192.0.2.1"])
    proxy = start(lab, dns, f"dns.hosts={hosts}")
    for host in ("localhost", "LocalHost", "localhost.", "app.localhost"):
        assert resolves(lab, proxy, host, origin.port)["upstream"] == f"127.0.0.1:{origin.port}"
    assert not dns.queries


# --- What is kept -------------------------------------------------------------------------------------


@pytest.mark.parametrize("ttl, options", [(1, []), (3600, ["dns.max_ttl=1s"])])
def test_answer_is_kept_for_its_ttl(lab, dns, ttl, options):
    origin = lab.origin()
    dns.add("www.test", a=["127.0.0.1"], aaaa=[], ttl=ttl)
    proxy = start(lab, dns, *options)
    asked = time.monotonic()
    while time.monotonic() < asked + 0.5:
        resolves(lab, proxy, "www.test", origin.port)
    assert dns.count("www.test", "A") == 1
    wait_until(
        lambda: resolves(lab, proxy, "www.test", origin.port) and dns.count("www.test", "A") == 2,
        "the name to be asked again",
    )
    assert time.monotonic() - asked >= 0.9


def test_zero_ttl_is_not_kept(lab, dns):
    origin = lab.origin()
    dns.add("www.test", a=["127.0.0.1"], ttl=0)
    proxy = start(lab, dns)
    for count in (1, 2, 3):
        resolves(lab, proxy, "www.test", origin.port)
        assert dns.count("www.test", "A") == count


def test_cache_can_be_off(lab, dns):
    origin = lab.origin()
    dns.add("www.test", a=["127.0.0.1"])
    proxy = start(lab, dns, "dns.cache_entries=0")
    resolves(lab, proxy, "www.test", origin.port)
    resolves(lab, proxy, "www.test", origin.port)
    assert dns.count("www.test", "A") == 2


def test_failure_is_kept_briefly(lab, dns):
    origin = lab.origin()
    proxy = start(lab, dns, "dns.negative_ttl=1s")
    for _ in range(3):
        assert get(lab, proxy, "later.test", origin.port).status == 502
    assert dns.count("later.test", "A") == 1
    dns.add("later.test", a=["127.0.0.1"])
    wait_until(
        lambda: get(lab, proxy, "later.test", origin.port).status == 200, "the name to be asked again"
    )


def test_answer_nobody_waits_for_any_more_is_kept(lab, dns):
    origin = lab.origin()
    dns.add("slow.test", a=Reply(["127.0.0.1"], delay=0.4), aaaa=Reply([], delay=0.4))
    proxy = start(lab, dns)
    client = lab.client(proxy)
    client.request("GET", f"http://slow.test:{origin.port}/gone")
    dns.wait_asked(2, "slow.test")
    client.close()
    proxy.wait_request(f"http://slow.test:{origin.port}/gone", end="client-closed")
    resolves(lab, proxy, "slow.test", origin.port)
    assert dns.count("slow.test", "A") == 1


# --- Shapes of answers --------------------------------------------------------------------------------


def test_truncated_answer_is_asked_for_by_tcp(lab, dns):
    origin = lab.origin()
    dns.add("big.test", a=Reply(["127.0.0.1"], truncate=True))
    resolves(lab, start(lab, dns), "big.test", origin.port)
    assert dns.count("big.test", "A", "udp") == 1
    assert dns.count("big.test", "A", "tcp") == 1


def test_truncated_answer_that_tcp_does_not_give_either(lab, dns):
    dns.add("big.test", lambda query: Reply(truncate=True) if query.transport == "udp" else Reply(drop=True))
    proxy = start(lab, dns, "timeouts.dns=800ms")
    assert get(lab, proxy, "big.test", 80).status == 504
    assert dns.count("big.test", "A", "tcp") >= 1
    assert proxy.wait_request("http://big.test:80/")["end"] == "timeout:dns"


@pytest.mark.parametrize("count", [64, 1500])
def test_more_addresses_than_anyone_needs(lab, dns, count):
    origin = lab.origin()
    more = [f"127.1.{i // 250}.{i % 250 + 1}" for i in range(count - 1)]
    dns.add("many.test", a=["127.0.0.1"] + more, aaaa=[f"100::{i:x}" for i in range(count)])
    assert resolves(lab, start(lab, dns), "many.test", origin.port)["upstream"] == f"127.0.0.1:{origin.port}"
    assert dns.count("many.test", "A", "tcp") == 1


LOOPS = {
    "to itself": [("loop.test", 60)],
    "of two": [("b.test", 60), ("loop.test", 60), ("b.test", 60), ("loop.test", 60)],
    "without end": [(f"c{i}.test", 60) for i in range(40)],
}


@pytest.mark.parametrize("addrs", [[], ["127.0.0.1"]], ids=["nothing behind it", "an address behind it"])
@pytest.mark.parametrize("loop", LOOPS)
def test_cname_loop_ends(lab, dns, loop, addrs):
    """Whatever it says in the end is the name's address, or nothing is: it is asked for once."""
    reply = Reply(addrs, cnames=LOOPS[loop])
    dns.add("loop.test", a=reply, aaaa=Reply([], cnames=LOOPS[loop]))
    origin = lab.origin()
    proxy = start(lab, dns)
    begun = time.monotonic()
    response = get(lab, proxy, "loop.test", origin.port)
    assert response.status in ((200, 502) if addrs else (502,))
    assert time.monotonic() - begun < 3 * SLOWNESS
    assert dns.count("loop.test", "A") == 1 and {query.name for query in dns.queries} == {"loop.test"}


def test_cname_chain_is_followed_and_its_least_ttl_counts(lab, dns):
    origin = lab.origin()
    chain = [("b.test", 60), ("c.test", 1), ("d.test", 60)]
    dns.add("a.test", a=Reply(["127.0.0.1"], 60, cnames=chain), aaaa=Reply([], cnames=chain))
    proxy = start(lab, dns)
    asked = time.monotonic()
    wait_until(
        lambda: resolves(lab, proxy, "a.test", origin.port) and dns.count("a.test", "A") == 2,
        "the name to be asked again",
    )
    assert 0.9 <= time.monotonic() - asked < 20
    assert {query.name for query in dns.queries} == {"a.test"}


@pytest.mark.parametrize("reply", [Reply(["127.0.0.1"], wrong_id=True), Reply(["127.0.0.1"], wrong_question=True)])
def test_answer_to_another_question_is_no_answer(lab, dns, reply):
    dns.add("forged.test", a=reply, aaaa=Reply(drop=True))
    proxy = start(lab, dns, "timeouts.dns=500ms")
    assert get(lab, proxy, "forged.test", 80).status in (502, 504)


@pytest.mark.parametrize("raw", [b"", b"\x81\x80", b"\x81\x80\0\1\0\1\0\0\0\0" + b"\xc0\x0c" * 50, bytes(600)])
def test_garbage_harms_nobody_else(lab, dns, raw):
    origin = lab.origin()
    dns.add("garbage.test", Reply(raw=raw))
    dns.add("www.test", a=["127.0.0.1"])
    proxy = start(lab, dns, "timeouts.dns=500ms")
    assert get(lab, proxy, "garbage.test", 80).status in (502, 504)
    resolves(lab, proxy, "www.test", origin.port)


# --- Failures -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("a, aaaa, status, error, end", [
    (Reply(rcode=NXDOMAIN), Reply(rcode=NXDOMAIN), 502, 'error=dns_error; rcode="NXDOMAIN"', "error:dns-nxdomain"),
    ([], [], 502, 'error=dns_error; rcode="NOERROR"', "error:dns-nodata"),
    (Reply(rcode=SERVFAIL), Reply(rcode=SERVFAIL), 502, 'error=dns_error; rcode="SERVFAIL"', "error:dns-failed"),
    (Reply(rcode=REFUSED), Reply(rcode=REFUSED), 502, "error=dns_error", "error:dns-failed"),
    (Reply(rcode=FORMERR), Reply(rcode=FORMERR), 502, "error=dns_error", "error:dns-failed"),
    (Reply(drop=True), Reply(drop=True), 504, "error=dns_timeout", "timeout:dns"),
    ([], Reply(rcode=SERVFAIL), 502, 'error=dns_error; rcode="SERVFAIL"', "error:dns-failed"),
    (Reply(drop=True), [], 504, "error=dns_timeout", "timeout:dns"),
    (Reply(rcode=NXDOMAIN), Reply(drop=True), 502, 'error=dns_error; rcode="NXDOMAIN"', "error:dns-nxdomain"),
])
def test_failure_says_what_failed(lab, dns, a, aaaa, status, error, end):
    dns.add("x.test", a=a, aaaa=aaaa)
    proxy = start(lab, dns, "timeouts.dns=600ms")
    begun = time.monotonic()
    response = get(lab, proxy, "x.test", 80)
    assert response.status == status
    assert error in response.get("Proxy-Status")
    assert ("rcode" in error) == ("rcode" in response.get("Proxy-Status"))
    line = proxy.wait_request("http://x.test:80/")
    assert (line["status"], line["end"], line["upstream"]) == (str(status), end, "-")
    assert time.monotonic() - begun < 3 * SLOWNESS


def test_one_silent_family_does_not_hold_up_the_other(lab, dns):
    origin = lab.origin()
    dns.add("half.test", a=["127.0.0.1"], aaaa=Reply(drop=True))
    begun = time.monotonic()
    resolves(lab, start(lab, dns, "timeouts.dns=20s"), "half.test", origin.port)
    assert time.monotonic() - begun < 10 * SLOWNESS


def test_server_that_is_gone_and_comes_back(lab, dns):
    origin = lab.origin()
    dns.add("www.test", a=["127.0.0.1"])
    proxy = start(lab, dns, "dns.negative_ttl=1s", "timeouts.dns=5s")
    dns.stop()
    assert get(lab, proxy, "www.test", origin.port).status in (502, 504)
    dns.start()
    wait_until(
        lambda: get(lab, proxy, "www.test", origin.port).status == 200, "the server to be asked again"
    )


@pytest.mark.parametrize("method", ["GET", "CONNECT"])
def test_servers_of_which_none_can_be_reached(lab, dns, method):
    """Nobody gave an rcode, so none is told (RFC 9209 2.3.2)."""
    gone = f"127.0.0.1:{wire.free_port()}"
    proxy = start(lab, dns, f"dns.servers={gone},{dns.address}")
    dns.stop()
    client = lab.client(proxy)
    target = "www.test:80" if method == "CONNECT" else "http://www.test:80/"
    client.request(method, target)
    response = client.read_response(to=method)
    assert response.status == 502
    assert response.get("Proxy-Status") == "viaduct; error=dns_error"
    assert b"none of the DNS servers could be reached" in response.body
    assert proxy.wait_request(target)["end"] == "error:dns-failed"


def test_server_that_was_silent_is_asked_again(lab, dns):
    """It is back, if slower than the other."""
    is_back = threading.Event()
    numbers = itertools.count()
    with DnsServer() as slow:
        slow.reply_to = lambda query: Reply(["127.0.0.1"], delay=0.03) if is_back.is_set() else Reply(drop=True)
        dns.reply_to = lambda query: Reply(["127.0.0.1"])
        servers = f"dns.servers={slow.address},{dns.address}"
        proxy = lab.fresh(servers, "server.workers=1", "dns.family=ipv4")
        origin = lab.origin()
        client = lab.client(proxy)

        def ask():
            assert client.get(f"http://n{next(numbers)}.test:{origin.port}/").status == 200
            return True

        wait_until(lambda: ask() and slow.count() > 0 and dns.count() > 10, "the other to answer")
        is_back.set()
        before = slow.count()
        wait_until(lambda: ask() and slow.count() >= before + 20, "it to be asked", 30 * SLOWNESS)


def test_server_that_is_silent_does_not_eat_the_time(lab, dns):
    origin = lab.origin()
    dns.add("www.test", a=["127.0.0.1"])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        proxy = lab.fresh(f"dns.servers=127.0.0.1:{silent.getsockname()[1]},{dns.address}")
        resolves(lab, proxy, "www.test", origin.port)


def test_server_on_ipv6(lab):
    origin = lab.origin()
    with DnsServer("::1") as dns:
        dns.add("www.test", a=["127.0.0.1"])
        resolves(lab, start(lab, dns), "www.test", origin.port)
        assert dns.queries


# --- The hosts file -----------------------------------------------------------------------------------


def test_hosts_file_wins_and_is_read_again(lab, dns, tmp_path):
    origin = lab.origin(host="127.0.0.1")
    hosts = tmp_path / "hosts"
    hosts.write_text("127.0.0.9 www.test # the first of them refuses\n127.0.0.1 other.test WWW.test\n")
    dns.add("www.test", a=["192.0.2.1"])
    proxy = start(lab, dns, f"dns.hosts={hosts}")
    assert resolves(lab, proxy, "www.test", origin.port)["upstream"] == f"127.0.0.1:{origin.port}"
    assert resolves(lab, proxy, "other.test", origin.port)
    assert not dns.queries

    hosts.write_text("127.0.0.1 new.test\n")
    dns.add("www.test", a=["127.0.0.1"])
    time.sleep(LOOK_AGAIN)
    resolves(lab, proxy, "new.test", origin.port)
    assert not dns.queries
    resolves(lab, proxy, "www.test", origin.port)
    assert dns.count("www.test", "A") == 1

    hosts.unlink()
    time.sleep(LOOK_AGAIN)
    assert get(lab, proxy, "new.test", origin.port).status == 502


# --- The race -----------------------------------------------------------------------------------------


class BothFamilies:
    """A port where 127.0.0.1 answers "four" and ::1 answers "six"."""

    def __init__(self, lab):
        for _ in range(50):
            self.four = lab.origin(wire.response_bytes(body=b"four"))
            self.six = socket.socket(socket.AF_INET6)
            try:
                self.six.bind(("::1", self.four.port))
                break
            except OSError:
                self.six.close()
        self.port = self.four.port
        self.peers = []
        self.six.listen(64)
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            try:
                sock, _ = self.six.accept()
            except OSError:
                return
            self.peers.append(wire.Peer(sock))
            threading.Thread(target=self._answer, args=(self.peers[-1],), daemon=True).start()

    @staticmethod
    def _answer(peer):
        wire.answer_all(peer, wire.response_bytes(body=b"six"))
        peer.close()

    def close(self):
        self.six.shutdown(socket.SHUT_RDWR)
        self.six.close()
        for peer in self.peers:
            try:
                peer.sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # it has ended


@pytest.fixture
def both(lab):
    origins = BothFamilies(lab)
    yield origins
    origins.close()


def test_ipv6_goes_first_when_both_are_there(lab, dns, both):
    dns.add("www.test", a=["127.0.0.1"], aaaa=["::1"])
    assert get(lab, start(lab, dns), "www.test", both.port).body == b"six"


def test_aaaa_does_not_wait_for_a(lab, dns, both):
    dns.add("www.test", a=Reply(["127.0.0.1"], delay=3), aaaa=["::1"])
    begun = time.monotonic()
    assert get(lab, start(lab, dns), "www.test", both.port).body == b"six"
    assert time.monotonic() - begun < 2.5 * SLOWNESS


def test_a_waits_a_moment_for_aaaa(lab, dns, both):
    dns.add("www.test", a=["127.0.0.1"], aaaa=Reply(["::1"], delay=0.015))
    assert get(lab, start(lab, dns), "www.test", both.port).body == b"six"


def test_a_does_not_wait_long_for_aaaa(lab, dns, both):
    dns.add("www.test", a=["127.0.0.1"], aaaa=Reply(["::1"], delay=3))
    proxy = start(lab, dns)
    assert get(lab, proxy, "www.test", both.port, "/first").body == b"four"
    line = proxy.wait_request(f"http://www.test:{both.port}/first")
    assert 50 <= int(line["dns_ms"]) < 2500 * SLOWNESS


def test_address_that_comes_late_is_dialled_when_the_first_fails(lab, dns):
    origin = lab.origin()
    dns.add("www.test", a=Reply(["127.0.0.1"], delay=0.3), aaaa=["::1"])
    line = resolves(lab, start(lab, dns), "www.test", origin.port)
    assert line["upstream"] == f"127.0.0.1:{origin.port}"
