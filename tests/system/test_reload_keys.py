# SPDX-License-Identifier: MIT
"""Every key that a reload changes, by what its new value does: each test begins with the old one."""

import grp
import os
import re
import signal
import socket
import stat
import time
from pathlib import Path

import pytest

import wire
from dns_server import DnsServer
from test_auth import RIGHT, WRONG
from test_failures import deaf_port  # pylint: disable=unused-import
from test_reload import LISTEN, Site
from viaduct_harness import ROOT
from wire import request_bytes, response_bytes, wait_until

TABLE = ROOT / "src" / "conf" / "conf_keys.c"
ELSEWHERE = ("admin", "parent")  # sections with tests of their own
TESTED = set()

OK = response_bytes(body=b"ok")
BCRYPT_SECRET = "$2y$04$Bnys2ozyscDjHYw.yV4FA.8NAi0FdPMw70nHhjD1bp2eWHc8WJnZy"
ONE_WORKER = "[server]\nworkers = 1\n"
BASE = ONE_WORKER + LISTEN
SOON = 5 * wire.SLOWNESS  # seconds; every default that is tested here is longer


def acts(key):
    TESTED.add(key)
    return lambda test: test


def test_no_key_is_forgotten():
    rows = re.findall(r'\{"(\w+)", "(\w+)", CONF_TYPE.*?\.help', TABLE.read_text(), re.DOTALL)
    found = re.finditer(r'\{"(\w+)", "(\w+)", CONF_TYPE(.*?)\.help', TABLE.read_text(), re.DOTALL)
    keys = {
        f"{row[1]}.{row[2]}"
        for row in found
        if "CONF_RESTART" not in row[3] and row[1] not in ELSEWHERE
    }
    assert len(rows) > 35
    assert keys == TESTED


def set_key(site, key, value, before=""):
    """Reloads with this one changed, and nothing else."""
    section, name = key.split(".")
    end = site.reload(BASE + before + f"[{section}]\n{name} = {value}\n")
    assert (end["level"], str(end["changes"])) == ("notice", "1"), end


def refused(lab, site, how=()):
    return lab.client(site.proxy).get("http://127.0.0.1:1/", how)


def stalled(lab, begin=b""):
    """An origin that says begin, and then nothing."""

    def script(peer):
        if peer.read_request() is not None:
            peer.send(begin)
            peer.read_to_end()

    return lab.origin(script)


# --- server ---------------------------------------------------------------------------------------


@acts("server.grace")
def test_grace(lab):
    site = Site(lab, BASE)
    tunnel = lab.tunnel(site.proxy, lab.origin(lambda peer: peer.read_to_end()))
    set_key(site, "server.grace", "200ms")
    begin = time.monotonic()
    site.proxy.signal(signal.SIGTERM)
    tunnel.read_to_end()
    assert site.proxy.wait_exit() == 0 and time.monotonic() - begin < 3 * SOON


@acts("server.drain_delay")
def test_drain_delay(lab):
    site = Site(lab, BASE)
    set_key(site, "server.drain_delay", "300ms")
    site.proxy.signal(signal.SIGTERM)
    site.proxy.wait_for_log(lambda line: "drain_delay" in line.get("msg", ""), event="drain")
    assert lab.client(site.proxy).get(lab.origin().url()).status == 200
    assert site.proxy.wait_exit() == 0


@acts("server.name")
def test_name(lab):
    site, origin = Site(lab, BASE), lab.origin()
    client = lab.client(site.proxy)
    assert client.get(origin.url()).status == 200
    set_key(site, "server.name", "other")
    assert client.get(origin.url()).status == 200
    first, second = (request.get("Via") for request in origin.requests)
    assert first.startswith("1.1 viaduct-") and second == first.replace("viaduct", "other")
    assert refused(lab, site).get("Proxy-Status").startswith("other;")


