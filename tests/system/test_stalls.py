# SPDX-License-Identifier: MIT
"""Peers that stall, trickle, half-close and reset, on either side: what the client gets, what the
log says, and that no descriptor is left (the lab counts them after every test)."""

import socket
import threading
from dataclasses import dataclass
from typing import Callable

import pytest

import wire
from wire import chunked, request_bytes, response_bytes, wait_until

HASTY = (
    "timeouts.header=500ms",
    "timeouts.response=500ms",
    "timeouts.idle=500ms",
    "timeouts.tunnel_idle=500ms",
    "timeouts.keep_alive=30s",
)

BODY = b"the body of it"


@dataclass
class Case:
    """client(client, origin) and origin(peer) play their parts; then there is one line in the log
    with this status and end. hasty: with time limits that a stall soon meets."""

    client: Callable
    status: str
    end: str
    origin: Callable = None
    hasty: bool = False


def play(lab, case):
    proxy = lab.viaduct(*(HASTY if case.hasty else ()))
    origin = lab.origin(
        case.origin or (lambda peer: wire.answer_all(peer, response_bytes(body=BODY)))
    )
    origin.half_closed = threading.Event()
    client = lab.client(proxy)
    case.client(client, origin)
    line = proxy.wait_for_log(event="request")
    assert (line["status"], line["end"]) == (case.status, case.end), line["raw"]
    assert len(proxy.find_lines(event="request")) == 1


# --- What clients do ----------------------------------------------------------


def trickle_head(client, origin):
    client.trickle(request_bytes("GET", origin.url()))
    assert client.read_response().body == BODY


def trickle_body(client, origin):
    client.send(request_bytes("PUT", origin.url(), [("Content-Length", "14")]))
    client.trickle(BODY)
    assert client.read_response().body == BODY
    assert origin.requests[0].body == BODY


def trickle_chunks(client, origin):
    client.trickle(
        request_bytes("PUT", origin.url(), [("Transfer-Encoding", "chunked")])
        + chunked(BODY[:3], BODY[3:], trailers=[("X-T", "1")])
    )
    assert client.read_response().body == BODY
    assert origin.requests[0].body == BODY and origin.requests[0].trailers == [("X-T", "1")]


def stall_in_head(client, origin):
    client.send(b"GET http://x/ HTTP/1.1\r\nHo")
    response = client.read_response()
    assert response.status == 408 and response.get("Connection") == "close"
    client.expect_end()


def trickle_too_slowly(client, origin):
    """Bytes keep coming, and do not restart timeouts.header."""
    client.send(b"GET http://x/ HTTP/1.1\r\nX: ")

    def one_more():
        try:
            client.send(b"x")
        except OSError:
            return True
        return not client.is_silent(0.05)

    wait_until(one_more, "an answer")
    assert client.read_response().status == 408


def end_in_head(client, origin):
    client.send(b"GET http://x/ HTTP/1.1\r\nHo")
    client.finish()
    client.read_to_end()


def reset_in_head(client, origin):
    client.send(b"GET http://x/ HTTP/1.1\r\nHo")
    client.wait_acknowledged()
    client.reset()


def stall_in_body(client, origin):
    client.send(request_bytes("PUT", origin.url(), [("Content-Length", "14")]) + BODY[:7])
    client.read_to_end()


def end_in_body(client, origin):
    client.send(request_bytes("PUT", origin.url(), [("Content-Length", "14")]) + BODY[:7])
    origin.wait_peers(1)
    client.finish()
    client.read_to_end()


def reset_in_body(client, origin):
    client.send(request_bytes("PUT", origin.url(), [("Content-Length", "14")]) + BODY[:7])
    origin.wait_peers(1)
    client.wait_acknowledged()
    client.reset()


def half_close_at_once(client, origin):
    """Request and FIN in one segment: this client waits for its answer."""
    client.send_with_fin(request_bytes("GET", origin.url()))
    assert client.read_response().body == BODY
    client.expect_end("fin")


