# SPDX-License-Identifier: MIT
"""What runs, seen and ended over the admin socket."""

import json
import os
import re
import signal
import subprocess
import threading
import time

import pytest

import wire
from faults import faults  # pylint: disable=unused-import
from viaduct_harness import binary, wait_until
from wire import DEADLINE

LISTEN = "[listen a]\naddress = 127.0.0.1:0\n"
# Of the password "secret".
SECRET = "$2y$04$Bnys2ozyscDjHYw.yV4FA.8NAi0FdPMw70nHhjD1bp2eWHc8WJnZy"
FIELDS = [
    "id", "kind", "client", "user", "listener", "method", "target", "rule", "upstream",
    "bytes_in", "bytes_out", "age_ms", "generation",
]  # fmt: skip


class Site:
    """A daemon with an admin socket, and who asks it."""

    def __init__(self, lab, tmp_path, text=LISTEN, *options, **how):
        self.lab = lab
        self.socket = str(tmp_path / "admin.sock")
        self.proxy = lab.fresh(*options, f"admin.address=unix:{self.socket}", config=text, **how)
        wait_until(lambda: os.path.exists(self.socket), "the admin socket")

    def ask(self, method, path, accept="application/json", address=None):
        peer = wire.connect(address or self.socket)
        try:
            peer.request(method, path, [("Host", "localhost"), ("Accept", accept)])
            return peer.read_response(to=method)
        finally:
            peer.close()

    def list(self, query="", method="GET", **how):
        answer = self.ask(method, "/connections" + query, **how)
        assert answer.status == 200, answer
        listing = json.loads(answer.body)
        assert listing["count"] == len(listing["connections"])
        return listing["connections"]

    def kill(self, id):
        return self.ask("DELETE", f"/connections/{id}")

    def command(self, *words):
        return subprocess.run(
            [binary(), *words, "-s", self.socket], capture_output=True, text=True, timeout=DEADLINE
        )

    def reload(self, text):
        def ends():
            return self.proxy.find_lines(lambda line: "changes" in line, event="reload")

        before = len(ends())
        new = self.proxy.config.with_suffix(".new")
        new.write_text(text)
        os.replace(new, self.proxy.config)
        self.proxy.signal(signal.SIGHUP)
        wait_until(lambda: len(ends()) > before, "the reload to end")


@pytest.fixture
def site(lab, tmp_path):
    return Site(lab, tmp_path, LISTEN, "server.workers=2")


def slow_origin(lab):
    """Sends half of its response, and the rest at the end of the test. Until then what goes wrong
    is what is tested."""
    gate = threading.Event()
    lab.at_end(gate.set)

    def script(peer):
        peer.read_request()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab")
        gate.wait(DEADLINE)
        try:
            peer.send(b"cd")
        except OSError:
            pass

    return lab.origin(script)


def quiet_origin(lab):
    """Reads until the other side ends."""

    return lab.origin(lambda peer: peer.read_to_end())


def begin_request(lab, site, origin, path="/slow"):
    """A request whose response has begun and does not end."""
    client = lab.client(site.proxy)
    client.request("GET", origin.url(path))
    client.read_response_head()
    return client


def only(rows, **fields):
    found = [row for row in rows if all(row[key] == value for key, value in fields.items())]
    assert len(found) == 1, rows
    return found[0]


# What is told


def test_nothing_runs(site):
    assert site.list() == []
    assert site.ask("GET", "/connections", accept="text/plain").body == b"0 connections\n"


def test_an_idle_connection(lab, site):
    client = lab.client(site.proxy)
    row = wait_until(site.list, "the connection")[0]
    assert list(row) == FIELDS
    assert re.fullmatch("[01]-i[0-9a-f]+", row["id"])
    assert (row["kind"], row["client"], row["listener"]) == ("idle", "127.0.0.1", "a")
    unknown = (
        "user",
        "method",
        "target",
        "rule",
        "upstream",
        "bytes_in",
        "bytes_out",
        "generation",
    )
    assert {row[name] for name in unknown} == {None}
    assert 0 <= row["age_ms"] < DEADLINE * 1000
    # After a request it is the same connection, idle anew.
    assert client.get(lab.origin().url()).status == 200
    again = wait_until(lambda: [r for r in site.list() if r["kind"] == "idle"], "idleness")[0]
    assert again["id"] == row["id"]


