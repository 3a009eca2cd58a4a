# SPDX-License-Identifier: MIT
"""How a client's connection ends behind a response: at once where nothing more can come, read to
its end where something may; and a client that ends its own side within what it has sent ahead."""

import threading
from pathlib import Path

import pytest

import wire
from wire import request_bytes, response_bytes, wait_until

OK = response_bytes(body=b"ok\n")


def is_ours(proxy, client):
    """Whether the daemon still holds the other end of the client's connection: the kernel's table
    shows no inode for a socket that is closed and waits for its peer alone."""
    ends = (f":{proxy.port:04X}", f":{client.sock.getsockname()[1]:04X}")
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        row = line.split()
        if (row[1][-5:], row[2][-5:]) == ends:
            return row[9] != "0"
    return False


CLOSE = [("Connection", "close")]


@pytest.mark.parametrize("version, fields", [("1.1", CLOSE), ("1.0", []), ("1.0", CLOSE)])
def test_last_request_is_closed_behind_at_once(lab, version, fields):
    """RFC 9112 9.6: behind `close` the client sends nothing, so nothing can reset its response."""
    proxy = lab.viaduct()
    client = lab.client(proxy)
    client.request("GET", lab.origin(OK).url(), fields, version=version)
    assert client.read_response().body == b"ok\n"
    client.expect_end("fin")
    wait_until(lambda: not is_ours(proxy, client), "the daemon to close", deadline=1.5)


@pytest.mark.parametrize(
    "request_of",
    [
        # Some clients send an empty line behind content.
        lambda url: request_bytes("POST", url, CLOSE, body=b"x"),
        # It has broken its word already.
        lambda url: request_bytes("GET", url, CLOSE) + b"GET / HTTP/1.1\r\n",
        # Closed by us, who could not read it.
        lambda url: b"GET " + url.encode() + b" HTTP/1.1\r\n\r\n",
    ],
    ids=["content", "more", "refused"],
)
def test_client_that_may_send_more_is_read_to_its_end(lab, request_of):
    proxy = lab.viaduct()
    client = lab.client(proxy)
    client.send(request_of(lab.origin(OK).url()))
    assert client.read_response().status in (200, 400)
    client.expect_end("fin")
    client.send(b"\r\n")
    client.wait_acknowledged()
    assert is_ours(proxy, client)
    client.finish()
    wait_until(lambda: not is_ours(proxy, client), "the daemon to close")


HALF = b"POST http://ORIGIN/half HTTP/1.1\r\nHost: a\r\n"
CHUNKED = HALF + b"Transfer-Encoding: chunked\r\n\r\n4\r\nhalf"


@pytest.mark.parametrize(
    "rest",
    [HALF[:-4], HALF + b"Content-Length: 10\r\n\r\nhalf", CHUNKED, CHUNKED + b"\r\n0\r\n"],
    ids=["head", "length", "chunk", "trailers"],
)
def test_client_that_ends_within_a_pipelined_request(lab, rest):
    """All of it has been read while the first request was answered: the end comes with its turn."""
    gate = threading.Event()

    def script(peer):
        peer.read_request()
        assert gate.wait(wire.DEADLINE)
        peer.send(OK)
        peer.read_to_end()

    proxy = lab.viaduct()
    origin = lab.origin(script)
    lab.at_end(gate.set)
    client = lab.client(proxy)
    first = request_bytes("GET", origin.url("/first"))
    client.send_with_fin(first + rest.replace(b"ORIGIN", origin.authority.encode()))
    origin.wait_requests(1)
    client.wait_acknowledged()
    gate.set()
    assert client.read_response().body == b"ok\n"
    client.expect_end()
    proxy.wait_for_log(event="request", end="client-closed")
    assert [request.target for request in origin.requests] == ["/first"]


def test_client_that_has_ended_and_reads_slowly_gets_it_all(lab):
    """It is the client's turn: that the origin is silent meanwhile is no sign that it has left."""
    body = bytes(16 << 20)

    def script(peer):
        peer.read_request()
        chunks = b"".join(b"%x\r\n%s\r\n" % (1 << 16, body[: 1 << 16]) for _ in range(256))
        peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n")

    proxy = lab.viaduct()
    origin = lab.origin(script)
    client = lab.client(proxy)
    client.request("GET", origin.url())
    client.finish()
    threading.Event().wait(2.2)  # it takes its time, more than a second
    assert client.read_response().body == body
    assert proxy.wait_request(origin.url())["end"] == "complete"


@pytest.mark.parametrize("fields", [[], CLOSE])
def test_what_follows_a_refused_connect_is_no_request(lab, fields):
    """Meant for the tunnel, it may come when the refusal has left already."""
    origin = lab.origin(OK)
    proxy = lab.viaduct()
    client = lab.client(proxy)
    client.request("CONNECT", f"127.0.0.1:{proxy.port}", fields)  # ourselves: never allowed
    assert client.read_response(to="CONNECT").status == 403
    client.send(request_bytes("GET", origin.url()))
    client.wait_acknowledged()
    client.expect_end("fin")
    client.finish()
    wait_until(lambda: not is_ours(proxy, client), "the daemon to close")
    assert origin.peers == []
