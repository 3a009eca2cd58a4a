# SPDX-License-Identifier: MIT
"""Large bodies, and bulk in tunnels, go from socket to socket without being read, and nothing that is
true of small bodies is less true of large ones: not a byte more than was announced, ends that look
like what they are, the same deadlines, the same figures in the log, connections that serve on."""

import re
import signal
import threading
import time
from array import array

import pytest
import socket

import wire
from wire import request_bytes, wait_until

KIB, MIB = 1 << 10, 1 << 20
READ = 80 * KIB  # what viaduct reads at once
LEAST = 64 * KIB  # what must be left of a body for it to be spliced
PIPE = MIB
PIPES_KEPT = 4  # by each worker, empty, for the next
OK = b"HTTP/1.1 200 OK\r\n"
POISON = OK + b"Content-Length: 6\r\n\r\npoison"

_numbers = array("Q", range(8 * MIB // 8)).tobytes()


def content(size):
    """Bytes of which no two pieces are alike."""
    return (_numbers * (size // len(_numbers) + 1))[:size]


def with_length(body, head=OK):
    return head + b"Content-Length: %d\r\n\r\n" % len(body) + body


def pipe_ends(proxy):
    return sum(link.startswith("pipe:") for link in proxy.links())


def ask(lab, proxy, origin, path="/", **how):
    client = lab.client(proxy)
    client.request("GET", origin.url(path), **how)
    return client


def put_head(origin, length, path="/"):
    return request_bytes("PUT", origin.url(path), [("Content-Length", str(length))])


def in_background(lab, action, *args):
    """Runs action beside the test; what it meets when the other side ends early is not its fault."""

    def run():
        try:
            action(*args)
        except OSError:
            pass

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    lab.at_end(lambda: thread.join(wire.DEADLINE))
    return thread


# --- That it happens ----------------------------------------------------------


class Traced:
    """A daemon whose calls that move bytes are recorded."""

    def __init__(self, lab, program, directory):
        self.lab = lab
        self.path = directory / "trace"
        calls = "trace=splice,read,recvmsg,recvfrom,write,sendmsg,writev"
        strace = [program("strace"), "-D", "-f", "-qq", "-e", calls, "-e", "signal=none"]
        self.proxy = lab.fresh("server.workers=1", wrapper=[*strace, "-o", str(self.path)], release=True)

    def moved(self):
        """{call: [bytes]}, once the daemon has ended."""
        self.proxy.stop()
        found = {}
        for line in self.path.read_text().splitlines():
            match = re.search(r"^\d+ +(\w+)\(.*= (\d+)$", line)
            if match:
                found.setdefault(match[1], []).append(int(match[2]))
        return found


@pytest.fixture
def traced(lab, program, tmp_path):
    return Traced(lab, program, tmp_path)


def check_spliced(moved, size, pieces_at_most):
    """Nearly all of it through a pipe, in and out, and in large pieces."""
    spliced = moved.get("splice", [])
    assert sum(spliced) / 2 > 0.9 * size, f"{sum(spliced)} bytes, in and out of a pipe"
    assert max(spliced) > 256 * KIB, "the pipe was not made larger"
    assert len(spliced) < pieces_at_most, f"{len(spliced)} calls"
    for call in ("read", "sendmsg"):
        assert sum(moved.get(call, [])) < 0.1 * size, f"{call}: {sum(moved[call])} bytes"


SIZE = 32 * MIB


def send_once(response):
    def script(peer):
        peer.read_request()
        peer.send(response)

    return script


@pytest.mark.parametrize("version", ["1.1", "1.0"])
@pytest.mark.parametrize("framing", ["length", "close"])
def test_response_is_spliced(traced, version, framing):
    body = content(SIZE)
    response = with_length(body) if framing == "length" else OK + b"\r\n" + body
    origin = traced.lab.origin(send_once(response))
    client = ask(traced.lab, traced.proxy, origin, version=version)
    response = client.read_response()
    assert response.body == body
    client.close()
    if response.framing == "chunked":
        assert not traced.moved().get("splice"), "it has to be read"
    else:
        check_spliced(traced.moved(), SIZE, 2000)


def test_request_is_spliced(traced):
    body = content(SIZE)
    origin = traced.lab.origin(with_length(b"ok"))
    client = traced.lab.client(traced.proxy)
    client.request("PUT", origin.url(), body=body)
    assert client.read_response().body == b"ok"
    assert origin.requests[0].body == body
    client.close()
    check_spliced(traced.moved(), SIZE, 2000)


def test_tunnel_is_spliced(traced):
    body = content(SIZE)
    client = traced.lab.tunnel(traced.proxy, traced.lab.origin(lambda peer: peer.send(body)))
    assert client.read_to_end() == body
    client.close()
    check_spliced(traced.moved(), SIZE, 2000)


def test_small_messages_are_not_spliced(traced):
    """In a tunnel, up to a full read."""

    def echo(peer):
        while peer.fill():
            peer.send(peer.take(len(peer.buffer)))

    client = traced.lab.tunnel(traced.proxy, traced.lab.origin(echo))
    for size in [64] * 100 + [LEAST] * 10:
        client.send(content(size))
        assert client.read_exactly(size) == content(size)
    client.close()
    assert not traced.moved().get("splice")


@pytest.mark.parametrize("upload", [False, True])
def test_small_body_is_not_spliced(traced, upload):
    body = content(LEAST)
    origin = traced.lab.origin(with_length(b"ok" if upload else body))
    client = traced.lab.client(traced.proxy)
    for _ in range(20):
        client.request("PUT" if upload else "GET", origin.url(), body=body if upload else None)
        assert client.read_response().body == (b"ok" if upload else body)
    client.close()
    assert not traced.moved().get("splice")


# --- Bodies of every size, and what comes after them --------------------------

EDGES = sorted(
    {
        edge + by
        for edge in (LEAST, READ, READ + LEAST, READ + PIPE, READ + LEAST + PIPE, 5 * MIB)
        for by in (-1, 0, 1)
    }
)


@pytest.mark.parametrize("size", EDGES)
def test_connections_serve_on_after_a_large_body(lab, size):
    """Download, upload, download, over one connection on either side."""
    body = content(size)

    def script(peer):
        for answer in (body, b"ok", body[::-1]):
            peer.read_request()
            peer.send(with_length(answer))
        peer.expect_end()

    proxy = lab.viaduct()
    origin = lab.origin(script)
    client = lab.client(proxy)
    assert client.get(origin.url("/1")).body == body
    client.request("PUT", origin.url("/2"), body=body)
    assert client.read_response().body == b"ok"
    assert client.get(origin.url("/3")).body == body[::-1]
    assert origin.requests[1].body == body
    lines = [proxy.wait_request(origin.url(f"/{n}")) for n in (1, 2, 3)]
    assert [line["reused"] for line in lines] == ["no", "yes", "yes"]
    assert all(line["end"] == "complete" for line in lines)
    assert size < int(lines[0]["bytes_out"]) < size + 500 and int(lines[0]["bytes_in"]) < 500
    assert size < int(lines[1]["bytes_in"]) < size + 500 and int(lines[1]["bytes_out"]) < 500


def test_large_bodies_one_after_the_other_in_one_segment(lab):
    """What a client sends behind a large body is its next request, and waits."""
    body = content(2 * MIB + 3)
    origin = lab.origin(with_length(b"ok"))
    client = lab.client(lab.viaduct())
    request = put_head(origin, len(body)) + body
    sender = in_background(lab, client.send, request * 3)
    for _ in range(3):
        assert client.read_response().body == b"ok"
    sender.join(wire.DEADLINE)
    assert [request.body for request in origin.requests] == [body] * 3


@pytest.mark.parametrize("method, head", [
    ("HEAD", OK), ("GET", b"HTTP/1.1 304 Not Modified\r\n"), ("GET", b"HTTP/1.1 204 No Content\r\n")
])  # fmt: skip
def test_length_without_a_body_takes_nothing(lab, method, head):
    """A length that is only told is not waited for, nor is what follows taken for content."""
    large = b"Content-Length: %d\r\n\r\n" % (100 * MIB)
    if b"204" in head:
        large = b"\r\n"

    def script(peer):
        peer.read_request()
        peer.send(head + large)
        peer.read_request()
        peer.send(with_length(content(MIB)))

    origin = lab.origin(script)
    client = lab.client(lab.viaduct())
    client.request(method, origin.url())
    response = client.read_response(to=method)
    assert response.body == b"" and response.cut is None
    assert client.get(origin.url()).body == content(MIB)
    assert len(origin.peers) == 1


@pytest.mark.parametrize("later", [False, True])
@pytest.mark.parametrize("size", [READ + LEAST, READ + PIPE, 4 * MIB])
def test_surplus_behind_a_spliced_body_is_nobodys(lab, size, later):
    """In the segment of the last byte, or later: the next request gets another connection."""
    body = content(size)

    def script(peer):
        peer.read_request()
        if len(origin.peers) > 1:
            peer.send(with_length(b"clean"))
            return
        if later:
            peer.send(with_length(body))
            assert complete.wait(wire.DEADLINE)
            peer.send(POISON)
        else:
            peer.send(with_length(body) + POISON)
        peer.read_to_end()
        ended.set()

    complete, ended = threading.Event(), threading.Event()
    proxy = lab.viaduct()
    origin = lab.origin(script)
    client = lab.client(proxy)
    assert client.get(origin.url("/1")).body == body
    proxy.wait_request(origin.url("/1"))
    complete.set()
    assert ended.wait(wire.DEADLINE), "the connection is kept"
    assert client.get(origin.url("/2")).body == b"clean"
    assert proxy.wait_request(origin.url("/2"))["reused"] == "no"


# --- Bodies that break off ----------------------------------------------------


@pytest.mark.parametrize("how", ["fin", "reset"])
@pytest.mark.parametrize("sent", [READ + LEAST, 3 * MIB, 4 * MIB - 1])
def test_origin_breaks_off_inside_a_spliced_body(lab, sent, how):
    def script(peer):
        peer.read_request()
        peer.send(OK + b"Content-Length: %d\r\n\r\n" % (4 * MIB) + content(sent))
        assert got.wait(wire.DEADLINE)
        peer.reset() if how == "reset" else peer.close()

    got = threading.Event()
    proxy = lab.viaduct()
    origin = lab.origin(script)
    client = ask(lab, proxy, origin)
    client.read_response_head()
    assert client.read_exactly(sent) == content(sent)
    got.set()
    client.expect_end("reset")
    line = proxy.wait_request(origin.url())
    assert (line["status"], line["end"]) == ("200", "truncated")


def test_response_until_close_that_is_reset_looks_cut(lab):
    def script(peer):
        peer.read_request()
        peer.send(OK + b"\r\n" + content(4 * MIB))
        assert got.wait(wire.DEADLINE)
        peer.reset()

    got = threading.Event()
    proxy = lab.viaduct()
    origin = lab.origin(script)
    client = ask(lab, proxy, origin, version="1.0")
    client.read_response_head()
    client.read_exactly(4 * MIB)
    got.set()
    client.expect_end("reset")
    assert proxy.wait_request(origin.url())["end"] == "truncated"


def test_client_breaks_off_inside_a_spliced_request(lab):
    """The origin must not take it for the whole."""
    ends = []

    def script(peer):
        head = peer.read_head()
        assert head.get("Content-Length") == str(4 * MIB)
        ends.append(len(peer.read_to_end()))

    proxy = lab.viaduct()
    for how in ("fin", "reset"):
        origin = lab.origin(script)
        client = lab.client(proxy)
        client.send(put_head(origin, 4 * MIB, f"/{how}") + content(3 * MIB))
        client.wait_acknowledged()
        client.reset() if how == "reset" else client.close()
        assert proxy.wait_request(origin.url(f"/{how}"))["end"] == "client-closed"
        origin.join()
    assert all(end <= 3 * MIB for end in ends) and ends[0] > 0


def test_client_ends_its_side_and_still_gets_a_large_body(lab):
    body = content(8 * MIB)
    origin = lab.origin(with_length(body))
    proxy = lab.viaduct()
    client = ask(lab, proxy, origin)
    client.finish()
    assert client.read_response().body == body
    upload = lab.client(proxy)
    upload.send(put_head(origin, len(body), "/up") + body)
    upload.finish()
    assert upload.read_response().body == body
    assert origin.requests[1].body == body


def test_origin_answers_while_a_large_request_is_spliced(lab):
    """An early refusal reaches a client that still sends; the rest is nobody's."""

    def script(peer):
        peer.read_head()
        peer.read_exactly(MIB)
        peer.send(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno")
        peer.read_to_end()

    proxy = lab.viaduct()
    origin = lab.origin(script)
    client = lab.client(proxy)
    client.send(put_head(origin, 64 * MIB) + content(2 * MIB))
    assert client.read_response().status == 403
    in_background(lab, client.send, content(62 * MIB))
    client.read_to_end()
    assert proxy.wait_request(origin.url())["status"] == "403"


# --- Peers that stand still ---------------------------------------------------

HASTY = "timeouts.idle=500ms"


def test_origin_stalls_inside_a_spliced_body(lab):
    def script(peer):
        peer.read_request()
        peer.send(OK + b"Content-Length: %d\r\n\r\n" % (4 * MIB) + content(3 * MIB))
        peer.expect_end()

    proxy = lab.viaduct(HASTY)
    origin = lab.origin(script)
    client = ask(lab, proxy, origin)
    client.read_response_head()
    client.read_exactly(3 * MIB)
    begin = time.monotonic()
    client.expect_end("reset")
    assert time.monotonic() - begin < 5 * wire.SLOWNESS
    assert proxy.wait_request(origin.url())["end"] == "timeout:idle"


@pytest.mark.parametrize("upload", [False, True])
def test_reader_stalls_before_a_spliced_body(lab, upload):
    """What is in the pipe is not waited for longer than anything else."""
    over = threading.Event()
    lab.at_end(over.set)

    def script(peer):
        if upload:
            peer.read_head()
            over.wait(wire.DEADLINE)
            return
        peer.read_request()
        try:
            peer.send(with_length(content(32 * MIB)))
        except OSError:
            pass

    proxy = lab.viaduct(HASTY)
    origin = lab.origin(script)
    client = lab.client(proxy)
    if upload:
        in_background(lab, client.send, put_head(origin, 32 * MIB) + content(32 * MIB))
    else:
        client.request("GET", origin.url())
    assert proxy.wait_request(origin.url())["end"] == "timeout:idle"
    if upload:
        response = client.read_response()
        assert response.status == 504
    else:
        response = client.read_response(may_be_cut=True)
        assert response.cut and content(32 * MIB).startswith(response.body)
    over.set()


class Slowly:
    """Moves a body in steps that together take longer than the idle time."""

    size = 12 * MIB
    body = content(size)

    @staticmethod
    def send(peer):
        for at in range(0, Slowly.size, 2 * MIB):
            peer.send(Slowly.body[at : at + 2 * MIB])
            threading.Event().wait(0.2)

    @staticmethod
    def read(peer):
        got = b""
        while len(got) < Slowly.size:
            got += peer.read_exactly(MIB)
            threading.Event().wait(0.1)
        return got


@pytest.mark.parametrize("slow", ["reader", "writer"])
@pytest.mark.parametrize("upload", [False, True])
def test_slow_body_goes_on_beyond_the_idle_time(lab, upload, slow):
    """A peer that takes, or gives, something now and then is not idle."""

    def send(peer, head):
        peer.send(head)
        Slowly.send(peer) if slow == "writer" else peer.send(Slowly.body)

    def read(peer):
        return Slowly.read(peer) if slow == "reader" else peer.read_exactly(Slowly.size)

    def script(peer):
        if upload:
            peer.read_head()
            assert read(peer) == Slowly.body
            peer.send(with_length(b"ok"))
        else:
            peer.read_request()
            send(peer, OK + b"Content-Length: %d\r\n\r\n" % Slowly.size)

    proxy = lab.viaduct(HASTY)
    origin = lab.origin(script)
    client = lab.client(proxy)
    if upload:
        send(client, put_head(origin, Slowly.size))
        assert client.read_response().body == b"ok"
    else:
        client.request("GET", origin.url())
        client.read_response_head()
        assert read(client) == Slowly.body
    assert proxy.wait_request(origin.url())["end"] == "complete"


def test_whole_time_of_an_exchange_ends_a_spliced_body(lab):
    def script(peer):
        peer.read_request()
        try:
            peer.send(OK + b"Content-Length: %d\r\n\r\n" % (1 << 40))
            while True:
                peer.send(content(MIB))
        except OSError:
            pass

    proxy = lab.viaduct("timeouts.exchange=1s")
    origin = lab.origin(script)
    client = ask(lab, proxy, origin)
    client.read_response_head()
    client.buffer = b""
    while client.fill(MIB):
        client.buffer = b""
    assert client.ended == "reset"
    assert proxy.wait_request(origin.url())["end"] == "timeout:exchange"


def endless(peer):
    peer.read_request()
    peer.sock.settimeout(None)
    try:
        peer.send(OK + b"Content-Length: %d\r\n\r\n" % (1 << 40))
        while True:
            peer.send(content(MIB))
    except OSError:
        pass


def blocked(lab, proxy, origin, path="/"):
    """A client that has begun to read an endless body and then stopped, until all is full."""
    client = ask(lab, proxy, origin, path)
    client.read_response_head()
    client.read_exactly(MIB)
    return client


@pytest.mark.parametrize("who", ["client resets", "client closes", "origin resets"])
def test_end_with_bytes_in_the_pipe(lab, who):
    go = threading.Event()

    def script(peer):
        peer.read_request()
        peer.send(OK + b"Content-Length: %d\r\n\r\n" % (1 << 40))
        peer.sock.settimeout(0.3)
        try:
            while True:
                peer.send(content(MIB))
        except OSError:
            pass
        full.set()
        assert go.wait(wire.DEADLINE)
        if who == "origin resets":
            peer.reset()

    full = threading.Event()
    proxy = lab.fresh("server.workers=1")
    before = proxy.descriptor_count()
    origin = lab.origin(script)
    client = blocked(lab, proxy, origin)
    assert full.wait(wire.DEADLINE)
    wait_until(lambda: proxy.descriptor_count() >= before + 4, "a pipe that holds bytes")
    go.set()
    if who == "client resets":
        client.reset()
    elif who == "client closes":
        client.close()
    else:
        client.read_to_end()
        assert client.ended == "reset"
    line = proxy.wait_request(origin.url())
    assert line["end"] == ("truncated" if who == "origin resets" else "client-closed")
    wait_until(
        lambda: proxy.descriptor_count() <= before + 2 * PIPES_KEPT,
        "everything to be closed",
    )


# --- What it takes ------------------------------------------------------------


def test_no_pipe_is_held_without_bytes(lab):
    """Thirty large bodies whose origins say nothing for now: the pipes serve others."""
    over = threading.Event()
    lab.at_end(over.set)

    def script(peer):
        peer.read_request()
        peer.send(OK + b"Content-Length: %d\r\n\r\n" % (8 * MIB) + content(2 * MIB))
        over.wait(wire.DEADLINE)
        peer.send(content(8 * MIB)[2 * MIB :])

    proxy = lab.fresh("server.workers=1")
    before = pipe_ends(proxy)
    origin = lab.origin(script)
    clients = [ask(lab, proxy, origin) for _ in range(30)]
    for client in clients:
        client.read_response_head()
        client.first = client.read_exactly(2 * MIB)
    wait_until(lambda: pipe_ends(proxy) <= before + 2 * PIPES_KEPT, "the pipes to be given back")
    over.set()
    for client in clients:
        assert client.first + client.read_exactly(6 * MIB) == content(8 * MIB)


@pytest.mark.notsan
@pytest.mark.parametrize("tunnel", [False, True])
def test_pipes_held_by_slow_readers_are_bounded(lab, tunnel):
    """The kernel's memory in pipes counts nowhere else. Who gets none is served all the same. No
    source has more to say than fills what is on its way: of so many at once they would else take
    all that the kernel has for TCP (tcp_mem), and it drops what comes in for a minute."""
    readers, most = 150, 128
    first, rounds, step = MIB, 3, MIB // 2
    proxy = lab.fresh("server.workers=1", release=True)

    def source(peer):
        if not tunnel:
            peer.read_request()
            peer.send(OK + b"Content-Length: %d\r\n\r\n" % (1 << 40))
        peer.sock.settimeout(None)
        try:
            peer.send(content(first + rounds * step + 4 * MIB))
            peer.read_to_end()
        except OSError:
            pass

    before = pipe_ends(proxy)
    origin = lab.origin(source)
    clients = []
    for _ in range(readers):
        client = lab.tunnel(proxy, origin) if tunnel else ask(lab, proxy, origin)
        client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 128 * KIB)
        clients.append(client)
    for client in clients:
        if not tunnel:
            client.read_response_head()
        client.read_exactly(first)
    for _ in range(rounds):
        assert pipe_ends(proxy) - before <= 2 * most
        for client in clients:
            client.read_exactly(step)
    assert pipe_ends(proxy) > before + 2 * PIPES_KEPT, "none is held at all: this shows nothing"


# --- Limits, and the end of the daemon ----------------------------------------


@pytest.mark.parametrize("over", [0, 1])
def test_body_limit_holds_for_spliced_requests(lab, over):
    proxy = lab.viaduct(f"limits.body_bytes={4 * MIB}")
    body = content(4 * MIB + over)
    origin = lab.origin(with_length(b"ok"))
    client = lab.client(proxy)
    in_background(lab, client.send, put_head(origin, len(body)) + body)
    assert client.read_response().status == (413 if over else 200)
    assert [request.body for request in origin.requests] == ([] if over else [body])


def test_spliced_bodies_are_finished_in_the_drain(lab):
    body = content(16 * MIB)
    go = threading.Event()

    def script(peer):
        peer.read_request()
        peer.send(with_length(body)[: 8 * MIB])
        assert go.wait(wire.DEADLINE)
        peer.send(with_length(body)[8 * MIB :])

    proxy = lab.fresh("server.grace=20s")
    client = ask(lab, proxy, lab.origin(script))
    client.read_response_head()
    first = client.read_exactly(4 * MIB)
    proxy.signal(signal.SIGTERM)
    proxy.wait_for_log(event="drain")
    go.set()
    assert first + client.read_exactly(12 * MIB) == body
    client.expect_end("fin")
    assert proxy.wait_exit() == 0


def test_spliced_bodies_are_cut_at_the_end_of_the_grace(lab):
    proxy = lab.fresh("server.grace=300ms")
    origin = lab.origin(endless)
    client = blocked(lab, proxy, origin)
    proxy.signal(signal.SIGTERM)
    assert proxy.wait_exit() == 0
    client.read_to_end()
    assert client.ended == "reset"
    assert proxy.find_lines(event="request")[0]["end"] == "shutdown"
