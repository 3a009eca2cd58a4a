# SPDX-License-Identifier: MIT
"""Response splitting by the origin: whatever it sends beside its one response never becomes another
client's, or the same client's next, and what can be read in two ways is not passed on at all.

Each row goes to an HTTP/1.1 and to an HTTP/1.0 client, which must get exactly the bytes expected;
the request after it must be served by another connection to the origin."""

import os
import threading
import time

import pytest

import wire
from hostile import BAD_CHUNKS, CODINGS, LENGTHS, NOT_IN_NAMES, NOT_IN_VALUES
from splits import Faults, exact
from wire import request_bytes

VERSIONS = ["1.1", "1.0"]
POISON = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison"
CLEAN = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nclean"


def response(status, fields, body=b"", version="1.1", close=False, via="1.1"):
    """What a client gets: fields, in front of those that the proxy adds."""
    ends = close or version == "1.0"
    return (
        b"HTTP/1.1 " + status + b"\r\n" + fields
        + (b"Connection: close\r\n" if ends else b"")
        + b"Date: <date>\r\nVia: %s <me>\r\n\r\n" % via.encode() + body
    )  # fmt: skip


def no_content(status, fields=b""):
    return lambda version: response(status, fields, b"", version)


def with_length(body):
    return lambda version: response(b"200 OK", b"Content-Length: %d\r\n" % len(body), body, version)


def with_chunks(body):
    def make(version):
        if version == "1.0":
            return response(b"200 OK", b"", body, version)
        return response(b"200 OK", b"Transfer-Encoding: chunked\r\n", wire.chunked(body), version)

    return make


def head_with_chunks(version):
    fields = b"" if version == "1.0" else b"Transfer-Encoding: chunked\r\n"
    return response(b"200 OK", fields, b"", version)


OK = b"HTTP/1.1 200 OK\r\n"

# what: (method, the response, what a client gets of it)
COMPLETE = {
    "length": ("GET", OK + b"Content-Length: 2\r\n\r\nok", with_length(b"ok")),
    "length 0": ("GET", OK + b"Content-Length: 0\r\n\r\n", with_length(b"")),
    "chunked": (
        "GET",
        OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        with_chunks(b"ok"),
    ),
    "chunked, empty": (
        "GET",
        OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        with_chunks(b""),
    ),
    "HEAD with a length": (
        "HEAD",
        OK + b"Content-Length: 6\r\n\r\n",
        no_content(b"200 OK", b"Content-Length: 6\r\n"),
    ),
    "HEAD chunked": ("HEAD", OK + b"Transfer-Encoding: chunked\r\n\r\n", None),
    "HEAD without either": ("HEAD", OK + b"\r\n", None),
    "204": ("GET", b"HTTP/1.1 204 No Content\r\n\r\n", no_content(b"204 No Content")),
    "204 with a length": (
        "GET",
        b"HTTP/1.1 204 No Content\r\nContent-Length: 6\r\n\r\n",
        no_content(b"204 No Content"),
    ),
    "204 chunked": (
        "GET",
        b"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n",
        no_content(b"204 No Content"),
    ),
    "304": ("GET", b"HTTP/1.1 304 Not Modified\r\n\r\n", no_content(b"304 Not Modified")),
    "304 with a length": (
        "GET",
        b"HTTP/1.1 304 Not Modified\r\nContent-Length: 6\r\n\r\n",
        no_content(b"304 Not Modified", b"Content-Length: 6\r\n"),
    ),
    "304 chunked": (
        "GET",
        b"HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n",
        no_content(b"304 Not Modified"),
    ),
    "1.0 kept alive": (
        "GET",
        b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok",
        lambda version: response(b"200 OK", b"Content-Length: 2\r\n", b"ok", version, via="1.0"),
    ),
    "1xx in front": (
        "GET",
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + OK + b"Content-Length: 2\r\n\r\nok",
        lambda version: (
            b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nVia: 1.1 <me>\r\n\r\n"
            if version == "1.1"
            else b""
        )
        + with_length(b"ok")(version),
    ),
}