def test_a_request(lab, site):
    origin = slow_origin(lab)
    client = begin_request(lab, site, origin)
    row = only(site.list())
    assert list(row) == FIELDS
    assert (row["kind"], row["client"], row["listener"]) == ("request", "127.0.0.1", "a")
    assert (row["method"], row["target"], row["rule"]) == ("GET", origin.url("/slow"), "local")
    assert (row["upstream"], row["user"], row["generation"]) == (origin.authority, None, 1)
    assert row["bytes_in"] == len(wire.request_bytes("GET", origin.url("/slow")))
    assert row["bytes_out"] > 0
    assert site.list()[0]["age_ms"] >= row["age_ms"]
    client.close()
    assert site.proxy.wait_request(origin.url("/slow"))["id"] == row["id"]


def test_a_request_goes_by_the_generation_that_it_began_with(lab, site):
    begin_request(lab, site, slow_origin(lab))
    site.reload(LISTEN)
    assert only(site.list())["generation"] == 1
    begin_request(lab, site, slow_origin(lab), "/2")
    assert sorted(row["generation"] for row in site.list()) == [1, 2]


def test_a_tunnel(lab, site):
    origin = quiet_origin(lab)
    client = lab.tunnel(site.proxy, origin)
    row = only(site.list())
    assert list(row) == FIELDS
    assert (row["kind"], row["client"], row["listener"]) == ("tunnel", "127.0.0.1", "a")
    assert (row["method"], row["target"], row["rule"]) == ("CONNECT", origin.authority, "local")
    assert (row["upstream"], row["generation"]) == (origin.authority, None)
    client.send(b"x" * 1000)
    wait_until(lambda: only(site.list())["bytes_in"] == row["bytes_in"] + 1000, "the bytes")
    client.close()
    line = site.proxy.wait_request(origin.authority)
    assert (line["id"], line["bytes_out"]) == (row["id"], str(row["bytes_out"]))


def test_a_user(lab, tmp_path):
    users = tmp_path / "users"
    users.write_text(f"anna:{SECRET}\n")
    text = LISTEN + "[access]\nstaff = allow user anna to any\n"
    site = Site(lab, tmp_path, text, f"auth.users={users}")
    origin = quiet_origin(lab)
    client = lab.client(site.proxy)
    client.request("CONNECT", origin.authority, [("Proxy-Authorization", "Basic YW5uYTpzZWNyZXQ=")])
    assert client.read_response(to="CONNECT").status == 200
    row = only(site.list())
    assert (row["user"], row["rule"]) == ("anna", "staff")
    # Who is no longer a user is nobody, and the rule asks for credentials.
    assert site.list("?would-deny") == []
    users.write_text(f"berta:{SECRET}\n")
    wait_until(lambda: site.list("?would-deny"), "the struck user's tunnel, without a reload")
    site.reload(text)
    assert only(site.list("?would-deny"))["would_deny"] == "staff"
    users.write_text(f"berta:{SECRET}\nanna:{SECRET}\n")
    wait_until(lambda: site.list("?would-deny") == [], "one who is a user again")


def test_the_first_who_asks_goes_by_the_users_file_of_now(lab, tmp_path):
    """However long it takes to read, and though nobody has shown credentials since it changed."""
    users = tmp_path / "users"
    users.write_text(f"anna:{SECRET}\n")
    text = LISTEN + "[access]\nstaff = allow user anna to any\n"
    site = Site(lab, tmp_path, text, f"auth.users={users}", "server.workers=2")
    origin = quiet_origin(lab)
    clients = [lab.client(site.proxy) for _ in range(4)]
    for client in clients:
        client.request("CONNECT", origin.authority, [("Proxy-Authorization", "Basic YW5uYTpzZWNyZXQ=")])
        assert client.read_response(to="CONNECT").status == 200
    users.write_text("".join(f"user{n}:{SECRET}\n" for n in range(100_000)))
    changed = time.monotonic()
    while time.monotonic() < changed + 1.2:
        assert len(site.list()) == 4
    assert len(site.list("?would-deny")) == 4


