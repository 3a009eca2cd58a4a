# SPDX-License-Identifier: MIT
"""Credentials: who is asked for them, who gets in, what wrong ones cost, and what real programs make
of it."""

import base64
import contextlib
import ctypes
import json
import os
import re
import select
import signal
import socket
import subprocess
import threading
import time

import pytest
import requests

import programs
import viaduct_harness
import wire
from wire import request_bytes, wait_until

# The password is "secret". The slow one takes some 50 ms to check, more with a sanitizer; a check
# takes ten times as long as nothing else here does.
QUICK = "$2y$04$Bnys2ozyscDjHYw.yV4FA.8NAi0FdPMw70nHhjD1bp2eWHc8WJnZy"
SLOW = "$2y$10$Np2OVVT9.GznroswsIknT.gGtk1ztojqL9T2yEENGaase/9ZwWLM2"
# And here it is "other".
OTHER = "$2y$04$o9FcnAPA9Um02s6pVEHbyO8ClngpbxHNHmz5n4z9eDrRf6voF6rmW"

STAFF = "staff = allow from loopback user * to any\n"


def basic(user, password):
    pair = f"{user}:{password}".encode()
    return [("Proxy-Authorization", "Basic " + base64.b64encode(pair).decode())]


RIGHT, WRONG = basic("alice", "secret"), basic("alice", "wrong")


@pytest.fixture
def users(tmp_path):
    """users(text): the users file, written whole or not at all."""
    path = tmp_path / "users"

    def put(text):
        new = tmp_path / "users.new"
        new.write_text(text)
        os.replace(new, path)

    put.path = path
    put(f"alice:{QUICK}\nbob:{OTHER}\n")
    return put


@pytest.fixture
def start(lab, users):
    """start(rules, option...): a daemon with these rules and the users file."""

    def make(rules=STAFF, *options, workers=1, **how):
        config = f"[auth]\nusers = {users.path}\n[access]\n{rules}"
        return lab.fresh(f"server.workers={workers}", *options, config=config, **how)

    return make


def failures(proxy, count=0):
    """The lines about wrong passwords, once there are so many; to see that there are none, wait for
    the request's own line first."""

    def is_failure(line):
        return line.get("event") == "auth" and "client" in line

    if count:
        proxy.wait_for_log(is_failure, count=count)
    return proxy.find_lines(is_failure)


def poll_status(lab, proxy, url, fields, status):
    client = lab.client(proxy)
    wait_until(lambda: client.get(url, fields).status == status, f"status {status}")


# --- Who is asked, and who gets in --------------------------------------------------------------------


def test_asks_and_lets_in_on_the_same_connection(lab, start):
    proxy, origin = start(), lab.origin()
    client = lab.client(proxy)
    response = client.get(origin.url("/1"))
    assert response.status == 407
    assert response.reason == "Proxy Authentication Required by rule staff"
    assert response.get("Proxy-Authenticate") == 'Basic realm="viaduct", charset="UTF-8"'
    assert not response.has("Connection")
    assert b"staff" in response.body
    assert client.get(origin.url("/2"), RIGHT).status == 200
    assert client.get(origin.url("/3"), RIGHT).status == 200
    assert client.get(origin.url("/4")).status == 407, "who the client was counts for one request"
    assert [request.target for request in origin.requests] == ["/2", "/3"]
    line = proxy.wait_request(origin.url("/1"))
    assert (line["user"], line["status"], line["rule"], line["end"]) == (
        "-", "407", "staff", "denied",
    )
    line = proxy.wait_request(origin.url("/2"))
    assert (line["user"], line["status"], line["rule"]) == ("alice", "200", "staff")
    assert not failures(proxy)


def test_realm_is_shown_quoted(lab, start):
    proxy = start(STAFF, 'auth.realm=The "big" house')
    response = lab.client(proxy).get("http://127.0.0.1:1/")
    assert response.get("Proxy-Authenticate") == 'Basic realm="The \\"big\\" house", charset="UTF-8"'


@pytest.mark.parametrize("fields", [
    basic("alice", "wrong"), basic("alice", ""), basic("nobody", "secret"), basic("Alice", "secret"),
    basic("bob", "secret"), basic("alice", "secret "), basic("alice", "secret\xe9"),
])
def test_wrong_credentials_are_asked_for_again(lab, start, fields):
    proxy, origin = start(), lab.origin()
    client = lab.client(proxy)
    response = client.get(origin.url(), fields)
    assert response.status == 407
    assert b"the user name or the password is wrong" in response.body
    assert client.get(origin.url(), RIGHT).status == 200
    assert len(origin.requests) == 1
    proxy.wait_for_log(status="200")
    assert len(failures(proxy, 1)) == 1


@pytest.mark.parametrize("fields", [
    [], [("Proxy-Authorization", "Bearer abc")], [("Proxy-Authorization", "Basic !!!")],
    [("Proxy-Authorization", "Basic")], [("Proxy-Authorization", "")], RIGHT + RIGHT, RIGHT + WRONG,
    [("Authorization", RIGHT[0][1])], basic("alice", "secret\x00"), basic("", "secret"),
])
def test_what_is_no_credentials_is_asked_for_and_no_failure(lab, start, fields):
    proxy, origin = start(), lab.origin()
    assert lab.client(proxy).get(origin.url("/x"), fields).status == 407
    assert proxy.wait_request(origin.url("/x"))["user"] == "-"
    assert not origin.requests
    assert not failures(proxy)


