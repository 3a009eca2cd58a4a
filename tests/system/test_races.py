# SPDX-License-Identifier: MIT
"""Orders of events that one must arrange to see: what comes together in one look of the proxy at its
sockets, and what comes too late."""

import select
import socket
import time

import pytest

import wire
from dns_server import DnsServer, Reply
from wire import request_bytes, response_bytes, wait_until


def test_bytes_behind_a_refused_connect_are_no_request(lab):
    """They were meant for the tunnel."""
    origin = lab.origin()
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        dead = f"127.0.0.1:{closed.getsockname()[1]}"
        client = lab.client(lab.viaduct())
        client.send(request_bytes("CONNECT", dead) + request_bytes("GET", origin.url("/smuggled")))
        response = client.read_response(to="CONNECT")
    assert response.status == 502 and response.get("Connection") == "close"
    client.read_to_end()
    assert not origin.peers


def is_taken(sock):
    """The attempt succeeds; one that a full queue drops is silent (and made again after 1 s)."""
    return bool(select.select([], [sock], [], 0.3)[1])


def test_late_address_is_dialled_beside_one_that_is_silent(lab):
    """A answers first with an address that drops what asks; AAAA comes after that attempt's 250 ms."""
    fillers = []
    with socket.socket() as deaf, socket.socket(socket.AF_INET6) as served, DnsServer() as dns:
        deaf.bind(("127.0.0.2", 0))
        deaf.listen(0)
        port = deaf.getsockname()[1]
        served.bind(("::1", port))
        served.listen()
        served.settimeout(wire.DEADLINE)
        while not fillers or is_taken(fillers[-1]):
            assert len(fillers) < 100, "the queue is never full"
            fillers.append(socket.socket())
            fillers[-1].setblocking(False)
            fillers[-1].connect_ex(("127.0.0.2", port))
        dns.add("two.test", a=["127.0.0.2"], aaaa=Reply(["::1"], delay=0.6))
        proxy = lab.fresh(f"dns.servers={dns.address}", "timeouts.connect=30s")
        client = lab.client(proxy)
        begin = time.monotonic()
        client.request("GET", f"http://two.test:{port}/")
        sock, _ = served.accept()
        assert time.monotonic() - begin < 10
        with sock:
            sock.sendall(response_bytes())
            assert client.read_response().status == 200
    for filler in fillers:
        filler.close()


def test_last_words_of_an_origin_reach_a_client_that_still_writes(lab):
    """Writing to the origin fails, but what it sent before lies unread."""
    proxy = lab.fresh("server.workers=1")
    words = 3 * b"the last words "
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        listener.settimeout(wire.DEADLINE)
        client = lab.client(proxy)
        client.request("CONNECT", f"127.0.0.1:{listener.getsockname()[1]}")
        origin, _ = listener.accept()
        assert client.read_response(to="CONNECT").status == 200
        with proxy.stopped():
            client.send(b"x" * 100_000)
            origin.sendall(words)
            origin.close()
    assert client.read_exactly(len(words)) == words


@pytest.mark.parametrize("interim", [b"", b"HTTP/1.1 103 Early Hints\r\n\r\n"], ids=["none", "interim"])
def test_request_is_not_sent_again_once_anything_was_answered(lab, interim):
    """A pooled connection that dies silent: once more. One that has begun to answer: 502."""

    def script(peer):
        if len(origin.peers) == 1:
            peer.read_request()
            peer.send(response_bytes())
            peer.read_request()
            peer.send(interim)
            if interim:
                peer.wait_acknowledged()
        else:
            peer.read_request()
            peer.send(response_bytes())

    origin = lab.origin(script)
    proxy = lab.fresh("server.workers=1")
    client = lab.client(proxy)
    assert client.get(origin.url()).status == 200
    client.request("GET", origin.url("/again"))
    assert client.read_response().status == (502 if interim else 200)
    wait_until(lambda: len(origin.peers) == (1 if interim else 2), "the origin to be asked")