def test_a_long_target_is_cut(lab, site):
    origin = slow_origin(lab)
    begin_request(lab, site, origin, "/" + "x" * 2000)
    target = only(site.list())["target"]
    assert target == origin.url("/" + "x" * 2000)[:1021] + "..."


def test_questions_that_are_none(lab, site):
    lab.client(site.proxy)
    wait_until(site.list, "the connection")
    for path in ("/connections?would", "/connections?", "/connections?would-deny=1"):
        assert site.ask("GET", path).status == 400, path
    for path in ("/connections", "/connections?", "/connections?x"):
        assert site.ask("DELETE", path).status == 400, path
    assert site.ask("DELETE", "/connections/").status == 404
    assert site.ask("GET", "/connections/0-i1").status == 405
    head = site.ask("HEAD", "/connections")
    assert (head.status, head.body) == (200, b"")
    assert len(site.list()) == 1


def test_the_table(lab, site):
    origin = quiet_origin(lab)
    lab.tunnel(site.proxy, origin)
    begin_request(lab, site, slow_origin(lab), "/" + "x" * 2000)
    lab.client(site.proxy)
    wait_until(lambda: len(site.list()) == 3, "all three")
    lines = site.ask("GET", "/connections", accept="text/plain").body.decode().splitlines()
    assert len(lines) == 5
    assert lines[-1] == "3 connections"
    names = lines[0].split()
    assert names[:6] == ["ID", "KIND", "AGE", "IN", "OUT", "CLIENT"]
    assert names[-3:] == ["UPSTREAM", "METHOD", "TARGET"]
    rows = [line.split() for line in lines[1:-1]]
    assert sorted(row[1] for row in rows) == ["idle", "request", "tunnel"]
    assert all(len(row) == len(names) for row in rows)
    # Columns stand below their names.
    for name in ("KIND", "CLIENT", "UPSTREAM", "TARGET"):
        at = lines[0].index(name)
        assert all(line[at - 1] == " " and line[at] != " " for line in lines[1:-1]), lines
    assert (
        only([dict(zip(names, row)) for row in rows], KIND="tunnel")["TARGET"] == origin.authority
    )


# Many


def hold(site, count):
    """So many connections, which the daemon has all accepted."""
    peers = [wire.connect(site.proxy.address) for _ in range(count)]
    site.lab.peers += peers
    return peers


def port_of(peer):
    return peer.sock.getsockname()[1]


@pytest.mark.parametrize("accept", ["application/json", "text/plain"])
def test_3000_are_listed_while_others_come_and_go(lab, tmp_path, accept, figure):
    site = Site(lab, tmp_path, LISTEN, "server.workers=2", "timeouts.header=5m", release=True)
    count = 3000
    hold(site, count)
    wait_until(lambda: len(site.list()) >= count, "all of them")
    stays = {row["id"] for row in site.list()}
    assert len(stays) == count
    done = threading.Event()
    turnover = 0

    def come_and_go():
        nonlocal turnover
        while not done.is_set():
            crowd = [wire.connect(site.proxy.address) for _ in range(20)]
            for peer in crowd:
                peer.close()
            turnover += len(crowd)

    crowd = threading.Thread(target=come_and_go)
    crowd.start()
    try:
        for _ in range(20):
            answer = site.ask("GET", "/connections", accept=accept)
            if accept == "text/plain":
                lines = answer.body.decode().splitlines()
                ids = [line.split()[0] for line in lines[1:-1]]
                assert lines[-1] == f"{len(ids)} connections"
            else:
                ids = [row["id"] for row in json.loads(answer.body)["connections"]]
            assert len(set(ids)) == len(ids), "some are told twice"
            assert stays <= set(ids), f"{len(stays - set(ids))} are missing"
    finally:
        done.set()
        crowd.join(DEADLINE)
    assert turnover > 0
    figure(f"20 listings of {count} connections, {turnover} others came and went meanwhile")