SURPLUS = {
    "a response": POISON,
    "two responses": POISON + POISON,
    "half a head": POISON[:20],
    "a byte": b"x",
    "an empty line": b"\r\n",
    "LF": b"\n",
    "a NUL": b"\0",
    "a last chunk": b"0\r\n\r\n",
    "content": b"poison",
    "chunked content": b"6\r\npoison\r\n0\r\n\r\n",
    "an interim response": b"HTTP/1.1 100 Continue\r\n\r\n",
    "a long one": b"p" * 100_000,
}


class Dirty:
    """An origin whose first connection sends pieces for an answer, each further one what is clean."""

    def __init__(self, lab, pieces, gate=None, between=None):
        self.pieces, self.gate, self.between = pieces, gate, between
        self.sent = threading.Event()
        self.origin = lab.origin(self.script)

    def script(self, peer):
        if peer is not peer.origin.peers[0]:
            wire.answer_all(peer, CLEAN)
            return
        peer.read_head()
        for number, piece in enumerate(self.pieces):
            if number and self.gate:
                assert self.gate.wait(wire.DEADLINE)
            try:
                peer.send(piece)
            except OSError:
                break
        peer.wait_acknowledged()  # sent is not yet arrived, on a machine that has much to do
        self.sent.set()
        peer.read_to_end()


def check_next(lab, proxy, dirty, client, version):
    """The same client, and another, get what is clean over a connection that was never dirty."""
    url = dirty.origin.url("/next")
    if version == "1.1":
        assert client.get(url).body == b"clean"
        assert client.is_silent(0)
    else:
        client.expect_end("fin")
    other = lab.client(proxy)
    assert other.get(url).body == b"clean"
    other.close()
    assert len(dirty.origin.peers) == 2
    client.close()


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("case", COMPLETE)
def test_surplus_is_nobodys_response(lab, case, version):
    method, first, expected = COMPLETE[case]
    proxy = lab.viaduct()
    faults = Faults()
    for name, surplus in SURPLUS.items():
        for how in ("one segment", "two segments", "after the response"):
            with faults(f"{name}, {how}"):
                gate = threading.Event() if how == "after the response" else None
                pieces = [first + surplus] if how == "one segment" else [first, surplus]
                dirty = Dirty(lab, pieces, gate)
                client = lab.client(proxy)
                client.request(method, dirty.origin.url("/first"), version=version)
                got = client.read_response(to=method)
                raw = b"".join(m.raw_head for m in [*got.interim, got])
                raw += wire.chunked(got.body) if got.framing == "chunked" else got.body
                if expected:
                    assert exact(expected(version)).fullmatch(raw), raw
                else:
                    assert got.status == 200 and not got.body
                if gate:
                    gate.set()
                # The surplus is with the proxy before the next request: what comes later, no
                # reader could tell from its response.
                assert dirty.sent.wait(wire.DEADLINE)
                if gate:
                    # The origin's thread ends when the proxy has closed the connection.
                    dirty.origin.threads[0].join(wire.DEADLINE)
                check_next(lab, proxy, dirty, client, version)
                dirty.origin.close()
    faults.check()
    for line in proxy.find_lines(
        event="request", predicate=lambda line: "/first" in line["target"]
    ):
        assert line["end"] == "complete"


@pytest.mark.parametrize("first", ["surplus", "request"])
def test_surplus_that_came_before_the_next_request_is_not_its_response(lab, first):
    """Both wait in the kernel when the proxy looks, and it hears of them in this order."""
    proxy = lab.viaduct()
    gate = threading.Event()
    dirty = Dirty(lab, [OK + b"Content-Length: 2\r\n\r\nok", POISON], gate)
    client = lab.client(proxy)
    assert client.get(dirty.origin.url("/first")).body == b"ok"
    with proxy.stopped():
        if first == "request":
            client.request("GET", dirty.origin.url("/next"))
            client.wait_acknowledged()
        gate.set()
        assert dirty.sent.wait(wire.DEADLINE)
        if first == "surplus":
            client.request("GET", dirty.origin.url("/next"))
            client.wait_acknowledged()
    assert client.read_response().body == b"clean"
    assert len(dirty.origin.peers) == 2