@acts("server.via")
def test_via(lab):
    site, origin = Site(lab, BASE), lab.origin()
    client = lab.client(site.proxy)
    client.get(origin.url())
    set_key(site, "server.via", "off")
    assert not client.get(origin.url()).has("Via")
    assert [request.has("Via") for request in origin.requests] == [True, False]


@acts("server.explain")
def test_explain(lab):
    rule = "[access]\nhouse = deny to any\n"
    site = Site(lab, BASE + rule)
    assert refused(lab, site).reason == "Denied by rule house"
    set_key(site, "server.explain", "none", rule)
    answer = refused(lab, site)
    assert answer.status == 403 and b"house" not in answer.raw_head + answer.body


@acts("server.max_connections")
def test_max_connections(lab):
    site, origin = Site(lab, BASE), stalled(lab, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n")
    first = lab.client(site.proxy)
    first.request("GET", origin.url())
    origin.wait_requests(1)
    set_key(site, "server.max_connections", "1")
    second = lab.client(site.proxy)
    second.request("GET", lab.origin().url())
    assert second.is_silent(0.3)
    set_key(site, "server.max_connections", "2")
    assert second.read_response().status == 200


@acts("server.max_connections_per_client")
def test_max_connections_per_client(lab):
    site, origin = Site(lab, BASE), lab.origin()
    set_key(site, "server.max_connections_per_client", "1")
    assert [lab.client(site.proxy).get(origin.url()).status for _ in range(2)] == [200, 429]


def keepalive_seconds(port, peer_port):
    """Until the next probe of an accepted connection."""
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        columns = line.split()
        ports = [int(columns[n].rpartition(":")[2], 16) for n in (1, 2)]
        if ports == [port, peer_port] and columns[5].startswith("02:"):
            return int(columns[5][3:], 16) / os.sysconf("SC_CLK_TCK")
    return None


@acts("server.tcp_keepalive")
def test_tcp_keepalive(lab):
    site, origin = Site(lab, BASE), lab.origin()

    def seconds():
        client = lab.client(site.proxy)
        assert client.get(origin.url()).status == 200
        return keepalive_seconds(site.proxy.port, client.sock.getsockname()[1])

    assert 30 < seconds() <= 60
    set_key(site, "server.tcp_keepalive", "1000s")
    assert 900 < seconds() <= 1000
    set_key(site, "server.tcp_keepalive", "0")
    assert seconds() is None


# --- listen ---------------------------------------------------------------------------------------


@acts("listen.address")
def test_address(lab):
    site = Site(lab, BASE)
    end = site.reload(BASE.replace("127.0.0.1:0", "127.0.0.2:0"))
    assert end["level"] == "notice"
    address = site.proxy.wait_for_log(event="listener", listener="a", count=2)["address"]
    other = ("127.0.0.2", int(address.rpartition(":")[2]))
    assert lab.client(other).get(lab.origin().url()).status == 200
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(site.proxy.address)


def unix_site(lab, more=""):
    path = lab.directory / "a.sock"
    text = BASE + f"[listen u]\naddress = unix:{path}\n"
    return Site(lab, text + more), path, text


@acts("listen.mode")
def test_mode(lab):
    site, path, text = unix_site(lab)
    assert stat.S_IMODE(path.stat().st_mode) == 0o660
    inode = path.stat().st_ino
    site.reload(text + "mode = 0600\n")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.stat().st_ino == inode


@acts("listen.group")
@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a file to any group")
def test_group(lab):
    site, path, text = unix_site(lab)
    usual = path.stat().st_gid
    group = next(entry for entry in grp.getgrall() if entry.gr_gid != usual)
    site.reload(text + f"group = {group.gr_name}\n")
    assert path.stat().st_gid == group.gr_gid
    site.reload(text)
    assert path.stat().st_gid == usual


@acts("listen.forwarded")
def test_forwarded(lab):
    site, origin = Site(lab, BASE), lab.origin()
    client = lab.client(site.proxy)
    client.get(origin.url())
    site.reload(BASE + "forwarded = x-forwarded-for\n")
    client.get(origin.url())
    assert [request.get("X-Forwarded-For") for request in origin.requests] == [None, "127.0.0.1"]


# --- timeouts -------------------------------------------------------------------------------------


@acts("timeouts.header")
def test_header(lab):
    site = Site(lab, BASE)
    set_key(site, "timeouts.header", "300ms")
    client = lab.client(site.proxy)
    begin = time.monotonic()
    client.send(b"GET http://x/ HTTP/1.1\r\n")
    assert client.read_response().status == 408 and time.monotonic() - begin < SOON


@acts("timeouts.keep_alive")
def test_keep_alive(lab):
    site = Site(lab, BASE)
    set_key(site, "timeouts.keep_alive", "300ms")
    client = lab.client(site.proxy)
    assert client.get(lab.origin().url()).status == 200
    begin = time.monotonic()
    assert client.read_to_end() == b"" and time.monotonic() - begin < SOON


@acts("timeouts.dns")
def test_dns(lab):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        dns = f"[dns]\nservers = 127.0.0.1:{silent.getsockname()[1]}\n"
        site = Site(lab, BASE + dns + "[timeouts]\ndns = 1h\n")
        set_key(site, "timeouts.dns", "300ms", dns)
        assert lab.client(site.proxy).get("http://name.test/").status == 504


TIMES = {
    "connect": ("timeout:connect", b""),
    "response": ("timeout:response", b""),
    "idle": ("timeout:idle", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nab"),
    "exchange": ("timeout:exchange", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nab"),
}
for name in TIMES:
    acts(f"timeouts.{name}")


@pytest.mark.parametrize("name", TIMES)
def test_times_of_an_exchange(lab, deaf_port, name):
    end, begin_with = TIMES[name]
    site = Site(lab, BASE)
    set_key(site, f"timeouts.{name}", "300ms")
    url = f"http://127.0.0.1:{deaf_port}/" if name == "connect" else stalled(lab, begin_with).url()
    begin = time.monotonic()
    lab.client(site.proxy).get(url, may_be_cut=True)
    assert time.monotonic() - begin < SOON
    assert site.proxy.wait_request(url)["end"] == end


for name in ("tunnel", "tunnel_idle"):
    acts(f"timeouts.{name}")


@pytest.mark.parametrize("name", ["tunnel", "tunnel_idle"])
def test_times_of_a_tunnel(lab, name):
    site, origin = Site(lab, BASE), lab.origin(lambda peer: peer.read_to_end())
    set_key(site, f"timeouts.{name}", "300ms")
    begin = time.monotonic()
    lab.tunnel(site.proxy, origin)
    line = site.proxy.wait_request(origin.authority)
    assert line["end"] == f"timeout:{name}" and time.monotonic() - begin < SOON


# --- limits ---------------------------------------------------------------------------------------


LIMITS = {
    "head_bytes": ("1K", 431, {"fields": [("X", "x" * 2000)]}),
    "target_bytes": ("256", 414, {"path": "/" + "x" * 300}),
    "fields": ("3", 431, {"fields": [("A", "1"), ("B", "2"), ("C", "3")]}),
    "body_bytes": ("10", 413, {"body": b"x" * 100}),
}
for name in LIMITS:
    acts(f"limits.{name}")


@pytest.mark.parametrize("name", LIMITS)
def test_limits(lab, name):
    value, status, what = LIMITS[name]
    site, origin = Site(lab, BASE), lab.origin()
    request = request_bytes(
        "POST" if "body" in what else "GET",
        origin.url(what.get("path", "/")),
        what.get("fields", ()),
        what.get("body"),
    )

    def ask():
        client = lab.client(site.proxy)
        client.send(request)
        return client.read_response().status

    assert ask() == 200
    set_key(site, f"limits.{name}", value)
    assert ask() == status


@acts("limits.buffers")
def test_buffers(lab):
    """Heads that do not end fill it; whoever comes then must wait, and is told in the end."""
    more = "[timeouts]\nheader = 2s\n"
    site = Site(lab, BASE + more)
    origin = lab.origin()

    def among_others():
        others = [lab.client(site.proxy) for _ in range(60)]
        for other in others:
            other.send(b"GET http://x/ HTTP/1.1\r\nX: " + b"x" * 60_000)
        statuses = {lab.client(site.proxy).get(origin.url()).status for _ in range(5)}
        for other in others:
            other.close()
        return statuses

    assert among_others() == {200}
    set_key(site, "limits.buffers", "1M", more)
    assert 503 in among_others()


# --- dns ------------------------------------------------------------------------------------------


class Named:
    """A site that asks a server of the test's, and an origin called name.test."""

    def __init__(self, lab, **records):
        self.lab = lab
        self.server = DnsServer()
        lab.at_end(self.server.close)
        self.server.add("name.test", **(records or {"a": ["127.0.0.1"], "aaaa": []}))
        self.dns = f"[dns]\nservers = {self.server.address}\n"
        self.site = Site(lab, BASE + self.dns)
        self.origin = lab.origin()
        self.url = f"http://name.test:{self.origin.port}/"

    def status(self, name="name.test"):
        url = self.url.replace("name.test", name)
        return self.lab.client(self.site.proxy).get(url).status

    def asks(self, name="name.test", gap=0.0):
        """How often the server is asked by two requests."""
        before = self.server.count(name, "A")
        self.status(name)
        time.sleep(gap)  # what is kept for no time at all may live for a tick
        self.status(name)
        return self.server.count(name, "A") - before


@acts("dns.servers")
def test_servers(lab):
    named = Named(lab)
    with DnsServer() as other:
        other.add("other.test", a=["127.0.0.1"], aaaa=[])
        assert named.status("other.test") == 502
        site = named.site
        site.reload(BASE + f"[dns]\nservers = {other.address}\n")
        assert named.status("other.test") == 200


@acts("dns.hosts")
def test_hosts(lab):
    named = Named(lab)
    hosts = lab.directory / "hosts"
    hosts.write_text("127.0.0.1 listed.test\n")
    assert named.status("listed.test") == 502
    set_key(named.site, "dns.hosts", hosts, named.dns)
    assert named.status("listed.test") == 200


DNS = {
    "cache_entries": ("0", "name.test"),
    "max_ttl": ("0", "name.test"),
    "negative_ttl": ("0", "missing.test"),
}
for name in DNS:
    acts(f"dns.{name}")


@pytest.mark.parametrize("key", DNS)
def test_what_is_kept_of_names(lab, key):
    named = Named(lab, a=["127.0.0.1"], aaaa=[], ttl=600)
    value, host = DNS[key]
    assert named.asks(host) == 1
    set_key(named.site, f"dns.{key}", value, named.dns)
    assert named.asks(host, 0.05) == 2


@acts("dns.family")
def test_family(lab):
    named = Named(lab)
    assert named.status() == 200
    set_key(named.site, "dns.family", "ipv6", named.dns)
    assert named.status() == 502


# --- pool -----------------------------------------------------------------------------------------


for name in ("idle_per_host", "idle_total"):
    acts(f"pool.{name}")


@pytest.mark.parametrize("name", ["idle_per_host", "idle_total"])
def test_pool_size(lab, name):
    site, origin = Site(lab, BASE), lab.origin()
    client = lab.client(site.proxy)
    for _ in range(2):
        assert client.get(origin.url()).status == 200
    assert len(origin.peers) == 1
    set_key(site, f"pool.{name}", "0")
    for _ in range(3):
        assert client.get(origin.url()).status == 200
    assert len(origin.peers) >= 3


@acts("pool.idle")
def test_pool_idle(lab):
    site = Site(lab, BASE)
    ended = []

    def script(peer):
        peer.read_request()
        peer.send(OK)
        ended.append(peer.read_request())

    origin = lab.origin(script)
    set_key(site, "pool.idle", "200ms")
    begin = time.monotonic()
    assert lab.client(site.proxy).get(origin.url()).status == 200
    wait_until(lambda: ended == [None], "the idle connection to end")
    assert time.monotonic() - begin < SOON


# --- log ------------------------------------------------------------------------------------------


@acts("log.access")
def test_access(lab):
    site, origin = Site(lab, BASE), lab.origin()
    set_key(site, "log.access", "json")
    assert lab.client(site.proxy).get(origin.url("/json")).status == 200
    assert site.proxy.wait_request(origin.url("/json"))["status"] == 200  # a number


@acts("log.tunnels")
def test_tunnels(lab):
    site, origin = Site(lab, BASE), lab.origin(lambda peer: peer.read_to_end())
    lab.tunnel(site.proxy, origin)
    set_key(site, "log.tunnels", "both")
    lab.tunnel(site.proxy, origin)
    site.proxy.wait_for_log(event="tunnel", target=origin.authority)
    assert len(site.proxy.find_lines(event="tunnel")) == 1


@acts("log.level")
def test_level(lab):
    named = Named(lab)
    named.status()
    assert not named.site.proxy.find_lines(level="debug")
    set_key(named.site, "log.level", "debug", named.dns)
    named.status("other.test")
    named.site.proxy.wait_for_log(level="debug", event="dns")


# --- auth -----------------------------------------------------------------------------------------


class Guarded:
    """A site that lets in whom a users file knows; its first user is alice, her password secret."""

    RULE = "[access]\nstaff = allow from loopback user * to any\n"

    def __init__(self, lab):
        self.lab = lab
        self.users = self.file("users", "alice")
        self.auth = f"[auth]\nusers = {self.users}\n"
        self.site = Site(lab, BASE + self.RULE + self.auth)
        self.origin = lab.origin()
        self.before = self.RULE + self.auth

    def file(self, name, user):
        path = self.lab.directory / name
        path.write_text(f"{user}:{BCRYPT_SECRET}\n")
        return path

    def get(self, fields):
        return self.lab.client(self.site.proxy).get(self.origin.url(), fields)

    def checks(self):
        """How often the threads that check passwords have run."""
        task = Path(f"/proc/{self.site.proxy.pid}/task")
        threads = [t for t, name in self.site.proxy.threads().items() if name == "viaduct-auth"]
        return sum(int((task / str(t) / "schedstat").read_text().split()[2]) for t in threads)


@acts("auth.users")
def test_users(lab):
    guarded = Guarded(lab)
    assert guarded.get(RIGHT).status == 200
    other = guarded.file("others", "bob")
    guarded.site.reload(BASE + guarded.RULE + f"[auth]\nusers = {other}\n")
    assert guarded.get(RIGHT).status == 407


@acts("auth.realm")
def test_realm(lab):
    guarded = Guarded(lab)
    assert 'realm="viaduct"' in guarded.get(()).get("Proxy-Authenticate")
    set_key(guarded.site, "auth.realm", "elsewhere", guarded.before)
    assert 'realm="elsewhere"' in guarded.get(()).get("Proxy-Authenticate")


@acts("auth.cache")
def test_cache(lab):
    guarded = Guarded(lab)

    def more_checks():
        before = guarded.checks()
        assert guarded.get(RIGHT).status == 200
        return guarded.checks() > before

    assert more_checks()
    # The thread may have answered without having come to rest.
    wait_until(lambda: not more_checks(), "a password to be remembered")
    set_key(guarded.site, "auth.cache", "0", guarded.before)
    assert more_checks() and more_checks()


@acts("auth.failures")
def test_failures(lab):
    guarded = Guarded(lab)
    assert [guarded.get(WRONG).status for _ in range(2)] == [407, 407]
    set_key(guarded.site, "auth.failures", "1/m", guarded.before)
    wait_until(lambda: guarded.get(WRONG).status == 429, "too many")