def test_long_targets_fill_portions(lab, tmp_path):
    """Fewer of them go into one than of others."""
    site = Site(lab, tmp_path, LISTEN, "server.workers=2", release=True)
    origin = quiet_origin(lab)
    targets = {origin.url(f"/{n:03d}" + "x" * 1500)[:1021] + "..." for n in range(300)}
    for n in range(300):
        lab.client(site.proxy).request("GET", origin.url(f"/{n:03d}" + "x" * 1500))
    wait_until(lambda: origin.peers and len(site.list()) == 300, "all of them")
    wait_until(lambda: {row["target"] for row in site.list()} == targets, "all targets")


def test_one_listing_at_a_time(lab, tmp_path):
    """One that nobody reads takes no more memory than a portion; it keeps others waiting, but kills
    none, and ends with its reader."""
    site = Site(lab, tmp_path, LISTEN, "timeouts.header=5m", "server.workers=1")
    hold(site, 3000)
    wait_until(lambda: len(site.list()) >= 3000, "all of them")
    id = site.list()[0]["id"]
    stalled = wire.connect(site.socket)
    stalled.sock.setsockopt(wire.socket.SOL_SOCKET, wire.socket.SO_RCVBUF, 4096)
    stalled.request("GET", "/connections", [("Host", "localhost")])
    stalled.read_head()
    answer = wait_until(
        lambda: (lambda a: a if a.status == 503 else None)(site.ask("GET", "/connections")),
        "a refusal",
    )
    assert answer.get("Retry-After")
    assert site.kill(id).status == 200
    assert site.ask("GET", "/healthz").status == 200
    stalled.close()
    wait_until(lambda: site.ask("GET", "/connections").status == 200, "the next listing")
    assert id not in {row["id"] for row in site.list()}


@pytest.mark.parametrize("reads", [0, 1, 20000])
def test_readers_that_leave(lab, tmp_path, reads):
    """At once, at the first byte, within a piece; with a listing or a kill."""
    site = Site(lab, tmp_path, LISTEN, "timeouts.header=5m", "server.workers=2")
    hold(site, 1000)
    wait_until(lambda: len(site.list()) == 1000, "all of them")
    for n in range(100):
        peer = wire.connect(site.socket)
        line = ("GET", "/connections") if n % 3 or reads > 1 else ("DELETE", "/connections/1-fff")
        peer.request(*line, [("Host", "localhost")])
        if reads:
            assert peer.sock.recv(reads)
        peer.close() if n % 2 else peer.reset()
    wait_until(lambda: site.ask("GET", "/connections").status == 200, "a listing")
    assert len(site.list()) == 1000


def test_listing_during_the_drain(lab, tmp_path):
    """Of two workers one has ended."""
    site = Site(lab, tmp_path, LISTEN, "server.workers=2", "server.grace=1m")
    origin = quiet_origin(lab)
    client = lab.tunnel(site.proxy, origin)
    site.proxy.signal(signal.SIGTERM)
    site.proxy.wait_for_log(event="drain")
    row = only(site.list())
    assert row["kind"] == "tunnel"
    assert site.kill("0-i1").status == 404
    assert site.kill("1-i1").status == 404
    assert site.kill(row["id"]).status == 200
    assert site.proxy.wait_exit() == 0
    client.close()


# Ends by hand


def expect_reset(peer):
    peer.read_to_end()
    assert peer.ended == "reset"


def test_kill_a_request(lab, site):
    origin = slow_origin(lab)
    client = begin_request(lab, site, origin)
    id = only(site.list())["id"]
    answer = site.kill(id)
    assert (answer.status, json.loads(answer.body)) == (200, {"id": id, "end": "killed"})
    assert answer.get("Content-Type") == "application/json"
    expect_reset(client)
    line = site.proxy.wait_request(origin.url("/slow"))
    assert (line["end"], line["id"], line["status"]) == ("killed", id, "200")
    assert site.kill(id).status == 404