@pytest.mark.parametrize("version", VERSIONS)
def test_surplus_behind_content_until_close_is_content(lab, version):
    """Nothing else can be told; it must stay inside this one response."""
    proxy = lab.viaduct()
    origin = lab.origin(until_close)
    client = lab.client(proxy)
    client.request("GET", origin.url(), version=version)
    got = client.read_response()
    assert got.body == b"ok" + POISON and got.framing == (
        "chunked" if version == "1.1" else "close"
    )
    if version == "1.1":
        assert client.get(origin.url()).body == b"ok" + POISON
    assert len(origin.peers) == (2 if version == "1.1" else 1)


def until_close(peer):
    peer.read_request()
    peer.send(OK + b"\r\nok" + POISON)


# --- No response at all -------------------------------------------------------


def refused_rows():
    """Heads that must not go on in any form: 502."""
    rows = {}
    for value in CODINGS:
        rows[f"coding {value}"] = (
            OK + b"Transfer-Encoding: " + value + b"\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
        )
        for first, second in [(b"Content-Length: 5\r\n", b""), (b"", b"Content-Length: 5\r\n")]:
            head = OK + first + b"Transfer-Encoding: " + value + b"\r\n" + second
            rows[f"{head}"] = head + b"\r\n5\r\nhello\r\n0\r\n\r\n"
    for coding in (b"chunked", b"Chunked"):
        rows[f"length and {coding}"] = (
            OK + b"Content-Length: 3\r\nTransfer-Encoding: " + coding + b"\r\n\r\n0\r\n\r\n"
        )
        rows[f"{coding} twice"] = (
            OK
            + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: "
            + coding
            + b"\r\n\r\n0\r\n\r\n"
        )
        rows[f"{coding} in 1.0"] = (
            b"HTTP/1.0 200 OK\r\nTransfer-Encoding: " + coding + b"\r\n\r\n0\r\n\r\n"
        )
    for value in LENGTHS:
        rows[f"length {value}"] = OK + b"Content-Length: " + value + b"\r\n\r\nhello"
    for first, second in [(b"5", b"6"), (b"6", b"5"), (b"0", b"5"), (b"5", b"")]:
        for name in (b"Content-Length", b"content-length"):
            rows[
                f"{name} {first} {second}"
            ] = OK + b"Content-Length: %s\r\nX: y\r\n%s: %s\r\n\r\nhello" % (first, name, second)
    for byte in NOT_IN_NAMES:
        char = bytes([byte])
        rows[f"{char} inside a name"] = OK + b"Na" + char + b"me: x\r\nContent-Length: 0\r\n\r\n"
        rows[f"{char} first in a name"] = OK + char + b"Name: x\r\nContent-Length: 0\r\n\r\n"
        if byte not in b" \t":
            rows[f"{char} last in a name"] = (
                OK + b"Name" + char + b": x\r\nContent-Length: 0\r\n\r\n"
            )
    for byte in NOT_IN_VALUES:
        char = bytes([byte])
        rows[f"{char} in a value"] = OK + b"X: a" + char + b"b\r\nContent-Length: 0\r\n\r\n"
        rows[f"{char} last in a value"] = OK + b"X: a" + char + b"\r\nContent-Length: 0\r\n\r\n"
        if byte != 0x0D:
            rows[f"{char} in the reason"] = (
                b"HTTP/1.1 200 O" + char + b"K\r\nContent-Length: 0\r\n\r\n"
            )
    for line in (b":", b": x", b" : x", b"Name", b"HTTP/1.1 200 OK", b"GET / HTTP/1.1"):
        rows[f"{line} for a field"] = OK + line + b"\r\nContent-Length: 0\r\n\r\n"
    for fold in (b"\r\n ", b"\r\n\t", b"\n ", b"\r "):
        rows[f"folded {fold}"] = OK + b"X: a" + fold + b"b\r\nContent-Length: 0\r\n\r\n"
        rows[f"length folded {fold}"] = OK + b"Content-Length:" + fold + b"5\r\n\r\nhello"
    lines = [b"HTTP/1.1 200 OK", b"X: y", b"Content-Length: 5", b""]
    for end in (b"\n", b"\r\r\n", b"\n\r", b"\r\0\n", b"\0\r\n", b"\r \n", b"\n\n"):
        for number in range(len(lines)):
            head = b"".join(
                line + (end if index == number else b"\r\n") for index, line in enumerate(lines)
            )
            if end == b"\0\r\n" and number == 3:
                head += b"\r\n"
            rows[f"{end} behind {lines[number]}"] = head + b"hello"
    for start in STATUS_LINES:
        rows[f"{start}"] = start + b"\r\nContent-Length: 0\r\n\r\n"
    return rows