@pytest.mark.parametrize("name, password", [("alice", "secret"), ("Jos\xe9", "secret"), ("a b", "secret")])
def test_names_of_any_letters(lab, start, users, name, password):
    users(f"{name}:{QUICK}\n")
    proxy, origin = start(), lab.origin()
    assert lab.client(proxy).get(origin.url(), basic(name, password)).status == 200
    assert proxy.wait_request(origin.url())["user"] == name


def test_every_kind_of_hash(lab, start, users):
    users("\n".join([
        f"bcrypt:{QUICK}",
        "bcrypt-b:$2b$04$g.e2XEWe/pyF0W0MAsezIO30I0iMzkd05uKuqc9shsP6KMZVvxkb2",
        "yescrypt:$y$j75$ZXBbXOUvEQRU2yi5tNxuZ0$uSiGOTXGicN/z.EoGxFWAHHPRL7yKL.RrYExnndoRaC",
        "sha256:$5$UotDGDvyA9L0K81U$sp1XFPiYGUIrnfb0hQheusC49f82SG1229y.3ndKTP4",
        "sha512:$6$65l1yTx8jYWvda3S$DEnbFd9vydwCRMIuSecyUsp4zV1VIC222rgG8QY5U.xNUWk98AnaB/KkVv28OYj"
        "VhJVFa.5o5KD1A5izKz.Mk1",
    ]))
    proxy, origin = start(), lab.origin()
    client = lab.client(proxy)
    for name in ["bcrypt", "bcrypt-b", "yescrypt", "sha256", "sha512"]:
        assert client.get(origin.url(), basic(name, "secreT")).status == 407, name
        assert client.get(origin.url(), basic(name, "secret")).status == 200, name


def test_credentials_are_never_forwarded(lab, start):
    proxy, origin = start("open = allow from loopback to any\n"), lab.origin()
    client = lab.client(proxy)
    assert client.get(origin.url(), RIGHT + [("Connection", "Proxy-Authorization")]).status == 200
    assert client.get(origin.url(), WRONG).status == 200
    assert client.get(origin.url(), [("proxy-authorization", "Bearer x")]).status == 200
    assert not any(request.has("Proxy-Authorization") for request in origin.requests)


def test_credentials_that_no_line_asks_for_are_not_checked(lab, start):
    proxy, origin = start("open = allow from loopback to any\n" + STAFF, "auth.failures=1/h"), lab.origin()
    client = lab.client(proxy)
    for number in range(5):
        assert client.get(origin.url(f"/{number}"), WRONG).status == 200
    assert proxy.wait_request(origin.url("/4"))["user"] == "-"
    assert not failures(proxy)
    assert "viaduct-auth" not in proxy.threads().values()


class Memory:
    """What a daemon has in its memory that can be written."""

    def __init__(self, proxy):
        self.path = f"/proc/{proxy.pid}/"

    def holds(self, *needles):
        with open(self.path + "maps", encoding="ascii") as maps, open(self.path + "mem", "rb") as mem:
            for line in maps:
                begin, end = (int(word, 16) for word in line.split()[0].split("-"))
                if " rw" not in line or "[v" in line or end - begin > 1 << 28:  # shadow memory
                    continue
                mem.seek(begin)
                try:
                    part = mem.read(end - begin)
                except OSError:  # it is gone since
                    continue
                if any(needle in part for needle in needles):
                    return True
        return False


MARK = "Proxy-Authorisation-of-nobody"


def send_whole(client, data):
    client.send(data)


def send_in_two(client, data):
    """The second part finds no room beside the first."""
    client.send_pieces(data[:250], data[250:])


def send_trickling(client, data):
    client.trickle(data[:250])
    client.send(data[250:])


def send_behind_another(client, data):
    client.send(request_bytes("GET", "http://127.0.0.1:9/") + data)
    assert client.read_response().status == 407


@pytest.mark.parametrize("release", [False, True], ids=["instrumented", "release"])
@pytest.mark.parametrize("send", [send_whole, send_in_two, send_trickling, send_behind_another])
@pytest.mark.parametrize("password", ["secret", "Ux9mistaken"])
def test_what_was_shown_does_not_stay_in_memory(lab, start, send, password, release):
    """Neither where heads are read nor where they are kept, and not while the origin answers."""
    origin = lab.origin(lambda peer: (peer.read_request(), peer.read_to_end()))
    proxy = start(STAFF, release=release)
    memory = Memory(proxy)
    shown = basic("alice", password)
    needles = shown[0][1].split()[1].encode(), f"alice:{password}".encode()
    client = lab.client(proxy)
    client.get("http://127.0.0.1:9/", [("X-Mark", MARK)])
    assert memory.holds(MARK.encode()), "what is shown otherwise"
    send(client, request_bytes("GET", origin.url(), shown + [("X-Pad", 2000 * "x")]))
    if password == "secret":
        origin.wait_requests(1)
    else:
        assert client.read_response().status == 407
    wait_until(lambda: not memory.holds(*needles), "it to be forgotten", 5 * wire.SLOWNESS)