def test_kill_a_tunnel(lab, site):
    ended = []

    def script(peer):
        peer.read_to_end()
        ended.append(peer.ended)

    origin = lab.origin(script)
    client = lab.tunnel(site.proxy, origin)
    id = only(site.list())["id"]
    assert site.kill(id).status == 200
    expect_reset(client)
    wait_until(lambda: ended == ["reset"], "the origin's reset")
    line = site.proxy.wait_request(origin.authority)
    assert (line["end"], line["id"]) == ("killed", id)


def test_kill_a_request_that_waits_for_its_response(lab, site):
    origin = quiet_origin(lab)
    client = lab.client(site.proxy)
    client.request("GET", origin.url("/never"))
    origin.wait_peers(1)
    row = wait_until(lambda: [r for r in site.list() if r["kind"] == "request"], "it")[0]
    assert site.kill(row["id"]).status == 200
    expect_reset(client)
    line = site.proxy.wait_request(origin.url("/never"))
    assert (line["end"], line["status"]) == ("killed", "-")


def test_kill_half_a_head(lab, site):
    client = lab.client(site.proxy)
    client.send(b"GET http://half.example/ HTT")
    row = wait_until(lambda: [r for r in site.list() if r["kind"] == "request"], "it")[0]
    assert site.kill(row["id"]).status == 200
    expect_reset(client)
    assert site.proxy.wait_for_log(event="request", id=row["id"])["end"] == "killed"


def test_kill_an_idle_connection(lab, site):
    """It has no line of its own, and nothing that could be cut short."""
    client = lab.client(site.proxy)
    id = wait_until(site.list, "the connection")[0]["id"]
    assert site.kill(id).status == 200
    client.expect_end("fin")
    assert site.list() == []
    assert not site.proxy.find_lines(event="request")


@pytest.mark.parametrize(
    "id",
    ["0-1", "1-i1", "7-1", "x", "-", "0", "0-", "-1", "0-i", "00-i1", "0-" + "1" * 500, "0-%20"],
)
def test_kill_nobody(lab, site, id):
    lab.client(site.proxy)
    wait_until(site.list, "the connection")
    answer = site.kill(id) if site.list()[0]["id"] != id else site.kill("9-9")
    assert answer.status == 404
    assert "error" in json.loads(answer.body)
    assert len(site.list()) == 1


def test_kill_among_many(lab, tmp_path):
    """From the first to the last."""
    site = Site(lab, tmp_path, LISTEN, "server.workers=2", "timeouts.header=5m", release=True)
    hold(site, 1500)
    wait_until(lambda: len(site.list()) == 1500, "all of them")
    ids = [row["id"] for row in site.list()]
    for id in (ids[0], ids[700], ids[-1]):
        assert site.kill(id).status == 200
        assert site.kill(id).status == 404
    assert {row["id"] for row in site.list()} == set(ids) - {ids[0], ids[700], ids[-1]}


# What the policy says now


def test_would_deny(lab, site):
    origin, other = quiet_origin(lab), quiet_origin(lab)
    lab.tunnel(site.proxy, origin)
    lab.tunnel(site.proxy, other)
    lab.client(site.proxy)
    begin_request(lab, site, slow_origin(lab))
    assert site.list("?would-deny") == []
    site.reload(LISTEN + f"[access]\nno = deny to any port {other.port}\nyes = allow to any\n")
    row = only(site.list("?would-deny"))
    assert list(row) == FIELDS + ["would_deny"]
    assert (row["target"], row["rule"], row["would_deny"]) == (other.authority, "local", "no")
    site.reload(LISTEN + "[access]\noffice = allow\n")
    assert {(r["kind"], r["would_deny"]) for r in site.list("?would-deny")} == {
        ("tunnel", "builtin:private-address"),
        ("request", "builtin:private-address"),
    }
    assert len(site.list()) == 4
    site.reload(LISTEN)
    assert site.list("?would-deny") == []