STATUS_LINES = [
    b" HTTP/1.1 200 OK", b"\tHTTP/1.1 200 OK", b"\nHTTP/1.1 200 OK", b"\rHTTP/1.1 200 OK",
    b"\0HTTP/1.1 200 OK", b"\xef\xbb\xbfHTTP/1.1 200 OK", b"http/1.1 200 OK", b"Http/1.1 200 OK",
    b"HTTPS/1.1 200 OK", b"ICY 200 OK", b"RTSP/1.0 200 OK", b"HTTP/1.1\t200 OK", b"HTTP/1.1  200 OK",
    b"HTTP/1.1 200\tOK", b"HTTP/1.1 200OK", b"HTTP/1.1 2000 OK", b"HTTP/1.1 20 OK", b"HTTP/1.1 2 OK",
    b"HTTP/1.1 OK", b"HTTP/1.1", b"HTTP/1.1 ", b"HTTP/1.1 099 OK", b"HTTP/1.1 000 OK",
    b"HTTP/1.1 600 OK", b"HTTP/1.1 999 OK", b"HTTP/1.1 +20 OK", b"HTTP/1.1 -20 OK", b"HTTP/1.1 0x2 OK",
    b"HTTP/1.1 2 0 OK", b"HTTP/1.1 20x OK", b"HTTP/1.1 \xb2\xb0\xb0 OK", b"HTTP/1.1 200.1 OK",
    b"HTTP/0.9 200 OK", b"HTTP/1.2 200 OK", b"HTTP/2.0 200 OK", b"HTTP/2 200 OK", b"HTTP/11 200 OK",
    b"HTTP/1.10 200 OK", b"HTTP/01.1 200 OK", b"HTTP/1.x 200 OK", b"HTTP/1. 200 OK", b"HTTP /1.1 200 OK",
    b"HTTP/1.1/200 OK", b"GET / HTTP/1.1", b"<html>", b"",
]  # fmt: skip