def half_close_later(client, origin):
    client.request("GET", origin.url())
    origin.wait_requests(1)
    client.finish()
    client.wait_acknowledged()
    origin.half_closed.set()
    assert client.read_response().body == BODY
    client.expect_end("fin")


def answer_when_half_closed(peer):
    peer.read_request()
    assert peer.origin.half_closed.wait(wire.DEADLINE)
    peer.send(response_bytes(body=BODY))


def read_nothing(client, origin):
    """The client stops reading; the response is more than all buffers take."""
    client.request("GET", origin.url())
    client.read_response_head()


def cut_body(peer):
    """An origin that takes what comes and must not take it for whole."""
    request = peer.read_head()
    if request is not None:
        peer.read_body(request, "length", may_be_cut=True)
        assert request.cut


def endless(peer):
    peer.read_request()
    try:
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 64000000\r\n\r\n")
        for _ in range(1000):
            peer.send(b"x" * 64_000)
    except OSError:
        pass


CLIENTS = {
    "trickles a head": Case(trickle_head, "200", "complete"),
    "trickles a body": Case(trickle_body, "200", "complete"),
    "trickles chunks": Case(trickle_chunks, "200", "complete"),
    "stalls in a head": Case(stall_in_head, "408", "timeout:header", hasty=True),
    "trickles a head too slowly": Case(trickle_too_slowly, "408", "timeout:header", hasty=True),
    "ends in a head": Case(end_in_head, "-", "client-closed"),
    "resets in a head": Case(reset_in_head, "-", "client-closed"),
    "stalls in a body": Case(stall_in_body, "504", "timeout:idle", cut_body, hasty=True),
    "ends in a body": Case(end_in_body, "-", "client-closed", cut_body),
    "resets in a body": Case(reset_in_body, "-", "client-closed", cut_body),
    "half-closes with its request": Case(half_close_at_once, "200", "complete"),
    "half-closes and waits": Case(half_close_later, "200", "complete", answer_when_half_closed),
    "stops reading": Case(read_nothing, "200", "timeout:idle", endless, hasty=True),
}


@pytest.mark.parametrize("name", CLIENTS)
def test_client(lab, name):
    play(lab, CLIENTS[name])


def test_client_that_connects_and_says_nothing(lab):
    """Closed after timeouts.header, without an answer and without a line."""
    proxy = lab.viaduct(*HASTY)
    client = lab.client(proxy)
    client.expect_end("fin")
    client.close()
    other = lab.client(proxy)
    other.get("ftp://marker/")
    proxy.wait_request("ftp://marker/")
    assert len(proxy.find_lines(event="request")) == 1


@pytest.mark.parametrize("how", ["finish", "reset", "close"])
def test_client_that_connects_and_goes(lab, how):
    proxy = lab.viaduct()
    client = lab.client(proxy)
    getattr(client, how)()
    if how == "finish":
        client.expect_end("fin")
    proxy.settle()
    assert not proxy.find_lines(event="request")


@pytest.mark.parametrize("how", ["finish", "reset", "close"])
def test_client_that_goes_between_requests(lab, how):
    proxy = lab.viaduct()
    origin = lab.origin()
    client = lab.client(proxy)
    client.get(origin.url())
    getattr(client, how)()
    if how == "finish":
        client.expect_end("fin")
    assert proxy.wait_request(origin.url())["end"] == "complete"
    assert len(proxy.find_lines(event="request")) == 1


def test_client_that_half_closes_behind_pipelined_requests(lab):
    """All that had come before the FIN is answered."""
    origin = lab.origin()
    client = lab.client(lab.viaduct())
    client.send_with_fin(b"".join(request_bytes("GET", origin.url(f"/{n}")) for n in range(3)))
    for _ in range(3):
        assert client.read_response().status == 200
    client.expect_end("fin")


# --- What origins do ----------------------------------------------------------

FRAMINGS = ["length", "chunked", "close"]


def answer_in(write, framing, version="1.1"):
    def script(peer):
        peer.read_request()
        write(peer, response_bytes(body=BODY, framing=framing, version=version))

    return script


def in_one_segment(peer, data):
    peer.send_with_fin(data)
    peer.read_to_end()