def test_would_deny_judges_by_the_facts_of_then(lab, site):
    """Method, listener, name and time; not by what the name leads to now."""
    origin = quiet_origin(lab)
    target = f"localhost:{origin.port}"
    client = lab.client(site.proxy)
    client.request("CONNECT", target)
    assert client.read_response(to="CONNECT").status == 200

    def verdict(rule):
        site.reload(LISTEN + f"[access]\nrule = deny {rule}\nyes = allow to any\n")
        return [row["would_deny"] for row in site.list("?would-deny")]

    assert verdict("host localhost") == ["rule"]
    assert verdict("host other.example") == []
    assert verdict("method CONNECT") == ["rule"]
    assert verdict("method GET") == []
    assert verdict("listener a") == ["rule"]
    assert verdict(f"port {origin.port}") == ["rule"]
    assert verdict("from 127.0.0.1") == ["rule"]
    assert verdict("to 127.0.0.1") == ["rule"]
    assert verdict("to 127.0.0.2") == []
    assert verdict("time mon-sun") == ["rule"]


def test_would_deny_of_an_upgrade(lab, site):
    def script(peer):
        peer.read_request()
        peer.send(b"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: chat\r\n\r\n")
        peer.read_to_end()

    origin = lab.origin(script)
    client = lab.client(site.proxy)
    fields = [("Connection", "upgrade"), ("Upgrade", "chat")]
    client.request("GET", origin.url("/chat"), fields)
    assert client.read_head().status == 101
    row = only(site.list())
    assert (row["kind"], row["target"]) == ("tunnel", origin.url("/chat"))
    site.reload(LISTEN + f"[access]\nno = deny to any port {origin.port}\nyes = allow to any\n")
    assert only(site.list("?would-deny"))["would_deny"] == "no"