@pytest.mark.parametrize("version", VERSIONS)
def test_ambiguous_head_is_a_bad_response(lab, version):
    """One refusal of ours, no byte of the origin's; its connection is closed; the client's goes on."""
    proxy = lab.viaduct()
    rows = refused_rows()
    script = {}

    def answer(peer):
        request = peer.read_request()
        if request.target == "/good":
            peer.send(CLEAN)
            return
        data = rows[script["row"]] + POISON
        if script["bytewise"]:
            for index in range(len(data)):
                try:
                    peer.send(data[index : index + 1])
                except OSError:
                    return
                os.sched_yield()
        else:
            peer.send(data)
        peer.read_to_end()

    origin = lab.origin(answer)
    faults = Faults()
    client = lab.client(proxy)
    for number, name in enumerate(rows):
        for bytewise in (False, True) if number % 3 == 0 else (False,):
            with faults(f"{name}{', byte by byte' if bytewise else ''}"):
                script.update(row=name, bytewise=bytewise)
                client = client if version == "1.1" and not client.ended else lab.client(proxy)
                try:
                    client.request("GET", origin.url("/bad"), version=version)
                    got = client.read_response()
                except BaseException:
                    client.ended = "fault"
                    raise
                assert got.status == 502, got
                assert "error=http_protocol_error" in got.get("Proxy-Status")
                assert b"poison" not in got.raw_head + got.body
                if version == "1.0":
                    client.expect_end("fin")
                    client.close()
    client = lab.client(proxy)
    with faults("afterwards"):
        assert client.get(origin.url("/good")).body == b"clean"
        origin.join()
    faults.check()


def test_status_line_without_reason(lab):
    """Readable in one way only, and common."""
    for line in (b"HTTP/1.1 200", b"HTTP/1.1 200 "):
        origin = lab.origin(line + b"\r\nContent-Length: 2\r\n\r\nok")
        got = lab.client(lab.viaduct()).get(origin.url())
        assert got.start == "HTTP/1.1 200 " and got.body == b"ok"


# --- Broken chunks ------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("kind", BAD_CHUNKS)
def test_broken_chunks_are_a_response_cut_short(lab, kind, version):
    """The head and the good chunks have gone out by then: the client must see that more was to
    come, and nothing behind the fault."""
    proxy = lab.viaduct()
    script = {}

    def answer(peer):
        peer.read_request()
        peer.send(OK + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
        assert script["seen"].wait(wire.DEADLINE)
        try:
            peer.send(script["body"] + POISON)
        except OSError:
            return
        peer.read_to_end()

    origin = lab.origin(answer)
    faults = Faults()
    head = response(
        b"200 OK", b"Transfer-Encoding: chunked\r\n" if version == "1.1" else b"", b"", version
    )
    start = exact(head + (b"3\r\nabc\r\n" if version == "1.1" else b"abc"))
    # A blank before the colon is stripped in a response (RFC 9112 5.1).
    rows = [body for body in BAD_CHUNKS[kind] if b" :" not in body and b"\t:" not in body]
    for number, body in enumerate(rows):
        with faults(f"{body[:60]!r} ({number})"):
            script.update(body=body, seen=threading.Event())
            client = lab.client(proxy)
            client.request("GET", origin.url(f"/{number}"), version=version)
            while not start.fullmatch(client.buffer):
                assert client.fill(), client.buffer
            script["seen"].set()
            whole = client.read_to_end()
            rest = whole[start.match(whole).end() :]
            assert b"poison" not in rest and b"0\r\n\r\n" not in rest, rest
            if version == "1.0":
                assert client.ended == "reset", "content until close looks complete"
            client.close()
    with faults("the origin"):
        origin.join()
    faults.check()
    for number in range(len(rows)):
        assert proxy.wait_request(origin.url(f"/{number}"))["end"] == "error:bad-response"


# --- Interim responses --------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    "status", [b"100 Continue", b"102 Processing", b"103 Early Hints", b"199 X"]
)
def test_interim_with_content_does_not_frame_it(lab, status, version):
    """RFC 9112 6.3: a 1xx ends with its head. What follows is read as the next response: here a
    whole one, so it is the final one; and the connection is not used again."""
    proxy = lab.viaduct()
    for fields in (b"Content-Length: 6\r\n", b"Transfer-Encoding: chunked\r\n"):
        first = b"HTTP/1.1 " + status + b"\r\n" + fields + b"\r\n"
        dirty = Dirty(lab, [first + b"poison\r\n\r\n"])
        client = lab.client(proxy)
        client.request("GET", dirty.origin.url("/first"), version=version)
        got = client.read_response()
        assert got.status == 502 and [i.status for i in got.interim] == (
            [int(status[:3])] if version == "1.1" else []
        )
        for interim in got.interim:
            assert not interim.has("Content-Length") and not interim.has("Transfer-Encoding")
        check_next(lab, proxy, dirty, client, version)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("count, passes", [(60, True), (1000, False)])