def in_two_segments(peer, data):
    """The FIN alone, once the response is with the proxy."""
    peer.send(data)
    peer.wait_acknowledged()
    peer.finish()
    peer.read_to_end()


def fin_once_the_client_has_it(peer, data):
    """The FIN alone, once the client has read the response."""
    peer.send(data)
    assert peer.origin.client_has_it.wait(wire.DEADLINE)
    peer.finish()
    peer.read_to_end()


def head_then_body_with_fin(peer, data):
    end = data.index(b"\r\n\r\n") + 4
    peer.send_pieces(data[:end])
    in_one_segment(peer, data[end:])


def trickled(peer, data):
    peer.trickle(data)
    peer.finish()
    peer.read_to_end()


def closed_at_once(peer, data):
    peer.send(data)


WRITERS = [
    in_one_segment,
    in_two_segments,
    fin_once_the_client_has_it,
    head_then_body_with_fin,
    trickled,
    closed_at_once,
]


@pytest.mark.parametrize("client_version", ["1.1", "1.0"])
@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("write", WRITERS)
def test_response_and_fin(lab, write, framing, client_version):
    """However a response and the end of its connection reach the proxy, the client gets all of it
    and its end."""
    proxy = lab.viaduct()
    origin = lab.origin(answer_in(write, framing))
    origin.client_has_it = threading.Event()
    client = lab.client(proxy)
    client.request("GET", origin.url("/fin"), version=client_version)
    response = client.read_response_head()
    got = (
        "chunked"
        if response.has("Transfer-Encoding")
        else "length"
        if response.has("Content-Length")
        else "close"
    )
    if framing == "close":
        assert client.buffer or client.fill()  # what has come is passed on without the end
    elif got != "close":
        client.read_body(response, got)
    origin.client_has_it.set()
    if not response.body:
        client.read_body(response, got)
    assert response.body == BODY
    if client_version == "1.0":
        client.expect_end("fin")
    line = proxy.wait_request(origin.url("/fin"))
    assert (line["status"], line["end"]) == ("200", "complete")
    origin.join()


def stall(sent):
    def script(peer):
        peer.read_head()
        peer.send(sent)
        peer.read_to_end()

    return script


def reset_after(sent):
    def script(peer):
        peer.read_request()
        peer.send(sent)
        if sent:
            peer.wait_acknowledged()
            assert peer.origin.client_has_it.wait(wire.DEADLINE)
        peer.reset()

    return script


HALF = {
    "length": b"HTTP/1.1 200 OK\r\nContent-Length: 14\r\n\r\nthe body",
    "chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n8\r\nthe body\r\n",
    "close": b"HTTP/1.1 200 OK\r\n\r\nthe body",
}


@pytest.mark.parametrize("framing", FRAMINGS)
def test_origin_that_stalls_in_the_body(lab, framing):
    proxy = lab.viaduct(*HASTY)
    origin = lab.origin(stall(HALF[framing]))
    client = lab.client(proxy)
    client.request("GET", origin.url("/stall"))
    response = client.read_response(may_be_cut=True)
    assert response.status == 200 and response.cut and response.body == b"the body"
    line = proxy.wait_request(origin.url("/stall"))
    assert (line["status"], line["end"]) == ("200", "timeout:idle")
    origin.join()


@pytest.mark.parametrize("framing", FRAMINGS)
def test_origin_that_resets_in_the_body(lab, framing):
    proxy = lab.viaduct()
    origin = lab.origin(reset_after(HALF[framing]))
    origin.client_has_it = threading.Event()
    client = lab.client(proxy)
    client.request("GET", origin.url("/reset"))
    response = client.read_response_head()
    origin.client_has_it.set()
    client.read_body(
        response,
        "length"
        if response.has("Content-Length")
        else "chunked"
        if response.has("Transfer-Encoding")
        else "close",
        may_be_cut=True,
    )
    assert response.cut
    line = proxy.wait_request(origin.url("/reset"))
    assert (line["status"], line["end"]) == ("200", "truncated")