class Unread:
    """A head that is not read whole, or not at all, with credentials in it."""

    def __init__(self, lab, proxy):
        self.lab = lab
        self.memory = Memory(proxy)
        self.client = lab.client(proxy)
        (shown,) = self.shown = basic("alice", "Ux9mistaken")
        self.needles = shown[1].split()[1].encode(), b"alice:Ux9mistaken"

    def request(self, before=(), behind=(), **how):
        return request_bytes("GET", "http://127.0.0.1:9/", [*before, *self.shown, *behind], **how)

    def wait_held(self):
        """Else a test of its being forgotten would show nothing."""
        wait_until(lambda: self.memory.holds(*self.needles), "the daemon to have read it")

    def answered(self, *statuses):
        for status in statuses:
            assert self.client.read_response().status == status

    def cut_off(self):
        self.client.send(self.request()[:-2])
        self.wait_held()
        self.client.close()

    def timed_out(self):
        self.client.send(self.request()[:-2])
        self.answered(408)

    def too_large(self):
        self.client.send(self.request(behind=[("X-Pad", 70000 * "x")]))
        self.answered(431)

    def too_many_fields(self):
        self.client.send(self.request(before=300 * [("X", "")]))
        self.answered(431)

    def malformed_before(self):
        self.client.send(self.request(before=[("X Pad", "x")]))
        self.answered(400)

    def malformed_behind(self):
        self.client.send(self.request(behind=[("X Pad", "x")]))
        self.answered(400)

    def malformed_request_line(self):
        self.client.send(b"GET " + self.request())
        self.answered(400)

    def behind_the_last(self):
        last = request_bytes("GET", "http://127.0.0.1:9/", [("Connection", "close")])
        self.client.send(last + self.request())
        self.answered(407)

    def behind_a_bad_one(self):
        self.client.send(b"GET\r\n\r\n" + self.request())
        self.answered(400)

    def behind_content(self):
        self.client.send(request_bytes("POST", "http://127.0.0.1:9/", body=b"content") + self.request())
        self.answered(407, 407)

    def ahead(self, first_bytes):
        """While another request is answered; the second part finds no room beside the first."""
        origin = self.lab.gated_origin()
        data = self.request(behind=[("X-Pad", 9000 * "x")])
        self.client.send(request_bytes("GET", origin.url(), RIGHT) + data[:first_bytes])
        origin.wait_requests(1)
        self.wait_held()
        self.client.send(data[first_bytes:])
        return origin

    def ahead_in_parts(self):
        self.ahead(3000).gate.set()
        self.answered(200, 407)

    def ahead_and_never_taken(self):
        self.ahead(3000)
        self.client.reset()


UNREAD = [
    Unread.cut_off, Unread.timed_out, Unread.too_large, Unread.too_many_fields,
    Unread.malformed_before, Unread.malformed_behind, Unread.malformed_request_line,
    Unread.behind_the_last, Unread.behind_a_bad_one, Unread.behind_content,
    Unread.ahead_in_parts, Unread.ahead_and_never_taken,
]


@pytest.mark.parametrize("release", [False, True], ids=["instrumented", "release"])
@pytest.mark.parametrize("how", UNREAD, ids=lambda how: how.__name__)
def test_what_nobody_read_does_not_stay_in_memory(lab, start, how, release):
    header = f"timeouts.header={2 if how is Unread.timed_out else 120}s"
    # As the build links it: a loader that binds late keeps vector registers on the stack.
    unread = Unread(lab, start(STAFF, header, release=release, env={"LD_BIND_NOW": "1"}))
    how(unread)
    wait_until(lambda: not unread.memory.holds(*unread.needles), "it to be forgotten", 5 * wire.SLOWNESS)


def test_somebody_else_is_denied_and_not_asked_again(lab, start):
    proxy = start("bob = allow from loopback user bob to any\n")
    origin = lab.origin()
    client = lab.client(proxy)
    assert client.get(origin.url("/1")).status == 407
    response = client.get(origin.url("/2"), RIGHT)
    assert (response.status, response.reason) == (403, "Denied by rule builtin:default")
    assert proxy.wait_request(origin.url("/2"))["user"] == "alice"
    assert client.get(origin.url("/3"), basic("bob", "other")).status == 200


def test_user_may_be_denied(lab, start):
    proxy = start("no-alice = deny user alice\n" + STAFF)
    origin = lab.origin()
    client = lab.client(proxy)
    assert client.get(origin.url()).status == 407
    response = client.get(origin.url(), RIGHT)
    assert (response.status, response.reason) == (403, "Denied by rule no-alice")
    assert client.get(origin.url(), basic("bob", "other")).status == 200


# --- After the second walk ----------------------------------------------------------------------------


@pytest.fixture
def hosts(tmp_path):
    """Names that are known without DNS."""
    path = tmp_path / "hosts"
    path.write_text("127.0.0.1 here.test both.test\n10.99.0.1 both.test there.test\n127.0.0.2 here.test\n")
    return f"dns.hosts={path}"


# The first line is open until the addresses are known, so nobody is asked before.
ADDRESSES = "known = allow from loopback to 10.98.0.0/16\n" + STAFF


def test_asks_after_the_addresses_are_known(lab, start, hosts):
    proxy, origin = start(ADDRESSES, hosts), lab.origin()
    client = lab.client(proxy)
    url = f"http://here.test:{origin.port}"
    response = client.get(f"{url}/1")
    assert (response.status, response.reason) == (407, "Proxy Authentication Required by rule staff")
    assert client.get(f"{url}/2", WRONG).status == 407
    assert client.get(f"{url}/3", RIGHT).status == 200
    assert client.get(f"{url}/4", RIGHT).status == 200
    assert proxy.wait_request(f"{url}/1")["dns_ms"] == "0"
    line = proxy.wait_request(f"{url}/3")
    assert (line["user"], line["rule"], line["upstream"]) == ("alice", "staff", f"127.0.0.1:{origin.port}")


def test_asks_nobody_where_an_address_is_allowed(lab, start, hosts):
    proxy = start("known = allow from loopback to 127.0.0.0/8\n" + STAFF, hosts)
    origin = lab.origin()
    url = f"http://both.test:{origin.port}/"
    assert lab.client(proxy).get(url, WRONG).status == 200
    assert proxy.wait_request(url)["user"] == "-"
    assert not failures(proxy)


