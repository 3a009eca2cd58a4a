# SPDX-License-Identifier: MIT
"""The admin socket: what it tells, to whom, within which limits; and the commands that ask it."""

import json
import os
import resource
import signal
import socket
import stat
import subprocess
import threading
import time

import pytest

import viaduct_harness
import wire
from viaduct_harness import wait_until
from wire import DEADLINE

LISTEN = "[listen a]\naddress = 127.0.0.1:0\n"
TEXT = [("Accept", "text/plain")]
PLACES = 64
STRANGERS = 8  # of the places, for whom admin.allow does not name
STRANGER_WAIT = 2.0  # s
WAIT = 10.0  # s: what a request has to come in, and an answer to move


class Site:
    """A daemon with an admin socket."""

    def __init__(self, lab, tmp_path, config=LISTEN, *options, **how):
        self.lab = lab
        self.socket = str(tmp_path / "admin.sock")
        self.config = config
        self.proxy = lab.fresh(f"admin.address=unix:{self.socket}", *options, config=config, **how)
        self.proxy.wait_for_log(event="admin", msg="listening")
        self.proxy.note_idle()

    def write(self, text):
        new = self.proxy.config.with_suffix(".new")
        new.write_text(text)
        os.replace(new, self.proxy.config)

    def ask(self, path, method="GET", fields=(), address=None, **how):
        peer = self.lab.client(address or self.socket)
        peer.request(method, path, [("Host", "localhost"), *fields], **how)
        return peer.read_response(to=method)

    def json(self, path, method="GET", status=200):
        answer = self.ask(path, method)
        assert answer.status == status, (answer, answer.body)
        assert answer.get("Content-Type") == "application/json"
        return json.loads(answer.body)

    def text(self, path, method="GET", status=200):
        answer = self.ask(path, method, TEXT)
        assert answer.status == status, (answer, answer.body)
        assert answer.get("Content-Type") == "text/plain; charset=utf-8"
        return answer.body.decode()

    def hits(self):
        rules = self.json("/rules")["rules"]
        return {rule["name"]: rule.get("hits", rule.get("would_deny")) for rule in rules}

    def command(self, *words, socket=None, env=None):
        return run(*words, "-s", socket or self.socket, env=env)


