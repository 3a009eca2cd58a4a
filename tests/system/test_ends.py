# SPDX-License-Identifier: MIT
"""How client connections end where no request is to blame: before a head, in what is left of a body
behind its response, and under answers of our own that nobody reads."""

import select
import socket
import threading
import time

import pytest

import wire
from wire import request_bytes, response_bytes, wait_until

OK = response_bytes(body=b"ok")
LIMIT = 0.4 * wire.SLOWNESS
SLACK = 1.0 * wire.SLOWNESS


def ms(seconds):
    return f"{int(seconds * 1000)}ms"


# --- Before a head --------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["stays", "finish", "reset"])
@pytest.mark.parametrize("data", [b"\r", b"\r\n", b"\r\n\r\n"])
def test_line_ends_alone_are_no_request(lab, data, how):
    """RFC 9112 2.2: they are skipped. So a client that sends nothing else has sent nothing: it goes
    after timeouts.header without an answer, and leaves no line."""
    proxy = lab.viaduct(f"timeouts.header={ms(LIMIT)}")
    client = lab.client(proxy)
    begin = time.monotonic()
    client.send(data)
    if how == "reset":
        client.wait_acknowledged()
        client.reset()
        proxy.settle()
    else:
        if how == "finish":
            client.finish()
        client.expect_end("fin")
        assert how == "finish" or time.monotonic() - begin > LIMIT - 0.05
    lab.client(proxy).get("ftp://marker/")
    proxy.wait_request("ftp://marker/")
    assert len(proxy.find_lines(event="request")) == 1


def test_head_behind_a_line_end_is_a_head(lab):
    proxy = lab.viaduct(f"timeouts.header={ms(LIMIT)}")
    origin = lab.origin(OK)
    client = lab.client(proxy)
    client.send(b"\r\n")
    client.wait_acknowledged()
    assert client.get(origin.url("/whole")).status == 200
    client = lab.client(proxy)
    client.send(b"\r\nG")
    assert client.read_response().status == 408
    client.expect_end("fin")
    proxy.wait_for_log(event="request", status="408", end="timeout:header")


# --- Behind a response ----------------------------------------------------------------------------


def answer_early(peer):
    """Before the request's body is here, which nobody will read."""
    if peer.read_head() is not None:
        peer.send(OK)
        peer.read_to_end()


def answered_early(lab, length, *options):
    """A client that has its answer and owes the rest of a body, of which one byte was sent; the
    daemon, the request's target, and when it began."""
    proxy = lab.viaduct(f"timeouts.idle={ms(LIMIT)}", *options)
    target = lab.origin(answer_early).url("/early")
    client = lab.client(proxy)
    begin = time.monotonic()
    client.send(request_bytes("PUT", target, [("Content-Length", str(length))]) + b"x")
    response = client.read_response()
    assert response.status == 200 and not response.has("Connection")
    return client, proxy, target, begin


def test_rest_of_a_body_may_take_its_time(lab):
    """It moves: timeouts.idle does not end it, however long it takes in all."""

    def attempt(pace):
        client, proxy, target, _ = answered_early(lab, 11)
        for _ in range(10):
            pace.move(LIMIT / 4, client.send, b"x")
        assert client.get(lab.origin(OK).url("/next")).status == 200
        assert proxy.wait_request(target)["end"] == "complete"

    wire.keeping_below(LIMIT, attempt)


def test_rest_of_a_body_that_does_not_come(lab):
    client, proxy, target, begin = answered_early(lab, 11)
    client.expect_end()
    assert LIMIT - 0.05 <= time.monotonic() - begin <= LIMIT + SLACK
    line = proxy.wait_request(target)
    assert (line["status"], line["end"]) == ("200", "complete")


# --- Under answers of our own ---------------------------------------------------------------------


def was_reset(peer):
    """Without reading anything: both directions are closed, and we have closed none."""
    poll = select.poll()
    poll.register(peer.sock, 0)
    return bool(poll.poll(0))


@pytest.mark.parametrize("option", ["timeouts.idle", "timeouts.exchange"])
def test_answer_of_our_own_that_nobody_reads(lab, option):
    """Refusals fill all buffers on the way to a client that only writes: time ends it."""
    proxy = lab.viaduct(f"{option}={ms(LIMIT)}")
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.connect(proxy.address)
    client = wire.Peer(sock)
    lab.peers.append(client)
    requests = request_bytes("GET", f"http://127.0.0.1:{proxy.port}/loop") * 500
    sender = threading.Thread(target=client.send_until_closed, args=(requests, 100))
    sender.start()
    wait_until(lambda: was_reset(client), "the proxy to give up")
    sender.join(wire.DEADLINE)
    assert client.read_to_end().count(b"HTTP/1.1 403") < 50_000
    assert {line["status"] for line in proxy.find_lines(event="request")} == {"403"}
    assert lab.client(proxy).get(lab.origin(OK).url()).status == 200