def test_valid_user_is_judged_by_every_address(lab, start, hosts):
    """Asked for one address, denied on all."""
    proxy = start(
        "known = allow from loopback to 10.98.0.0/16\n"
        "staff = allow from loopback user bob to 127.0.0.0/8\n", hosts
    )
    client = lab.client(proxy)
    url = "http://both.test:1/"
    assert client.get(url).status == 407
    response = client.get(url, RIGHT)
    assert (response.status, response.reason) == (403, "Denied by rule builtin:default")


def test_unknown_name_with_credentials_names_no_rule(lab, start, hosts):
    proxy = start(STAFF, hosts, "dns.servers=127.0.0.1:1")
    url = "http://nowhere.test/"
    assert lab.client(proxy).get(url, RIGHT).status in (502, 504)
    line = proxy.wait_request(url)
    assert (line["user"], line["rule"]) == ("alice", "-")


# --- The connection -----------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 1000, 65536])
def test_small_body_is_read_and_the_connection_stays(lab, start, size):
    proxy, origin = start(), lab.origin()
    client = lab.client(proxy)
    for _ in range(3):
        client.request("POST", origin.url(), body=b"x" * size)
        response = client.read_response()
        assert response.status == 407
        assert not response.has("Connection")
    client.request("POST", origin.url(), RIGHT, body=b"y" * size)
    assert client.read_response().status == 200
    assert [request.body for request in origin.requests] == [b"y" * size]


def test_small_body_may_come_after_the_answer(lab, start):
    proxy, origin = start(), lab.origin()
    client = lab.client(proxy)
    client.request("POST", origin.url("/1"), [("Content-Length", "10")])
    assert client.read_response().status == 407
    client.send(b"0123456789" + wire.request_bytes("GET", origin.url("/2"), RIGHT))
    assert client.read_response().status == 200
    assert [request.target for request in origin.requests] == ["/2"]


@pytest.mark.parametrize("fields", [
    [("Content-Length", "65537")], [("Transfer-Encoding", "chunked")],
    [("Content-Length", "10"), ("Expect", "100-continue")],
])
def test_large_or_unsure_body_ends_the_connection(lab, start, fields):
    proxy = start()
    client = lab.client(proxy)
    client.request("POST", "http://127.0.0.1:1/", fields)
    response = client.read_response()
    assert (response.status, response.get("Connection")) == (407, "close")
    client.expect_end()


def test_connect_is_asked_and_then_tunnelled_on_one_connection(lab, start):
    proxy, origin = start(), lab.origin()
    client = lab.client(proxy)
    client.request("CONNECT", origin.authority)
    assert client.read_response(to="CONNECT").status == 407
    client.request("CONNECT", origin.authority, WRONG)
    assert client.read_response(to="CONNECT").status == 407
    client.request("CONNECT", origin.authority, RIGHT)
    assert client.read_response(to="CONNECT").status == 200
    assert client.get("/through").status == 200
    client.close()
    line = proxy.wait_for_log(method="CONNECT", status="200")
    assert (line["user"], line["rule"]) == ("alice", "staff")


def test_http_1_0_client_is_asked_and_closed(lab, start):
    proxy = start()
    client = lab.client(proxy)
    client.request("GET", "http://127.0.0.1:1/", version="1.0")
    response = client.read_response()
    assert (response.status, response.get("Connection")) == (407, "close")
    client.expect_end()


def test_pipelined_requests_are_answered_in_order(lab, start, users):
    """The second waits for a password to be checked, the third needs none checked any more."""
    users(f"alice:{SLOW}\n")
    proxy, origin = start(), lab.origin()
    client = lab.client(proxy)
    client.send(
        wire.request_bytes("GET", origin.url("/1"))
        + wire.request_bytes("GET", origin.url("/2"), RIGHT)
        + wire.request_bytes("GET", origin.url("/3"), RIGHT)
        + wire.request_bytes("GET", origin.url("/4"), WRONG)
        + wire.request_bytes("POST", origin.url("/5"), WRONG, b"body")
        + wire.request_bytes("GET", origin.url("/6"), RIGHT)
    )
    assert [client.read_response().status for _ in range(6)] == [407, 200, 200, 407, 407, 200]
    assert [request.target for request in origin.requests] == ["/2", "/3", "/6"]


def test_body_waits_for_the_check(lab, start, users):
    users(f"alice:{SLOW}\n")
    proxy, origin = start(), lab.origin()
    body = os.urandom(1_000_000)
    client = lab.client(proxy)
    client.request("PUT", origin.url(), RIGHT, body=body)
    assert client.read_response().status == 200
    assert origin.requests[0].body == body


def test_client_may_leave_while_its_password_is_checked(lab, start, users):
    users(f"alice:{SLOW}\n")
    proxy = start()
    for number in range(20):
        client = lab.client(proxy)
        client.request("GET", f"http://127.0.0.1:1/{number}", basic("alice", f"wrong{number}"))
        if number % 2:
            client.reset()
        else:
            client.close()
    for number in range(20):
        line = proxy.wait_request(f"http://127.0.0.1:1/{number}")
        assert line["end"] in ("client-closed", "denied", "error:auth-failures"), line
    assert proxy.find_lines(end="client-closed")


# --- Wrong ones ---------------------------------------------------------------------------------------