def test_origin_that_stops_taking_an_upload(lab):
    def script(peer):
        peer.read_head()
        assert peer.origin.over.wait(wire.DEADLINE)

    proxy = lab.viaduct(*HASTY)
    origin = lab.origin(script)
    origin.over = threading.Event()
    upload = request_bytes("PUT", origin.url("/upload"), body=b"x" * 64_000_000)
    client = lab.client(proxy)  # who is not given long for its head
    sender = threading.Thread(target=send_until_closed, args=(client, upload))
    sender.start()
    line = proxy.wait_request(origin.url("/upload"))
    assert (line["status"], line["end"]) == ("504", "timeout:idle")
    origin.over.set()
    sender.join(wire.DEADLINE)


def send_until_closed(peer, data):
    try:
        peer.send(data)
    except OSError:
        pass


@pytest.mark.parametrize("how", ["reset", "close"])
def test_origin_that_goes_during_an_upload(lab, how):
    def script(peer):
        peer.read_head()
        peer.read_exactly(1000)
        getattr(peer, how)()

    proxy = lab.viaduct()
    origin = lab.origin(script)
    client = lab.client(proxy)
    sender = threading.Thread(
        target=send_until_closed,
        args=(client, request_bytes("PUT", origin.url("/upload"), body=b"x" * 3_000_000)),
    )
    sender.start()
    assert client.read_response().status == 502
    line = proxy.wait_request(origin.url("/upload"))
    assert (line["status"], line["end"]) == ("502", "error:upstream-reset")
    client.close()
    sender.join(wire.DEADLINE)


def test_whole_exchange_has_a_limit_when_asked_for(lab):
    proxy = lab.viaduct("timeouts.exchange=600ms")
    stop = threading.Event()

    def drip(peer):
        peer.read_request()
        peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while not stop.wait(0.05):
            peer.send(b"1\r\nx\r\n")

    origin = lab.origin(lambda peer: ignore_errors(drip, peer))
    client = lab.client(proxy)
    client.request("GET", origin.url("/drip"))
    assert client.read_response(may_be_cut=True).cut
    assert proxy.wait_request(origin.url("/drip"))["end"] == "timeout:exchange"
    stop.set()


def ignore_errors(script, peer):
    try:
        script(peer)
    except OSError:
        pass


# --- The same in tunnels ------------------------------------------------------

SIDES = ["client", "origin"]


def tunnel_ends(lab, *options):
    """A tunnel with both of its ends in our hand: (proxy, client, origin's peer, origin)."""
    proxy = lab.viaduct(*options)
    over = threading.Event()
    origin = lab.origin(lambda peer: over.wait(wire.DEADLINE))
    client = lab.tunnel(proxy, origin)
    peer = origin.wait_peers(1)[0]
    lab.at_end(over.set)
    return proxy, client, peer, origin


def sides_of(side, client, peer):
    return (client, peer) if side == "client" else (peer, client)


@pytest.mark.parametrize("size", [1, 5000, 300_000])
@pytest.mark.parametrize("write", ["one segment", "two segments", "after it was read"])
@pytest.mark.parametrize("side", SIDES)
def test_tunnel_bytes_and_fin(lab, side, write, size):
    """Bytes and FIN of either side arrive at the other; then the other direction ends in its own
    time."""
    proxy, client, peer, origin = tunnel_ends(lab)
    near, far = sides_of(side, client, peer)
    data = bytes(i % 256 for i in range(size))

    def send():
        if write == "one segment":
            near.send_with_fin(data)
            return
        near.send(data)
        if write == "two segments":
            near.wait_acknowledged()
            near.finish()

    sender = threading.Thread(target=send)
    sender.start()
    assert far.read_exactly(size) == data
    sender.join()
    if write == "after it was read":
        near.finish()
    far.expect_end("fin")
    assert near.is_silent(0.05), "the other direction was ended too"
    far.send_with_fin(b"and back")
    assert near.read_to_end() == b"and back" and near.ended == "fin"
    line = proxy.wait_request(origin.authority)
    assert (line["status"], line["end"]) == ("200", "complete")