def test_would_deny_before_there_is_an_address(lab, tmp_path):
    """As far as the first walk can tell."""
    with wire.socket.socket(wire.socket.AF_INET, wire.socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        server = f"dns.servers=127.0.0.1:{silent.getsockname()[1]}"
        site = Site(lab, tmp_path, LISTEN, server, "timeouts.dns=1m")
        lab.client(site.proxy).request("GET", "http://name.example/")
        wait_until(lambda: [r for r in site.list() if r["kind"] == "request"], "the request")
        site.reload(LISTEN + "[access]\nhere = allow to 127.0.0.1\n")
        assert site.list("?would-deny") == []
        site.reload(LISTEN + "[access]\nno = deny host .example\nyes = allow to any\n")
        assert only(site.list("?would-deny"))["would_deny"] == "no"
        assert len(site.list("?would-deny", method="DELETE")) == 1
        line = site.proxy.wait_request("http://name.example/")
        assert (line["end"], line["upstream"]) == ("killed", "-")


def test_close_what_would_be_denied(lab, site):
    origin, other = quiet_origin(lab), quiet_origin(lab)
    keeps = lab.tunnel(site.proxy, origin)
    goes = lab.tunnel(site.proxy, other)
    assert site.list("?would-deny", method="DELETE") == []
    site.reload(LISTEN + f"[access]\nno = deny to any port {other.port}\nyes = allow to any\n")
    row = only(site.list("?would-deny", method="DELETE"))
    assert row["would_deny"] == "no"
    expect_reset(goes)
    line = site.proxy.wait_request(other.authority)
    assert (line["end"], line["id"]) == ("killed", row["id"])
    assert only(site.list())["target"] == origin.authority
    keeps.send(b"still here")
    assert site.ask("DELETE", "/connections").status == 400
    assert len(site.list()) == 1


def test_close_many(lab, tmp_path):
    """Those that end while the walk is under way take nobody with them."""
    site = Site(lab, tmp_path, LISTEN, "server.workers=2", release=True)
    origin, other = quiet_origin(lab), quiet_origin(lab)
    for _ in range(400):
        lab.tunnel(site.proxy, origin)
        lab.tunnel(site.proxy, other)
    site.reload(LISTEN + f"[access]\nno = deny to any port {other.port}\nyes = allow to any\n")
    assert len(site.list("?would-deny", method="DELETE")) == 400
    rows = site.list()
    assert {row["target"] for row in rows} == {origin.authority}
    assert len(rows) == 400


# Over TCP


def admin_address(proxy):
    line = proxy.wait_for_log(lambda line: "address" in line, event="admin")
    host, _, port = line["address"].rpartition(":")
    return (host, int(port))


@pytest.mark.parametrize("write", ["off", "on"])
def test_over_tcp(lab, write):
    options = ["admin.address=127.0.0.1:0", f"admin.write={write}"]
    proxy = lab.fresh(*options, config=LISTEN)
    address = admin_address(proxy)
    origin = quiet_origin(lab)
    lab.tunnel(proxy, origin)

    def ask(method, path, accept="application/json"):
        peer = lab.client(address)
        peer.request(method, path, [("Host", "127.0.0.1"), ("Accept", accept)])
        return peer.read_response(to=method)

    row = only(json.loads(ask("GET", "/connections").body)["connections"])
    told = origin.authority if write == "on" else None
    assert (row["target"], row["upstream"]) == (told, told)
    table = ask("GET", "/connections", "text/plain").body.decode()
    assert (origin.authority in table) == (write == "on")
    assert ask("DELETE", "/connections?would-deny").status == (200 if write == "on" else 403)
    assert ask("DELETE", f"/connections/{row['id']}").status == (200 if write == "on" else 403)


# What fails


@pytest.mark.parametrize(
    "method, path, good", [("GET", "/connections", 200), ("DELETE", "/connections/0-fff", 404)]
)
def test_every_allocation_fails_once(lab, tmp_path, faults, method, path, good):
    site = Site(lab, tmp_path, LISTEN, "timeouts.header=5m", env=faults.environment)
    hold(site, 300)
    wait_until(lambda: len(site.list()) == 300, "all of them")
    seen = []
    while not seen or faults.failed:
        faults.watch(len(seen) + 1)
        seen.append(site.ask(method, path).status)
        faults.stop()
        assert len(site.list()) == 300
    assert len(seen) > 2
    assert seen == [503] * (len(seen) - 1) + [good]


# The commands


def test_commands(lab, site):
    origin = quiet_origin(lab)
    client = lab.tunnel(site.proxy, origin)
    listing = site.command("connections", "--json")
    assert (listing.returncode, listing.stderr) == (0, "")
    row = only(json.loads(listing.stdout)["connections"])
    table = site.command("connections")
    assert table.returncode == 0
    assert table.stdout.splitlines()[1].split()[0] == row["id"]
    assert site.command("connections", "--would-deny").stdout == "0 connections\n"
    site.reload(LISTEN + "[access]\nno = deny to any\n")
    assert " no " in site.command("connections", "--would-deny").stdout
    unknown = site.command("kill", "0-fff")
    assert unknown.returncode == 1
    assert "0-fff" in unknown.stderr
    killed = site.command("connections", "--would-deny", "--close")
    assert killed.returncode == 0
    assert row["id"] in killed.stdout
    expect_reset(client)
    assert site.proxy.wait_request(origin.authority)["end"] == "killed"
    id = (lab.client(site.proxy), wait_until(site.list, "a connection"))[1][0]["id"]
    assert site.command("kill", id).returncode == 0
    assert site.list() == []


@pytest.mark.parametrize(
    "answer, code, said",
    [
        (wire.chunked(b"one\n", b"t", b"wo\n"), 0, "one\ntwo\n"),
        (wire.chunked(b"one\n")[:-5], 1, ""),
        (wire.chunked(b"one\n")[:-8], 1, ""),
        (b"4\r\none\n\r\n5\r\ntw", 1, ""),
        (b"ffffffffffffffff\r\none\n", 1, ""),
        (b"x\r\none\n", 1, ""),
        (b"", 1, ""),
    ],
)
def test_half_a_listing_is_none(lab, answer, code, said):
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    daemon = lab.origin(lambda peer: (peer.read_request(), peer.send(head + answer)))
    result = subprocess.run(
        [binary(), "connections", "-s", daemon.authority],
        capture_output=True,
        text=True,
        timeout=DEADLINE,
    )
    assert (result.returncode, result.stdout) == (code, said)
    assert ("no whole answer" in result.stderr) == (code != 0)