def test_too_many_failures_shut_an_address_out(lab, start):
    proxy, origin = start(STAFF, "auth.failures=3/h"), lab.origin()
    client = lab.client(proxy)
    for number in range(3):
        assert client.get(origin.url(), basic("alice", f"wrong{number}")).status == 407
    response = client.get(origin.url("/429"), basic("alice", "wrong"))
    assert response.status == 429
    assert 3500 < int(response.get("Retry-After")) <= 3600
    line = proxy.wait_request(origin.url("/429"))
    assert (line["rule"], line["end"]) == ("limit:auth_failures", "error:auth-failures")
    assert client.get(origin.url(), RIGHT).status == 429, "the right one comes too late"
    assert client.get(origin.url()).status == 407, "who shows nothing is only asked"
    assert len(failures(proxy, 3)) == 3
    other = socket.create_connection(proxy.address, source_address=("127.0.0.9", 0))
    assert wire.Peer(other).get(origin.url(), RIGHT).status == 200
    other.close()


def test_failures_of_all_workers_count(lab, start):
    proxy = start(STAFF, "auth.failures=5/h", workers=4)
    statuses = [
        lab.client(proxy).get("http://127.0.0.1:1/", basic("alice", f"wrong{number}")).status
        for number in range(20)
    ]
    assert statuses == [407] * 5 + [429] * 15


def test_same_wrong_password_counts_and_costs_no_second_hash(lab, start, users):
    users(f"alice:{SLOW}\n")
    proxy = start(STAFF, "auth.failures=1000/h")
    client = lab.client(proxy)
    url = "http://127.0.0.1:1/"
    assert client.get(url, WRONG).status == 407
    before = proxy.cpu_seconds()
    assert all(client.get(url, WRONG).status == 407 for _ in range(100))
    # A hundred hashes would take five seconds.
    assert proxy.cpu_seconds() - before < 2 * wire.SLOWNESS
    assert len(failures(proxy, 101)) == 101


def test_log_line_can_be_read_by_a_filter(lab, start):
    """As in fail2ban's failregex. What the client chose cannot make another line, or another field."""
    proxy = start()
    client = lab.client(proxy)
    for name in ["alice", "nobody", 'x" client=203.0.113.7 "', "x client=203.0.113.7", "x\u2028y"]:
        assert client.get("http://127.0.0.1:1/", basic(name, "hunter2")).status == 407
    found = [
        re.search(r"\bevent=auth level=warning client=(\S+) user=(\S+|\".*\") msg=", line["raw"])
        for line in failures(proxy, 5)
    ]
    assert [match and match.group(1) for match in found] == ["127.0.0.1"] * 5
    assert [line["msg"] for line in failures(proxy)] == ["wrong password"] + ["no such user"] * 4
    assert failures(proxy)[2]["user"] == 'x" client=203.0.113.7 "'
    assert not any("hunter2" in line["raw"] for line in proxy.lines)


def test_unknown_users_take_as_long_as_known_ones(lab, start, users):
    """A dear password and a cheap one: names that do not exist are either, each always the same."""
    users(f"alice:{SLOW}\nbob:{QUICK}\n")
    proxy = start(STAFF, "auth.failures=1000/h")
    client = lab.client(proxy)

    def least_ms(name):
        times = []
        for number in range(3):
            url = f"http://127.0.0.1:1/{name}{number}"
            assert client.get(url, basic(name, f"wrong{number}")).status == 407
            times.append(int(proxy.wait_request(url)["total_ms"]))
        return min(times)

    dear, cheap = least_ms("alice"), least_ms("bob")
    assert dear > 4 * cheap, "this shows nothing"
    looks_dear = [least_ms(f"nobody-{number}") > dear / 2 for number in range(12)]
    assert True in looks_dear and False in looks_dear, looks_dear


# --- The queue ----------------------------------------------------------------------------------------


def ask_at_once(lab, proxy, requests_):
    """One connection for each; then all the responses."""
    clients = [lab.client(proxy) for _ in requests_]
    for client, (url, fields) in zip(clients, requests_):
        client.request("GET", url, fields)
    return clients


def test_same_credentials_are_checked_once(lab, start, users):
    """More clients than the queue has places, and the CPU of few hashes."""
    users(f"alice:{SLOW}\n")
    proxy, origin = start(workers=4), lab.origin()
    clients = ask_at_once(lab, proxy, [(origin.url(), RIGHT)] * 400)
    assert {client.read_response().status for client in clients} == {200}


def test_full_queue_is_503(lab, start, users):
    users(f"alice:{SLOW}\n")
    proxy = start(STAFF, "auth.failures=10000/s")
    wanted = [(f"http://127.0.0.1:1/{n}", basic("alice", f"wrong{n}")) for n in range(330)]
    clients = ask_at_once(lab, proxy, wanted)
    line = proxy.wait_for_log(status="503")
    assert (line["rule"], line["end"]) == ("staff", "error:auth-busy")
    number = int(line["target"].rpartition("/")[2])
    response = clients[number].read_response()
    assert (response.status, response.get("Retry-After")) == (503, "5")
    refused = len(proxy.find_lines(status="503"))
    assert refused <= 330 - 256
    # Those that leave make room: their hashes would take half a minute.
    for client in clients:
        client.close()
    poll_status(lab, proxy, "http://127.0.0.1:1/", RIGHT, 502)