def test_flood_of_interim_responses(lab, version, count, passes):
    """A few dozen are relayed, not thousands: each is kept until the end."""
    proxy = lab.viaduct()
    interim = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
    dirty = Dirty(lab, [interim * count + OK + b"Content-Length: 2\r\nConnection: close\r\n\r\nok"])
    client = lab.client(proxy)
    client.request("GET", dirty.origin.url("/first"), version=version)
    got = client.read_response()
    if passes:
        assert got.status == 200 and got.body == b"ok"
        assert len(got.interim) == (count if version == "1.1" else 0)
    else:
        assert got.status == 502 and len(got.interim) <= 100
        assert "error=http_protocol_error" in got.get("Proxy-Status")
    check_next(lab, proxy, dirty, client, version)


def test_interim_responses_for_ever_end(lab):
    proxy = lab.viaduct()
    ended = threading.Event()

    def script(peer):
        peer.read_request()
        try:
            while True:
                peer.send(b"HTTP/1.1 100 Continue\r\n\r\n" * 100)
        except OSError:
            ended.set()

    origin = lab.origin(script)
    client = lab.client(proxy)
    begin = time.monotonic()
    assert client.get(origin.url("/forever")).status == 502
    assert ended.wait(wire.DEADLINE)
    assert time.monotonic() - begin < 10
    assert proxy.wait_request(origin.url("/forever"))["end"] == "error:bad-response"


@pytest.mark.parametrize("version", VERSIONS)
def test_unasked_101_is_never_passed_on(lab, version):
    """Not even to one whose request mentions the protocol elsewhere; and no tunnel is opened."""
    proxy = lab.viaduct()
    switch = (
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    )
    faults = Faults()
    for name, fields in {
        "nothing": [],
        "Upgrade without its option": [("Upgrade", "websocket")],
        "the option without Upgrade": [("Connection", "Upgrade")],
        "named otherwise": [("Connection", "X-Upgrade"), ("X-Upgrade", "websocket")],
        "another protocol": [("Connection", "Upgrade"), ("Upgrade", "other")],
        "h2c": [("Connection", "Upgrade"), ("Upgrade", "h2c")],
        "a prefix": [("Connection", "Upgrade"), ("Upgrade", "websocket/13")],
    }.items():
        for answer in (
            switch,
            switch.replace(b"Upgrade: websocket\r\n", b""),
            switch.replace(b"websocket", b""),
            switch.replace(b"websocket", b","),
            switch.replace(b"websocket", b"h2c"),
        ):
            with faults(f"{name}, {answer}"):
                dirty = Dirty(lab, [answer + POISON])
                client = lab.client(proxy)
                client.request("GET", dirty.origin.url("/first"), fields, version=version)
                got = client.read_response()
                assert got.status == 502 and b"poison" not in got.body, got
                check_next(lab, proxy, dirty, client, version)
                dirty.origin.close()
    faults.check()


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("method", ["HEAD", "GET"])
def test_final_response_twice(lab, method, version):
    """Two heads in a row; the one is the response, the other nobody's."""
    proxy = lab.viaduct()
    first = b"HTTP/1.1 204 No Content\r\nX: first\r\n\r\n"
    dirty = Dirty(lab, [first + first.replace(b"first", b"second")])
    client = lab.client(proxy)
    request = request_bytes(method, dirty.origin.url("/1"), version=version)
    follow = request_bytes("GET", dirty.origin.url("/2"), version=version)
    client.send(request + (follow if version == "1.1" else b""))
    assert client.read_response(to=method).get("X") == "first"
    if version == "1.1":
        assert client.read_response().body == b"clean"
        client.finish()
    client.expect_end("fin")