def run(*words, env=None):
    environment = {k: v for k, v in os.environ.items() if k != "RUNTIME_DIRECTORY"}
    return subprocess.run(
        [viaduct_harness.binary(), *map(str, words)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=DEADLINE * 3,
        env=environment | (env or {}),
        check=False,
    )


@pytest.fixture
def site(lab, tmp_path):
    return Site(lab, tmp_path)


# ---- What it tells ----


def test_healthz(site):
    assert site.json("/healthz") == {"state": "ok"}
    assert site.text("/healthz") == "ok\n"
    head = site.ask("/healthz", "HEAD")
    assert head.status == 200
    assert head.get("Cache-Control") == "no-store"


def test_head_is_the_head_of_get(site):
    """Nothing behind it, whatever the page."""
    for page in ("/healthz", "/status", "/rules", "/explain?target=127.0.0.1:80", "/", "/nothing"):
        peer = site.lab.client(site.socket)
        peer.request("HEAD", page, [("Host", "localhost")])
        head = peer.read_response(to="HEAD")
        assert peer.read_to_end() == b"", page
        answer = site.ask(page)
        assert head.status == answer.status
        if head.has("Content-Length"):
            assert abs(int(head.get("Content-Length")) - len(answer.body)) < 8, page  # ages grow


def test_index_names_the_routes(site):
    paths = {route["path"] for route in site.json("/")["routes"]}
    assert {"/", "/healthz", "/status", "/rules", "/explain", "/reload"} <= paths
    assert "POST    /reload" in site.text("/")


def test_status(lab, site):
    origin = lab.origin(lambda connection: connection.read_to_end())
    before = site.json("/status")
    assert before["pid"] == site.proxy.pid
    assert before["state"] == "ok"
    assert before["generation"] == 1
    assert before["configuration"] == str(site.proxy.config)
    assert (before["requests"], before["tunnels"]) == (0, 0)
    assert before["connections"]["used"] == 0
    assert 0 < before["connections"]["max"] <= before["descriptors"]["max"]
    assert before["listeners"] == [{"name": "a", "address": f"127.0.0.1:{site.proxy.port}"}]
    tunnel = lab.tunnel(site.proxy, origin)
    lab.client(site.proxy).get("http://127.0.0.1:1/")
    wait_until(lambda: site.json("/status")["requests"] == 2, "both requests to be counted")
    during = site.json("/status")
    assert during["tunnels"] == 1
    assert during["connections"]["used"] == 2
    assert during["descriptors"]["used"] >= 3
    assert during["reload"] == {"state": "idle", "seconds": 0, "file": None}
    shown = site.text("/status")
    assert "tunnels           1\n" in shown
    assert f"configuration     {site.proxy.config}, generation 1\n" in shown
    tunnel.close()
    wait_until(lambda: site.json("/status")["tunnels"] == 0, "the tunnel to be gone")


def test_status_after_a_reload(site, tmp_path):
    path = f"unix:{tmp_path}/b.sock"
    site.write(LISTEN + f"[listen b]\naddress = {path}\n")
    assert site.json("/reload", "POST")["generation"] == 2
    site.proxy._idle_sockets += 1
    status = site.json("/status")
    assert status["generation"] == 2
    assert status["listeners"][1] == {"name": "b", "address": path}


RULES = (
    LISTEN
    + "[access]\nwatch = report port 9\nnine = deny port 9\nlocal = allow from loopback to 127.0.0.1\n"
)


def test_rules_count_what_they_decided(lab, tmp_path):
    site = Site(lab, tmp_path, RULES)
    origin = lab.origin()
    client = lab.client(site.proxy)
    for _ in range(3):
        client.get(origin.url())
    for _ in range(2):
        assert client.get("http://127.0.0.1:9/").status == 403
    assert client.get("http://127.0.0.2/").status == 403
    assert client.get("http://10.0.0.1/").status == 403
    assert client.get(f"http://127.0.0.1:{site.proxy.port}/").status == 403
    expected = {
        "builtin:loop": 1,
        "watch": 2,
        "nine": 2,
        "local": 3,
        "builtin:default": 2,
        "builtin:private-address": 0,
    }
    wait_until(lambda: site.hits() == expected, f"{expected}, not {site.hits()}")
    rows = {rule["name"]: rule for rule in site.json("/rules")["rules"]}
    assert rows["nine"]["origin"] == f"{site.proxy.config}:5"
    assert rows["nine"]["text"] == "deny port 9"
    assert rows["builtin:loop"]["origin"] is None
    lines = site.text("/rules").splitlines()
    assert lines[0].split() == ["HITS", "RULE", "WHERE", "LINE"]
    assert lines[2].split()[:2] == ["2", "watch"]


def test_hits_of_a_tunnel(lab, site):
    origin = lab.origin(lambda connection: connection.read_to_end())
    lab.tunnel(site.proxy, origin)
    wait_until(lambda: site.hits()["local"] == 1, "the tunnel to be counted when it opens")


def test_hits_survive_a_reload_by_their_names(lab, tmp_path):
    """Also of a request that began under the old rules and ends under the new ones."""
    site = Site(lab, tmp_path, RULES)
    gate = threading.Event()

    def slow(connection):
        connection.read_request()
        gate.wait(DEADLINE)
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    origin = lab.origin(slow)
    client = lab.client(site.proxy)
    client.get("http://127.0.0.1:9/")
    client.request("GET", origin.url())
    origin.wait_requests(1)
    wait_until(lambda: site.hits()["nine"] == 1, "the first hit")
    moved = (
        LISTEN
        + "[access]\nnew = deny port 7\nlocal = allow from loopback to loopback\nnine = deny port 9\n"
    )
    site.write(moved)
    site.json("/reload", "POST")
    hits = site.hits()
    assert (hits["nine"], hits["new"], hits["local"]) == (1, 0, 0)
    assert "watch" not in hits
    gate.set()
    assert client.read_response().body == b"ok"
    wait_until(lambda: site.hits()["local"] == 1, "the request to be counted by the new rule")
    lab.client(site.proxy).get("http://127.0.0.1:7/")
    wait_until(lambda: site.hits()["new"] == 1, "the new rule's hit")


def test_many_rules(lab, tmp_path):
    """More than go into one piece of the answer, and readers who leave in the middle of it."""
    count = 5000
    lines = "".join(f"r{i} = deny host h{i}.example\n" for i in range(count))
    site = Site(lab, tmp_path, LISTEN + "[access]\n" + lines)
    rules = site.json("/rules")["rules"]
    assert [rule["name"] for rule in rules[1:-2]] == [f"r{i}" for i in range(count)]
    assert len(site.text("/rules").splitlines()) == count + 4
    assert site.ask("/rules", "HEAD").status == 200
    for _ in range(20):
        peer = lab.client(site.socket)
        peer.request("GET", "/rules", [("Host", "localhost")])
        peer.read_response_head()
        peer.reset()
    assert len(site.command("rules").stdout.splitlines()) == count + 4
    assert "[warn]" not in site.proxy.stderr()


# ---- Explain ----


def test_explain(lab, tmp_path):
    site = Site(lab, tmp_path, RULES)
    answer = site.ask("/explain?target=http%3A%2F%2F127.0.0.1%3A9%2F&client=127.0.0.1")
    assert (answer.status, answer.get("Viaduct-Exit")) == (200, "1")
    verdict = json.loads(answer.body)
    assert (verdict["verdict"], verdict["rule"]) == ("deny", "nine")
    assert verdict["would_deny"] == ["watch"]
    shown = site.text("/explain?target=127.0.0.1:80&colours=on")
    assert shown.startswith("\033[1;32mALLOWED\033[0m by local")
    # As it listens, not as it was asked to.
    loop = site.json(f"/explain?target=127.0.0.1:{site.proxy.port}")
    assert loop["rule"] == "builtin:loop"


@pytest.mark.parametrize(
    "query",
    ["", "?target=x", "?target=a:1&more=1", "?target=a:1&target=b:1", "?target=a:1&client=x"],
)
def test_explain_of_nonsense(site, query):
    assert "error" in site.json("/explain" + query, status=400)


def test_explain_waits_for_a_name_and_nobody_for_it(lab, tmp_path):
    """A name server that is silent holds up neither other questions nor the end."""
    silent = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    silent.bind(("127.0.0.1", 0))
    lab.at_end(silent.close)
    site = Site(
        lab,
        tmp_path,
        LISTEN,
        f"dns.servers=127.0.0.1:{silent.getsockname()[1]}",
        "timeouts.dns=60s",
    )
    silent.settimeout(DEADLINE)
    waiting = lab.client(site.socket)
    waiting.request("GET", "/explain?target=name.example:443", [("Host", "localhost")])
    silent.recvfrom(512)
    assert site.json("/healthz") == {"state": "ok"}
    gone = lab.client(site.socket)
    gone.request("GET", "/explain?target=other.example:443", [("Host", "localhost")])
    silent.recvfrom(512)
    gone.reset()
    assert site.json("/healthz") == {"state": "ok"}
    assert waiting.is_silent()
    site.proxy.stop()


def test_explain_resolves(site):
    answer = site.json("/explain?target=localhost:80")
    assert (answer["verdict"], answer["dns"]) == ("allow", "ok")


@pytest.mark.parametrize("path, method", [
    ("/healthz", "GET"), ("/rules", "GET"), ("/connections", "GET"), ("/reload", "POST"),
    ("/explain?target=localhost:80", "GET"),
])  # fmt: skip
def test_a_client_that_has_said_all_gets_its_answer(lab, tmp_path, path, method):
    """It ends its direction behind the request, as `nc -N` does."""
    lines = "".join(f"r{i} = deny host h{i}.example\n" for i in range(3000))
    site = Site(lab, tmp_path, LISTEN + "[access]\n" + lines)
    for _ in range(5):
        peer = lab.client(site.socket)
        peer.send_with_fin(wire.request_bytes(method, path, [("Host", "localhost")], b""))
        answer = peer.read_response()
        assert answer.status == 200
        json.loads(answer.body)


# ---- Reload ----


def test_reload(site):
    assert site.json("/reload", "POST") == {
        "result": "done",
        "generation": 2,
        "changes": 0,
        "needs_restart": False,
        "errors": [],
        "warnings": [],
    }
    site.write(LISTEN + "[server]\ngrace = 5s\nworkers = 7\n")
    assert site.text("/reload", "POST") == (
        "generation 3 is in force, 2 changes; some wait for a restart (the log names them)\n"
    )
    site.proxy.wait_for_log(event="reload", by="admin")


REFUSED = "the reload is refused, and what was in force stays"


def test_reload_refused_tells_every_error(site):
    site.write(LISTEN + "[access]\nx = alow to any\n[server]\ngrace = soon\nnmae = x\n")
    answer = site.json("/reload", "POST", status=422)
    assert (answer["result"], answer["generation"]) == ("refused", 1)
    places = [message.split(": ")[0] for message in answer["errors"]]
    assert places == [f"{site.proxy.config}:{number}" for number in (4, 6, 7)]
    assert site.text("/reload", "POST", status=422).splitlines() == [*answer["errors"], REFUSED]
    assert site.json("/status")["generation"] == 1
    expected = answer["errors"] * 2
    site.proxy.wait_for_log(event="configuration", level="error", count=len(expected))
    said = site.proxy.find_lines(event="configuration", level="error")
    assert [line["msg"] for line in said] == expected


def test_reload_tells_errors_and_warnings_by_line(site):
    site.write(LISTEN + "[pool]\nidle_total = 1\n[access]\nx = alow to any\n[pool]\nidel = 1s\n")
    lines = site.text("/reload", "POST", status=422).splitlines()
    places = [line.split(": ")[0] for line in lines[:-1]]
    assert places == [f"{site.proxy.config}:{number}" for number in (4, 6, 8)]
    assert " warning: " in lines[0]


def test_reload_warns_of_a_method_that_does_not_exist(site):
    site.write(LISTEN + "[access]\nx = deny method GETT\n")
    (warning,) = site.json("/reload", "POST")["warnings"]
    assert warning.startswith(f"{site.proxy.config}:4: warning: access.x: ")


def test_reload_cannot_have_an_address(lab, site):
    taken = socket.create_server(("127.0.0.1", 0))
    lab.at_end(taken.close)
    port = taken.getsockname()[1]
    site.write(LISTEN + f"[listen b]\naddress = 127.0.0.1:{port}\n")
    (message,) = site.json("/reload", "POST", status=422)["errors"]
    assert message.startswith(f"{site.proxy.config}:4: ")
    assert f"127.0.0.1:{port}" in message


def test_reload_cannot_have_the_admin_address(lab, site):
    taken = socket.create_server(("127.0.0.1", 0))
    lab.at_end(taken.close)
    port = taken.getsockname()[1]
    proxy = lab.fresh(config=LISTEN)
    proxy.config.write_text(LISTEN + f"[admin]\nmode = 0600\naddress = 127.0.0.1:{port}\n")
    proxy.signal(signal.SIGHUP)
    line = proxy.wait_for_log(event="configuration", level="error")
    assert line["msg"].startswith(f"{proxy.config}:5: cannot listen on 127.0.0.1:{port}: ")
    assert lab.client(proxy).get("http://127.0.0.1:1/").status == 502


def test_many_reloads_at_once_are_all_answered(lab, site):
    peers = [lab.client(site.socket) for _ in range(20)]
    for peer in peers:
        peer.request("POST", "/reload", [("Host", "localhost")], b"")
    generations = [json.loads(peer.read_response().body)["generation"] for peer in peers]
    assert all(generation >= 2 for generation in generations)


def drain(site, lab):
    """TERM while a tunnel runs."""
    origin = lab.origin(lambda connection: connection.read_to_end())
    tunnel = lab.tunnel(site.proxy, origin)
    site.proxy.signal(signal.SIGTERM)
    site.proxy.wait_for_log(event="drain")
    return tunnel


def test_draining(lab, site):
    tunnel = drain(site, lab)
    assert site.json("/healthz", status=503) == {"state": "draining"}
    assert site.json("/status")["state"] == "draining"
    assert site.json("/status")["tunnels"] == 1
    answer = site.json("/reload", "POST", status=409)
    assert answer["result"] == "ignored"
    result = site.command("reload")
    assert (result.returncode, "drains" in result.stderr) == (1, True)
    tunnel.close()
    assert site.proxy.wait_exit() == 0
    assert not os.path.exists(site.socket)


def test_healthz_before_the_drain_delay_is_over(lab, tmp_path):
    """503 while new clients are still let in."""
    site = Site(lab, tmp_path, LISTEN, "server.drain_delay=60s")
    origin = lab.origin()
    site.proxy.signal(signal.SIGTERM)
    site.proxy.wait_for_log(event="drain")
    assert site.ask("/healthz").status == 503
    assert lab.client(site.proxy).get(origin.url()).status == 200
    site.proxy.signal(signal.SIGTERM)
    assert site.proxy.wait_exit() == 0


def test_an_answer_on_its_way_at_the_end(lab, tmp_path):
    """Whoever waits for a reload when the daemon ends is told, not cut off."""
    site = Site(lab, tmp_path)
    tunnel = drain(site, lab)
    peers = [lab.client(site.socket) for _ in range(5)]
    for peer in peers:
        peer.request("POST", "/reload", [("Host", "localhost")], b"")
    assert site.ask("/healthz").status == 503  # behind it the others have been read
    tunnel.close()
    assert {peer.read_response().status for peer in peers} == {409}
    assert site.proxy.wait_exit() == 0
    assert "[warn]" not in site.proxy.stderr()


# ---- Limits ----


def test_a_head_that_is_too_large(site):
    answer = site.ask("/healthz", fields=[("X", "a" * 9000)])
    assert answer.status in (400, 413, 431)
    answer = site.ask("/" + "a" * 9000)
    assert answer.status in (400, 413, 414)
    assert site.ask("/healthz", fields=[("X", "a" * 7000)]).status == 200


def test_a_body_that_is_too_large(site):
    assert site.ask("/reload", "POST", body=b"x" * 4096).status == 200
    assert site.ask("/reload", "POST", body=b"x" * 4097).status == 413
    peer = site.lab.client(site.socket)
    peer.send(b"POST /reload HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n")
    peer.send(wire.chunked(b"x" * 5000))
    assert peer.read_response().status == 413


@pytest.mark.parametrize("method", ["PUT", "OPTIONS", "TRACE", "CONNECT", "PATCH", "NONSENSE"])
@pytest.mark.parametrize("target", ["/status", "*", "127.0.0.1:80", "[::1]:1", "http://localhost/x", "?"])
def test_other_methods(site, method, target):
    """Refused, and the connection ends with it."""
    peer = site.lab.client(site.socket)
    peer.send(f"{method} {target} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    answer = peer.read_head()
    assert answer.status in (400, 404, 405, 501)
    assert answer.status != 405 or answer.get("Allow") == "GET, HEAD"
    begin = time.monotonic()
    peer.read_to_end()
    assert time.monotonic() - begin < 3
    assert site.json("/healthz") == {"state": "ok"}


def test_the_method_a_route_takes(site):
    answer = site.ask("/connections/x")
    assert (answer.status, answer.get("Allow")) == (405, "DELETE")
    answer = site.ask("/reload", "DELETE")
    assert (answer.status, answer.get("Allow")) == (405, "GET, HEAD, POST")
    answer = site.ask("/status", "POST")
    assert (answer.status, answer.get("Allow")) == (405, "GET, HEAD")
    assert site.ask("/nothing").status == 404
    assert site.ask("/status/x").status == 404


@pytest.mark.parametrize(
    "junk", [b"\r\n\r\n", b"GET\r\n\r\n", b"\0\1\2\3\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n"]
)
def test_junk(site, junk):
    peer = site.lab.client(site.socket)
    peer.send(junk)
    peer.finish()
    peer.read_to_end()
    assert site.json("/healthz") == {"state": "ok"}


def test_no_event_outlives_its_descriptor(lab, tmp_path, program):
    """Else the number could be another thread's by then. However a connection ends."""
    trace = tmp_path / "trace"
    strace = [program("strace"), "-D", "-f", "-qq", "-e", "trace=epoll_ctl,close", "-o", str(trace)]
    site = Site(lab, tmp_path, wrapper=strace, release=True)
    get = b"GET /status HTTP/1.1\r\nHost: localhost\r\n\r\n"
    for sent in [
        b"",
        get[:9],
        get,
        b"\0\r\n\r\n",
        b"GET / HTTP/1.1\r\nX: " + b"a" * 9000,
        b"POST /reload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9000\r\n\r\n",
        b"PUT / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        get.replace(b"status", b"connections"),
    ]:
        for is_patient in (True, False):
            peer = wire.connect(site.socket)
            peer.send(sent)
            if is_patient:
                peer.finish()
                peer.read_to_end()
            peer.close()
    assert site.json("/healthz") == {"state": "ok"}
    site.proxy.stop()
    failed = [line for line in trace.read_text().splitlines() if " = -1 " in line]
    assert not failed and " close(" in trace.read_text()


def test_the_65th_connection_waits(lab, site):
    held = [lab.client(site.socket) for _ in range(PLACES)]
    late = lab.client(site.socket)
    late.request("GET", "/healthz", [("Host", "localhost")])
    wait_until(
        lambda: site.proxy.socket_count() >= site.proxy._idle_sockets + PLACES, "64 to be accepted"
    )
    assert late.is_silent()
    assert site.proxy.socket_count() == site.proxy._idle_sockets + PLACES
    assert lab.client(site.proxy).get(lab.origin().url()).status == 200
    held.pop().close()
    assert late.read_response().status == 200
    # All places are found again, however their connections end.
    for index, peer in enumerate(held):
        if index % 3 == 0:
            peer.reset()
        elif index % 3 == 1:
            peer.request("GET", "/status", [("Host", "localhost")])
            peer.read_response()
            peer.expect_end("fin")
        peer.close()
    for _ in range(3 * PLACES):
        assert site.ask("/healthz").status == 200


def test_out_of_descriptors(lab, site):
    """It rests, says so once a second, and goes on when there are some again."""
    before = resource.prlimit(site.proxy.pid, resource.RLIMIT_NOFILE)
    highest = max(int(fd) for fd in os.listdir(f"/proc/{site.proxy.pid}/fd"))
    resource.prlimit(site.proxy.pid, resource.RLIMIT_NOFILE, (highest + 1, before[1]))
    # What is free below the limit is taken first.
    held = [lab.client(site.socket) for _ in range(highest + 1)]
    site.proxy.wait_for_log(event="admin", level="warning", count=2)
    assert len(site.proxy.find_lines(event="admin", level="warning")) < 10
    assert site.proxy.stderr() == ""
    resource.prlimit(site.proxy.pid, resource.RLIMIT_NOFILE, before)
    for peer in held:
        peer.close()
    assert site.ask("/healthz").status == 200


def test_slow_and_stalled_clients_are_cut_and_delay_nobody(lab, tmp_path):
    """One that sends nothing, one whose head never ends, and one that does not take its answer."""
    lines = "".join(f"r{i} = deny host h{i}.example port 1-{i + 1}\n" for i in range(20000))
    site = Site(lab, tmp_path, LISTEN + "[access]\n" + lines, check_leaks=True)
    begin = time.monotonic()
    silent = lab.client(site.socket)
    slow = lab.client(site.socket)
    slow.send(b"GET /status HTTP/1.1\r\nHost: localhost\r\n")
    stalled = lab.client(site.socket)
    stalled.request("GET", "/rules", [("Host", "localhost")])
    wait_until(lambda: wire.select.select([stalled.sock], [], [], 0)[0], "an answer to begin")
    worst = 0.0
    for number in range(10):
        slow.send(b"X%d: y\r\n" % number)
        asked = time.monotonic()
        assert site.ask("/healthz").status == 200
        lab.client(site.proxy).get("http://127.0.0.1:9/")
        worst = max(worst, time.monotonic() - asked)
    assert worst < WAIT / 4
    slow.sock.settimeout(0.5)

    def is_cut():
        try:
            slow.send(b"Y: z\r\n")
            return not slow.fill()
        except socket.timeout:
            return False
        except OSError:
            return True

    wait_until(is_cut, "a head that never ends to be cut", 2 * WAIT * wire.SLOWNESS)
    silent.expect_end()
    assert time.monotonic() - begin >= WAIT * 0.9
    hang_up = wire.select.poll()
    hang_up.register(stalled.sock, wire.select.POLLRDHUP)
    assert hang_up.poll(2 * WAIT * 1000), "the stalled one is not cut"
    assert len(stalled.read_to_end()) < 3_000_000


# ---- Over TCP ----


class TcpSite(Site):
    def __init__(self, lab, *options, config=LISTEN, address="127.0.0.1:0"):
        self.lab = lab
        self.config = config
        self.proxy = lab.fresh(f"admin.address={address}", *options, config=config)
        line = self.proxy.wait_for_log(event="admin", msg="listening")
        host, _, port = line["address"].rpartition(":")
        self.address = (host, int(port))
        self.socket = self.address
        self.proxy.note_idle()


def test_tcp_reads_and_changes_nothing(lab):
    site = TcpSite(lab)
    assert site.json("/healthz") == {"state": "ok"}
    assert site.json("/rules")["generation"] == 1
    assert "admin.write" in site.json("/reload", "POST", status=403)["error"]
    assert site.json("/status")["generation"] == 1
    assert not site.proxy.find_lines(event="reload")


def test_tcp_with_write(lab):
    site = TcpSite(lab, "admin.write=on")
    assert site.json("/reload", "POST")["generation"] == 2


@pytest.mark.parametrize(
    "allow", ["127.0.0.2", "10.0.0.0/8", "127.0.0.2, ::1", "link-local, private"]
)
def test_tcp_for_those_who_are_named(lab, allow):
    site = TcpSite(lab, f"admin.allow={allow}", "admin.write=on")
    for path, method in (("/healthz", "GET"), ("/reload", "POST"), ("/nothing", "GET")):
        assert site.ask(path, method).status == 403
    if "127.0.0.2" in allow:
        peer = wire.Peer(socket.create_connection(site.address, DEADLINE, ("127.0.0.2", 0)))
        lab.peers.append(peer)
        peer.request("GET", "/healthz", [("Host", "127.0.0.1")])
        assert peer.read_response().status == 200


def from_address(lab, site, source):
    peer = wire.Peer(socket.create_connection(site.address, DEADLINE, (source, 0)))
    lab.peers.append(peer)
    return peer


def test_strangers_lock_nobody_out(lab):
    """However many come and say nothing, they get few of the places, and not for long."""
    site = TcpSite(lab, "admin.allow=127.0.0.2")
    asked = time.monotonic()
    strangers = [from_address(lab, site, "127.0.0.3") for _ in range(3 * PLACES)]
    for _ in range(PLACES):
        insider = from_address(lab, site, "127.0.0.2")
        insider.request("GET", "/healthz", [("Host", "localhost")])
        assert insider.read_response().status == 200
        insider.close()
    assert time.monotonic() - asked < STRANGER_WAIT * wire.SLOWNESS
    assert site.proxy.socket_count() <= site.proxy._idle_sockets + STRANGERS + 1
    for stranger in strangers:
        stranger.expect_end()
    assert time.monotonic() - asked < WAIT / 2 * wire.SLOWNESS
    # Their places are found again, and who asks properly is told why not.
    for _ in range(3 * STRANGERS):
        stranger = from_address(lab, site, "127.0.0.3")
        stranger.request("GET", "/healthz", [("Host", "localhost")])
        answer = stranger.read_response()
        assert (answer.status, "admin.allow" in answer.body.decode()) == (403, True)


def test_a_stranger_who_does_not_take_the_answer(lab):
    """Nor reads the end of it, and goes on talking."""
    site = TcpSite(lab, "admin.allow=127.0.0.2")
    for _ in range(STRANGERS):
        stranger = from_address(lab, site, "127.0.0.3")
        stranger.request("POST", "/reload", [("Host", "localhost")], b"x" * 4000)
        stranger.request("POST", "/reload", [("Host", "localhost")], b"x" * 4000)
    wait_until(lambda: site.proxy.socket_count() <= site.proxy._idle_sockets, "them to be gone", WAIT)


@pytest.mark.parametrize(
    "host, status",
    [
        ("localhost", 200), ("localhost:9", 200), ("127.0.0.1:80", 200), ("[::1]", 200),
        ("192.0.2.1", 200), ("a.localhost", 200), ("evil.example", 421), ("evil.example:80", 421),
        ("localhost.evil.example", 421), ("localhost@evil.example", 421), ("127.0.0.1.evil.example", 421),
        ("", 421),
    ],
)  # fmt: skip
def test_tcp_wants_an_address_for_a_name(lab, host, status):
    """Else a page could make a name of its own lead here, and read what is told."""
    site = TcpSite(lab)
    peer = lab.client(site.address)
    peer.request("GET", "/status", [("Host", host)])
    assert peer.read_response().status == status


def test_tcp_wants_it_in_the_target_too(lab):
    site = TcpSite(lab)
    peer = lab.client(site.address)
    peer.request("GET", "http://evil.example/status", [("Host", "localhost")])
    assert peer.read_response().status == 421


def test_a_unix_socket_takes_any_name(site):
    peer = site.lab.client(site.socket)
    peer.request("GET", "/status", [("Host", "viaduct.example")])
    assert peer.read_response().status == 200


@pytest.mark.parametrize(
    "origin, status", [("http://evil.example", 403), ("null", 403), (None, 200), ("same", 200)]
)
def test_a_page_of_somebody_else_changes_nothing(lab, origin, status):
    site = TcpSite(lab, "admin.write=on")
    host = f"127.0.0.1:{site.address[1]}"
    fields = [("Host", host)]
    if origin:
        fields.append(("Origin", f"http://{host}" if origin == "same" else origin))
    peer = lab.client(site.address)
    peer.request("POST", "/reload", fields, b"")
    assert peer.read_response().status == status


@pytest.mark.parametrize("allow", ["", "local = allow to any\n"])
def test_never_through_the_proxy(lab, allow):
    site = TcpSite(lab, config=LISTEN + ("[access]\n" + allow if allow else ""))
    port = site.address[1]
    client = lab.client(site.proxy)
    for host in (f"127.0.0.1:{port}", f"[::ffff:127.0.0.1]:{port}", f"2130706433:{port}"):
        answer = client.get(f"http://{host}/healthz")
        assert answer.status == 403, host
        line = site.proxy.wait_request(f"http://{host}/healthz")
        assert line["rule"] == "builtin:loop", host
    assert client.get(f"http://localhost:{port}/healthz").status in (403, 502)  # 502: by ::1
    client.request("CONNECT", f"127.0.0.1:{port}")
    assert client.read_response(to="CONNECT").status == 403
    assert site.proxy.wait_request(f"127.0.0.1:{port}")["rule"] == "builtin:loop"
    assert site.json(f"/explain?target=127.0.0.1:{port}")["rule"] == "builtin:loop"
    explained = run("explain", "-o", f"admin.address=127.0.0.1:{port}", f"127.0.0.1:{port}")
    assert "builtin:loop" in explained.stdout


def test_an_admin_address_that_came_by_reload_is_ours_too(lab):
    site = TcpSite(lab)
    second = wire.free_port()
    first = lab.fresh(config=LISTEN)
    new = first.config.with_suffix(".new")
    new.write_text(LISTEN + f"[admin]\naddress = 127.0.0.1:{second}\n")
    os.replace(new, first.config)
    first.signal(signal.SIGHUP)
    first.wait_for_log(event="reload", generation="2")
    first.note_idle()
    peer = lab.client(("127.0.0.1", second))
    peer.request("GET", "/healthz", [("Host", "localhost")])
    assert peer.read_response().status == 200
    client = lab.client(first)
    assert client.get(f"http://127.0.0.1:{second}/").status == 403
    assert first.wait_request(f"http://127.0.0.1:{second}/")["rule"] == "builtin:loop"
    assert site.json("/healthz") == {"state": "ok"}


# ---- Where it listens ----


def admin_config(address, more=""):
    return LISTEN + f"[admin]\naddress = {address}\n{more}"


def test_it_moves_with_a_reload(lab, tmp_path):
    one, two = str(tmp_path / "one.sock"), str(tmp_path / "two.sock")
    proxy = lab.fresh(config=admin_config(f"unix:{one}"))
    proxy.wait_for_log(event="admin", msg="listening")
    proxy.note_idle()

    def reload(text, socket, generation):
        proxy.config.write_text(text)
        result = run("reload", "-s", f"unix:{socket}")
        assert result.returncode == 0, result
        proxy.wait_for_log(event="reload", generation=str(generation))

    held = lab.client(one)
    reload(admin_config(f"unix:{two}", "mode = 0600\n"), one, 2)
    assert stat.S_IMODE(os.stat(two).st_mode) == 0o600
    assert not os.path.exists(one)
    held.request("GET", "/healthz", [("Host", "localhost")])
    assert held.read_response().status == 200
    reload(admin_config(f"unix:{two}", "mode = 0666\n"), two, 3)
    assert stat.S_IMODE(os.stat(two).st_mode) == 0o666
    reload(LISTEN, two, 4)
    assert not os.path.exists(two)
    proxy.config.write_text(admin_config(f"unix:{one}"))
    proxy.signal(signal.SIGHUP)
    proxy.wait_for_log(event="reload", generation="5")
    reload(admin_config(f"unix:{one}"), one, 6)
    proxy.stop()
    assert not os.path.exists(one)


def test_auto_follows_the_runtime_directory(lab, tmp_path):
    directory = tmp_path / "run"
    directory.mkdir()
    env = {"RUNTIME_DIRECTORY": f"{directory}:/elsewhere"}
    proxy = lab.fresh(config=LISTEN, env=env)
    proxy.wait_for_log(event="admin", address=f"unix:{directory}/admin.sock")
    assert stat.S_IMODE(os.stat(directory / "admin.sock").st_mode) == 0o660
    assert run("status", "-c", proxy.config, env=env).returncode == 0
    assert run("status", "-c", proxy.config).returncode == 1


def test_off_without_one(lab):
    proxy = lab.fresh(config=LISTEN)
    assert lab.client(proxy).get("http://127.0.0.1:1/").status == 502
    assert "viaduct-admin" not in proxy.threads().values()


def test_a_live_socket_is_not_taken_over(lab, site):
    result = run(
        "serve", "-o", "listen t.address=127.0.0.1:0", "-o", f"admin.address=unix:{site.socket}"
    )
    assert result.returncode == 1
    assert f"unix:{site.socket}" in result.stderr
    assert site.json("/healthz") == {"state": "ok"}


def test_a_stale_one_is(lab, tmp_path):
    path = tmp_path / "admin.sock"
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(str(path))
    stale.close()
    site = Site(lab, tmp_path)
    assert site.json("/healthz") == {"state": "ok"}


@pytest.mark.parametrize(
    "line", ["address = *:9000", "address = systemd", "address = somewhere", "allow = 10.0.0.1/8",
             "allow = public", "write = yes", "group = no-such-group-here"]
)  # fmt: skip
def test_what_cannot_be(tmp_path, line):
    path = tmp_path / "v.ini"
    path.write_text(f"[admin]\n{line}\n")
    result = run("check", "-c", path)
    assert result.returncode == 78
    assert result.stdout.startswith(f"{path}:2: admin.")


def test_config_can_be_fed_back(tmp_path):
    path = tmp_path / "v.ini"
    path.write_text(
        "[admin]\naddress = [::1]:9000\nallow = 10.0.0.0/8, private\nallow = ::1\nwrite = on\n"
    )
    shown = run("config", "-c", path).stdout
    assert "allow = 10.0.0.0/8 ;" in shown
    again = tmp_path / "again.ini"
    again.write_text(shown)
    strip = lambda text: [line.split(" ;")[0] for line in text.splitlines()[1:]]
    assert strip(run("config", "-c", again).stdout) == strip(shown)


# ---- Commands ----


def test_status_and_rules_commands(site):
    result = site.command("status")
    assert (result.returncode, result.stderr) == (0, "")
    assert f"pid               {site.proxy.pid}\n" in result.stdout
    assert json.loads(site.command("status", "--json").stdout)["pid"] == site.proxy.pid
    assert "builtin:loop" in site.command("rules").stdout
    assert site.command("rules", socket=f"unix:{site.socket}").returncode == 0


def test_reload_command(site):
    result = site.command("reload")
    assert (result.returncode, result.stdout) == (0, "generation 2 is in force, 0 changes\n")
    site.write(LISTEN + "[server]\ngrace = soon\nnmae = x\n")
    result = site.command("reload")
    assert (result.returncode, result.stdout) == (78, "")
    assert [line.split(": ")[0] for line in result.stderr.splitlines()] == [
        f"{site.proxy.config}:4",
        f"{site.proxy.config}:5",
        REFUSED,
    ]
    result = site.command("reload", "--json")
    assert result.returncode == 78
    assert json.loads(result.stdout)["result"] == "refused"


def test_reload_finds_the_socket_in_a_broken_file(lab, tmp_path):
    path = tmp_path / "admin.sock"
    proxy = lab.fresh(config=admin_config(f"unix:{path}"))
    proxy.wait_for_log(event="admin")
    proxy.config.write_text(admin_config(f"unix:{path}") + "nonsense = 1\n")
    result = run("reload", "-c", proxy.config)
    assert result.returncode == 78
    assert result.stderr.startswith(f"{proxy.config}:5: admin.nonsense: unknown key")


def test_reload_command_over_tcp(lab):
    site = TcpSite(lab)
    result = run("reload", "-s", "127.0.0.1:%d" % site.address[1])
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith("viaduct: over TCP nothing is changed")


def test_explain_command(lab, tmp_path):
    site = Site(lab, tmp_path, RULES)
    denied = site.command("explain", "http://127.0.0.1:9/")
    assert (denied.returncode, denied.stdout[:14]) == (1, "DENIED by nine")
    local = run("explain", "-c", site.proxy.config, "http://127.0.0.1:9/")
    assert local.stdout == denied.stdout
    assert site.command("explain", "127.0.0.1:80", "--json").returncode == 0
    assert site.command("explain", "nothing.invalid:80").returncode == 3
    long = site.command("explain", "http://127.0.0.1/" + "a" * 5000)
    assert (long.returncode, long.stdout) == (3, "")
    assert "too long to be asked there; leave out the path of the URL" in long.stderr
    wrong = site.command("explain", "x")
    assert (wrong.returncode, wrong.stderr.count("\n")) == (2, 1)
    asked = site.command(
        "explain", "--client", "unix", "--user", "a&b=c %", "--json", "127.0.0.1:80"
    )
    question = json.loads(asked.stdout)
    assert question["client"] == f"unix:{os.getuid()}"
    assert question["user"] == "a&b=c %"


def test_nobody_answers(lab, tmp_path):
    path = tmp_path / "nobody.sock"
    for command in ("status", "rules", "reload", "connections"):
        result = run(command, "-s", path)
        assert (result.returncode, result.stdout) == (1, "")
        assert result.stderr.startswith(
            f"viaduct: unix:{path}: No such file or directory; is viaduct running"
        )
    assert run("kill", "0-1", "-s", path).returncode == 1
    assert run("explain", "-s", path, "127.0.0.1:80").returncode == 3
    assert "unix:/run/viaduct/admin.sock" in run("status").stderr
    odd = lab.origin(lambda connection: (connection.read_head(), connection.send(b"SSH-2.0-x\r\n")))
    result = run("status", "-s", "127.0.0.1:%s" % odd.url().split(":")[2].rstrip("/"))
    assert (result.returncode, "no whole answer" in result.stderr) == (1, True)


def test_a_reader_that_is_gone(site):
    with open("/dev/full", "w", encoding="ascii") as full:
        result = subprocess.run(
            [viaduct_harness.binary(), "status", "-s", site.socket], stdout=full, stderr=subprocess.PIPE,
            check=False,
        )  # fmt: skip
    assert result.returncode == 1


# ---- Under load ----


def test_asked_by_many_while_it_reloads(lab, tmp_path):
    """Threads that ask all routes, connections that come and go, and reloads in between."""
    site = Site(lab, tmp_path, RULES, "server.workers=2")
    origin = lab.origin()
    paths = ["/healthz", "/status", "/rules", "/explain?target=127.0.0.1:80", "/"]
    faults = []
    done = threading.Event()

    def ask(number):
        count = 0
        try:
            while not done.is_set():
                peer = wire.connect(site.socket)
                path = paths[(number + count) % len(paths)]
                if count % 7 == 5:
                    peer.send(b"junk\r\n\r\n")
                    peer.read_to_end()
                    peer.close()
                    count += 1
                    continue
                peer.request("GET", path, [("Host", "localhost")])
                if count % 7 == 3:
                    peer.reset()
                else:
                    answer = peer.read_response()
                    # More than four explanations at once are asked to come again.
                    assert answer.status == 200 or (
                        answer.status == 503 and "explain" in path and answer.has("Retry-After")
                    )
                    peer.close()
                count += 1
        except (AssertionError, OSError, EOFError) as fault:
            faults.append(fault)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    client = lab.client(site.proxy)
    for generation in range(2, 22):
        site.write(RULES + f"more{generation} = deny port {generation}\n")
        assert site.json("/reload", "POST")["generation"] == generation
        assert client.get(origin.url()).status == 200
    done.set()
    for thread in threads:
        thread.join(DEADLINE)
    assert not faults, faults[0]
    wait_until(lambda: site.hits()["local"] == 20, "20 hits through 20 reloads")
    assert "[warn]" not in site.proxy.stderr()