def test_threads_are_few_and_come_when_wanted(lab, start):
    proxy = start(workers=2)
    assert "viaduct-auth" not in proxy.threads().values()
    assert lab.client(proxy).get("http://127.0.0.1:1/", RIGHT).status == 502
    names = list(proxy.threads().values())
    assert 1 <= names.count("viaduct-auth") <= max(len(os.sched_getaffinity(0)) // 2, 1)
    for thread, name in proxy.threads().items():
        wanted = os.SCHED_BATCH if name == "viaduct-auth" else os.SCHED_OTHER
        assert os.sched_getscheduler(thread) == wanted, name


def test_users_file_is_read_by_a_thread_that_gives_way_to_nobody(lab, start, users):
    """All who show credentials wait for it."""
    proxy = start(STAFF, "auth.failures=10000/s", workers=2)
    assert "viaduct-users" not in proxy.threads().values()
    users(f"carl:{QUICK}\n")
    poll_status(lab, proxy, "http://127.0.0.1:1/", basic("carl", "secret"), 502)
    threads = {name: thread for thread, name in proxy.threads().items()}
    reader = threads["viaduct-users"]
    assert os.sched_getscheduler(reader) == os.SCHED_OTHER
    assert os.getpriority(os.PRIO_PROCESS, reader) == os.getpriority(os.PRIO_PROCESS, proxy.pid)


def test_ends_at_once_while_passwords_are_checked(lab, start, users):
    users(f"alice:{SLOW}\n")
    proxy = start(STAFF, "auth.failures=10000/s", "server.grace=0s")
    clients = ask_at_once(
        lab, proxy, [("http://127.0.0.1:1/", basic("alice", f"wrong{n}")) for n in range(50)]
    )
    wait_until(lambda: "viaduct-auth" in proxy.threads().values(), "a check to run")
    proxy.signal(signal.SIGTERM)
    assert proxy.wait_exit() == 0
    for client in clients:
        client.close()


# --- The users file -----------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [1, 3])
def test_users_file_is_followed(lab, start, users, workers):
    proxy, origin = start(STAFF, "auth.failures=10000/s", workers=workers), lab.origin()
    for _ in range(10):
        assert lab.client(proxy).get(origin.url(), RIGHT).status == 200
    assert lab.client(proxy).get(origin.url(), basic("carl", "secret")).status == 407
    users(f"carl:{QUICK}\nalice:{OTHER}\n")
    poll_status(lab, proxy, origin.url(), basic("carl", "secret"), 200)
    for _ in range(10):
        assert lab.client(proxy).get(origin.url(), RIGHT).status == 407
        assert lab.client(proxy).get(origin.url(), basic("bob", "other")).status == 407
    assert proxy.wait_for_log(event="users", level="notice")["msg"].endswith("has changed: 2 users")


def test_the_daemon_explains_by_the_users_that_it_follows(lab, start, users, tmp_path):
    """Be it that nobody has shown credentials since the file changed, or that it is read just then."""
    socket_path = tmp_path / "admin.sock"
    proxy = start(STAFF, f"admin.address=unix:{socket_path}")

    def verdict(user):
        result = subprocess.run(
            [viaduct_harness.binary(), "explain", "-s", f"unix:{socket_path}", "--json", "--user", user,
             "127.0.0.1:9"], capture_output=True, text=True, check=False, timeout=60,
        )
        return json.loads(result.stdout)["verdict"]

    assert (verdict("alice"), verdict("carl")) == ("allow", "challenge")
    users(f"carl:{QUICK}\n")
    wait_until(lambda: verdict("carl") == "allow", "the new user to be known")
    assert verdict("alice") == "challenge"
    users("".join(f"user{n}:{QUICK}\n" for n in range(MANY // 10)))
    wait_until(lambda: verdict("user7") == "allow", "the new users to be known")
    users("carl:hunter2\n")

    def is_refused():
        assert verdict("user7") == "allow", "those read before stay"
        return proxy.find_lines(
            lambda line: "cannot be used" in line["msg"], event="users", level="warning"
        )

    wait_until(is_refused, "the file to be refused")
    assert verdict("user7") == "allow", "those read before stay"


PTRACE_DETACH, PTRACE_SEIZE, PTRACE_INTERRUPT, WALL = 17, 0x4206, 0x4207, 0x40000000


@contextlib.contextmanager
def stopped(thread):
    """One thread that does not run, as where a file system does not answer it, while the others do."""
    libc = ctypes.CDLL(None, use_errno=True)

    def trace(what):
        return libc.ptrace(ctypes.c_long(what), ctypes.c_long(thread), None, None)

    if trace(PTRACE_SEIZE) != 0:
        pytest.skip(f"threads may not be traced here: {os.strerror(ctypes.get_errno())}")
    try:
        assert trace(PTRACE_INTERRUPT) == 0
        os.waitpid(thread, WALL)
        yield
    finally:
        assert trace(PTRACE_DETACH) == 0


def test_explain_does_not_wait_for_good_for_the_users_file(lab, start, users, tmp_path):
    """There are four places for such questions."""
    socket_path = tmp_path / "admin.sock"
    proxy = start(STAFF, f"admin.address=unix:{socket_path}", "auth.failures=10000/s")
    command = [viaduct_harness.binary(), "explain", "-s", f"unix:{socket_path}", "--user", "dora", "127.0.0.1:9"]

    def ask():
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def are_refused():
        """All places at once. What the last look has found may count still."""
        questions = [ask() for _ in range(4)]
        errors = [question.communicate(timeout=wire.DEADLINE)[1] for question in questions]
        return errors == [f"viaduct: the users file is still being read: {users.path}\n"] * 4

    users(f"carl:{QUICK}\n")
    poll_status(lab, proxy, "http://127.0.0.1:1/", basic("carl", "secret"), 502)
    with stopped(next(tid for tid, name in proxy.threads().items() if name == "viaduct-users")):
        users(f"dora:{QUICK}\n")
        wait_until(are_refused, "the questions to be refused")
    wait_until(lambda: ask().wait() == 0, "the file to be read")


MANY = 300_000


def test_nobody_waits_for_a_large_users_file(lab, start, users):
    """It is read aside: others of the same worker are served meanwhile, and whoever shows credentials
    goes by what is read."""
    free, guarded = lab.origin(), lab.origin()
    proxy = start(f"free = allow from loopback to any port {free.port}\n" + STAFF)
    other, alice = lab.client(proxy), lab.client(proxy)
    assert alice.get(guarded.url(), RIGHT).status == 200
    users("".join(f"user{n}:{QUICK}\n" for n in range(MANY)))
    changed = time.monotonic()
    while time.monotonic() < changed + 1.2:  # nobody shows credentials: nobody looks at it
        assert other.get(free.url()).status == 200
    alice.request("GET", guarded.url(), RIGHT)
    served = 0
    while not select.select([alice.sock], [], [], 0)[0]:
        assert other.get(free.url()).status == 200
        served += 1
    assert alice.read_response().status == 407
    assert proxy.wait_for_log(event="users", level="notice")["msg"].endswith(f": {MANY} users")
    assert served >= 5


@pytest.mark.notsan
def test_former_users_take_no_memory(lab, start, users):
    """Once every worker has turned to others."""
    proxy, origin = start(STAFF, workers=2, release=True), lab.origin()
    clients = [lab.client(proxy) for _ in range(8)]
    few = f"alice:{QUICK}\n"

    def change(text):
        count = len(proxy.find_lines(event="users")) + 1
        users(text)

        def is_read():
            assert all(client.get(origin.url(), RIGHT).status == 200 for client in clients)
            return len(proxy.find_lines(event="users")) == count

        wait_until(is_read, "the file to be read")

    change(few + "bob:" + OTHER)
    small = proxy.resident_bytes()
    change(few + "".join(f"user{n}:{QUICK}\n" for n in range(MANY)))
    large = proxy.resident_bytes() - small
    change(few)

    def is_small():
        assert all(client.get(origin.url(), RIGHT).status == 200 for client in clients)
        return proxy.resident_bytes() - small < large / 4

    wait_until(is_small, f"the {large >> 20} MiB of {MANY} users to be given back")


@pytest.mark.parametrize("workers", [1, 3])
def test_struck_user_is_let_in_for_a_second_at_most(lab, start, users, workers):
    """And for no longer while others' passwords are checked."""
    proxy, origin = start(STAFF, "auth.failures=10000/s", workers=workers), lab.origin()
    clients = [lab.client(proxy) for _ in range(3 * workers)]
    for client in clients:
        assert client.get(origin.url(), RIGHT).status == 200
    users("".join(f"user{n}:{QUICK}\n" for n in range(MANY // 10)))
    changed = time.monotonic()
    last = 0
    done = set()
    for number in range(20):
        lab.client(proxy).request("GET", origin.url(), basic("alice", f"wrong{number}"))
    while len(done) < len(clients):
        for client in clients:
            asked = time.monotonic()
            assert asked < changed + wire.DEADLINE
            if client.get(origin.url(), RIGHT).status == 200:
                last = max(last, asked)
            else:
                done.add(client)
    assert changed < last < changed + 1.1 + 0.2 * wire.SLOWNESS


def test_bad_users_file_changes_nothing(lab, start, users):
    proxy, origin = start(STAFF, "auth.failures=10000/s"), lab.origin()
    users(f"carl:{QUICK}\nalice:hunter2\n")
    client = lab.client(proxy)

    def complaint():
        assert client.get(origin.url(), RIGHT).status == 200
        assert client.get(origin.url(), basic("carl", "secret")).status == 407
        return proxy.find_lines(event="users")

    lines = wait_until(complaint, "a line about the users file")
    assert lines[0]["msg"].startswith(f"{users.path}:2: user alice: plain text is too weak")
    assert not any("hunter2" in line["raw"] for line in proxy.lines)
    users(f"carl:{QUICK}\n")
    poll_status(lab, proxy, origin.url(), basic("carl", "secret"), 200)


def test_check_tells_all_that_is_wrong_with_it(tmp_path):
    (tmp_path / "users").write_text(
        f"alice:{QUICK}\nbob:$apr1$5Zn2NDCs$0kOoJcEuTBPyUO7tJDcYx0\ncarl:hunter2\n\nalice:{OTHER}\n"
    )
    config = tmp_path / "viaduct.ini"
    config.write_text(f"[auth]\nusers = users\n[access]\n{STAFF}")
    result = subprocess.run(
        [viaduct_harness.binary(), "check", "-c", config], capture_output=True, text=True, check=False
    )
    assert result.returncode == 78
    path = tmp_path / "users"
    assert [line for line in result.stdout.splitlines() if "warning" not in line] == [
        f"{path}:2: user bob: MD5 ($apr1$) is too weak; write it anew with htpasswd -B",
        f"{path}:3: user carl: plain text is too weak; write it anew with htpasswd -B",
        f"{path}:5: user alice: stands in line 1 already",
    ]


def test_missing_users_file_is_told_where_it_is_named(tmp_path):
    config = tmp_path / "viaduct.ini"
    config.write_text(f"[auth]\nusers = users\n[access]\n{STAFF}")
    result = subprocess.run(
        [viaduct_harness.binary(), "check", "-c", config], capture_output=True, text=True, check=False
    )
    assert result.returncode == 78
    assert f"{config}:2: auth.users = {tmp_path}/users: No such file" in result.stdout


# --- Real programs ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    return programs.Certificate(tmp_path_factory.mktemp("certificate"))


@pytest.fixture(scope="module")
def nginx(tmp_path_factory, certificate):
    server = programs.Nginx(tmp_path_factory.mktemp("nginx"), certificate)
    server.small = server.file("small", 1000)
    yield server
    server.close()


IDLE = "pool.idle=300ms"  # nginx keeps its connections; descriptors are counted in the end


def curl(proxy, certificate, *arguments):
    command = ["curl", "-q", "-sS", "--noproxy", "", "-x", proxy.url, "--cacert", certificate.path,
               "-o", "/dev/null", "-w", "%{http_code} %{http_connect} %{num_connects}"]
    return subprocess.run(
        [*command, *arguments], capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize("how", [[], ["--proxy-anyauth"], ["--proxy-basic"]], ids=["plain", "any", "basic"])
@pytest.mark.parametrize("kind", ["http", "post", "https", "tunnel"])
def test_curl(start, nginx, certificate, program, how, kind):
    program("curl")
    proxy = start(STAFF, IDLE)
    arguments = {
        "http": [nginx.url("/small")],
        "post": ["-d", "a=b", nginx.url("/small")],
        "https": [nginx.tls_url("/small")],
        "tunnel": ["-p", nginx.url("/small")],
    }[kind]
    code = "405" if kind == "post" else "200"
    tunnelled = "200" if kind in ("https", "tunnel") else "000"
    result = curl(proxy, certificate, *how, "-U", "alice:secret", *arguments)
    assert result.stdout == f"{code} {tunnelled} 1", result
    result = curl(proxy, certificate, *how, "-U", "alice:wrong", *arguments)
    assert "407" in result.stdout
    if tunnelled == "200":
        assert "407" in result.stderr
    assert "407" in curl(proxy, certificate, *how, *arguments).stdout


def test_python_requests(start, nginx, certificate):
    proxy = start(STAFF, IDLE)
    with requests.Session() as session:
        session.trust_env = False
        session.verify = str(certificate.path)
        session.proxies = {
            scheme: f"http://alice:secret@127.0.0.1:{proxy.port}" for scheme in ["http", "https"]
        }
        assert session.get(nginx.url("/small")).content == nginx.small
        assert session.get(nginx.tls_url("/small")).content == nginx.small
        session.proxies = {"http": proxy.url, "https": proxy.url}
        response = session.get(nginx.url("/small"))
        assert (response.status_code, response.reason) == (
            407, "Proxy Authentication Required by rule staff",
        )
        with pytest.raises(requests.exceptions.ProxyError, match="407 Proxy Authentication Required"):
            session.get(nginx.tls_url("/small"))


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_git(start, certificate, program, tmp_path, scheme):
    program("git")
    proxy = start(STAFF, IDLE)
    root = tmp_path / "git"
    work = tmp_path / "work"
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@example.com"]
    programs.run([*git, "init", "-q", work])
    (work / "file").write_text("content")
    programs.run([*git, "-C", work, "add", "."])
    programs.run([*git, "-C", work, "commit", "-q", "-m", "one"])
    programs.run([*git, "clone", "-q", "--bare", work, root / "repo.git"])
    server = programs.GitServer(root, certificate if scheme == "https" else None)
    try:
        env = {"GIT_SSL_CAINFO": str(certificate.path), "GIT_TERMINAL_PROMPT": "0"}
        url = f"{scheme}://localhost:{server.port}/repo.git"
        clone = ["git", "-c", f"http.proxy=http://alice:secret@127.0.0.1:{proxy.port}", "clone", "-q", url]
        programs.run([*clone, tmp_path / "clone"], env=env)
        assert (tmp_path / "clone" / "file").read_text() == "content"
        with pytest.raises(AssertionError, match="407"):
            programs.run([*clone[:2], f"http.proxy={proxy.url}", *clone[3:], tmp_path / "no"], env=env)
    finally:
        server.close()


@pytest.mark.parametrize("format_", ["json", "combined", "squid"])
def test_user_stands_in_every_log_format(lab, start, format_):
    proxy, origin = start(STAFF, f"log.access={format_}"), lab.origin()
    assert lab.client(proxy).get(origin.url("/x"), RIGHT).status == 200
    line = proxy.wait_for_log(lambda line: "/x" in line["raw"])
    if format_ == "json":
        assert json.loads(line["raw"])["user"] == "alice"
    else:
        assert re.search(r"[ -] ?alice ", line["raw"]), line


def test_many_clients_of_many_users(lab, start, users):
    """What one worker learns another knows, and nobody is taken for somebody else."""
    names = [f"user{number}" for number in range(8)]
    users("".join(f"{name}:{QUICK if n % 2 else OTHER}\n" for n, name in enumerate(names)))
    proxy, origin = start(STAFF, "auth.failures=10000/s", workers=3), lab.origin()
    faults = []

    def one(number):
        name = names[number % len(names)]
        password = "secret" if number % len(names) % 2 else "other"
        with socket.create_connection(proxy.address) as sock:
            client = wire.Peer(sock)
            for turn in range(20):
                url = origin.url(f"/{number}/{turn}")
                wrong = turn % 5 == 4
                status = client.get(url, basic(name, "bad" if wrong else password)).status
                if status != (407 if wrong else 200):
                    faults.append((url, status))

    threads = [threading.Thread(target=one, args=(number,)) for number in range(24)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not faults
    for number in range(24):
        line = proxy.wait_request(origin.url(f"/{number}/0"))
        assert line["user"] == names[number % len(names)]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_users_file_that_server_user_cannot_follow(users):
    """Root could read it once; who was struck from it later would stay."""
    users.path.chmod(0o600)
    options = [f"auth.users={users.path}", "server.user=nobody", "listen l.address=127.0.0.1:0"]
    words = [word for option in options for word in ("-o", option)]
    result = subprocess.run(
        [str(viaduct_harness.binary()), *words], capture_output=True, text=True, timeout=wire.DEADLINE
    )
    assert result.returncode == 78
    assert "Permission denied" in result.stderr and str(users.path) in result.stderr
    assert "all this was read as server.user, nobody" in result.stderr