@pytest.mark.parametrize("side", SIDES)
def test_tunnel_trickle(lab, side):
    proxy, client, peer, origin = tunnel_ends(lab)
    near, far = sides_of(side, client, peer)
    sender = threading.Thread(target=near.trickle, args=(b"abcdefgh" * 20,))
    sender.start()
    assert far.read_exactly(160) == b"abcdefgh" * 20
    sender.join()
    client.close()
    peer.read_to_end()
    peer.close()
    assert proxy.wait_request(origin.authority)["status"] == "200"


@pytest.mark.parametrize("side", SIDES)
def test_tunnel_reset(lab, side):
    """A reset of one side is one for the other: what was cut is not taken for finished."""
    proxy, client, peer, origin = tunnel_ends(lab)
    near, far = sides_of(side, client, peer)
    near.send(b"hello")
    assert far.read_exactly(5) == b"hello"
    near.reset()
    far.expect_end("reset")
    line = proxy.wait_request(origin.authority)
    assert (line["status"], line["end"]) == (
        "200",
        f"{'client' if side == 'client' else 'upstream'}-closed",
    )


@pytest.mark.parametrize("side", SIDES)
def test_tunnel_reset_with_bytes_that_nobody_reads(lab, side):
    """The other side's buffers are full, and it reads nothing: the reset must be seen all the
    same."""
    proxy, client, peer, origin = tunnel_ends(lab)
    near, far = sides_of(side, client, peer)
    send_until_full(near)
    near.reset()
    assert (
        proxy.wait_request(origin.authority)["end"]
        == f"{'client' if side == 'client' else 'upstream'}-closed"
    )
    far.read_to_end()
    assert far.ended == "reset"


def send_until_full(peer):
    """Counted bytes, until nobody takes any more; returns them."""
    data = bytes(range(251)) * 600
    sent = 0
    peer.sock.settimeout(0.3)
    with pytest.raises(socket.timeout):
        while True:
            sent += peer.sock.send(data[sent % 251 : 65536])
    peer.sock.settimeout(wire.DEADLINE)
    return (data * (sent // len(data) + 1))[:sent]


def test_tunnel_ends_with_bytes_in_its_pipes(lab):
    """Both directions stand full, and both sides have ended theirs: all of it arrives, then FIN."""
    proxy, client, peer, origin = tunnel_ends(lab)
    sent = {}
    for near in (client, peer):
        sent[near] = send_until_full(near)
        near.finish()
    assert sum(link.startswith("pipe:") for link in proxy.links()) >= 4, "it was not spliced"
    got = {}

    def read(far):
        got[far] = far.read_to_end()

    readers = [threading.Thread(target=read, args=(far,)) for far in (client, peer)]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join(wire.DEADLINE)
    assert got[peer] == sent[client] and got[client] == sent[peer]
    assert client.ended == peer.ended == "fin"
    assert proxy.wait_request(origin.authority)["end"] == "complete"


def test_tunnel_stall(lab):
    proxy, client, peer, origin = tunnel_ends(lab, *HASTY)
    client.read_to_end()
    peer.read_to_end()
    line = proxy.wait_request(origin.authority)
    assert (line["status"], line["end"]) == ("200", "timeout:tunnel_idle")


@pytest.mark.parametrize("side", SIDES)
def test_tunnel_stall_with_one_direction_ended(lab, side):
    """Then timeouts.idle counts, not timeouts.tunnel_idle."""
    proxy, client, peer, origin = tunnel_ends(lab, "timeouts.idle=500ms")
    near, far = sides_of(side, client, peer)
    near.finish()
    far.expect_end("fin")
    near.read_to_end()
    line = proxy.wait_request(origin.authority)
    assert (line["status"], line["end"]) == ("200", "timeout:idle")


def test_tunnel_has_a_limit_when_asked_for(lab):
    proxy, client, _, origin = tunnel_ends(lab, "timeouts.tunnel=500ms")

    def ping():
        try:
            client.send(b"x")
        except OSError:
            return True
        return bool(proxy.find_lines(event="request"))

    wait_until(ping, "the tunnel to be cut")
    assert proxy.wait_request(origin.authority)["end"] == "timeout:tunnel"
