# SPDX-License-Identifier: MIT
"""Connections that last: on the client's side, and the pool of idle ones towards origins."""

import threading
import time

import pytest

import wire
from wire import chunked, request_bytes, response_bytes, wait_until

OK = response_bytes(body=b"ok\n")


def test_one_client_connection_carries_many_requests(lab):
    origin = lab.origin()
    client = lab.client(lab.viaduct())
    for number in range(100):
        if number % 2:
            client.request("POST", origin.url(f"/{number}"), body=b"x" * number)
        else:
            client.request("GET", origin.url(f"/{number}"))
        assert client.read_response().body == b"ok\n"
    assert len(origin.peers) == 1


def test_one_client_connection_reaches_many_origins(lab):
    origins = [lab.origin(response_bytes(body=b"%d" % number)) for number in range(5)]
    client = lab.client(lab.viaduct())
    for _ in range(3):
        for number, origin in enumerate(origins):
            assert client.get(origin.url()).body == b"%d" % number
    assert [len(origin.peers) for origin in origins] == [1] * 5


def test_client_that_wants_close_is_closed(lab):
    origin = lab.origin()
    client = lab.client(lab.viaduct())
    response = client.get(origin.url(), [("Connection", "close")])
    assert response.get("Connection") == "close"
    client.expect_end("fin")
    assert lab.client(lab.viaduct()).get(origin.url()).status == 200
    assert len(origin.peers) == 1, "the client's close is none of the origin's business"


def test_idle_client_is_closed_after_keep_alive(lab):
    proxy = lab.viaduct("timeouts.keep_alive=400ms")
    origin = lab.origin()
    client = lab.client(proxy)
    client.get(origin.url())
    begin = time.monotonic()
    client.expect_end("fin")
    assert 0.3 < time.monotonic() - begin < 5
    assert len(proxy.find_lines(event="request")) == 1


def test_pool_is_shared_between_clients(lab):
    proxy = lab.viaduct()
    origin = lab.origin()
    for number in range(5):
        assert lab.client(proxy).get(origin.url(f"/{number}")).status == 200
        line = proxy.wait_request(origin.url(f"/{number}"))
        assert line["reused"] == ("yes" if number else "no")
    assert len(origin.peers) == 1


def test_pool_key_is_host_and_port(lab):
    """The same address under another name is another origin."""
    proxy = lab.viaduct()
    origin = lab.origin()
    client = lab.client(proxy)
    client.get(f"http://127.0.0.1:{origin.port}/")
    client.get(f"http://localhost:{origin.port}/")
    client.get(f"http://LOCALHOST:{origin.port}/")
    client.get(f"http://127.0.0.1:{origin.port}/")
    assert len(origin.peers) == 2


def test_clients_at_once_get_a_connection_each(lab):
    gate = threading.Event()

    def script(peer):
        while peer.read_request() is not None:
            assert gate.wait(wire.DEADLINE)
            peer.send(OK)

    origin = lab.origin(script)
    proxy = lab.viaduct()
    clients = [lab.client(proxy) for _ in range(8)]
    for client in clients:
        client.request("GET", origin.url())
    origin.wait_requests(8)
    gate.set()
    assert all(client.read_response().status == 200 for client in clients)
    assert len(origin.peers) == 8


def read_one_then_close(answer, how):
    """A script: the first connection answers once, and ends when the second request has come; all
    later ones answer everything."""

    def script(peer):
        if peer is not peer.origin.peers[0]:
            wire.answer_all(peer, answer)
            return
        peer.read_request()
        peer.send(answer)
        peer.read_head()
        if how == "reset":
            peer.reset()

    return script


@pytest.mark.parametrize("how", ["fin", "reset"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "PUT", "DELETE"])
def test_stale_connection_is_replaced_unseen(lab, method, how):
    """The pooled connection dies under the second request, which may be sent again (RFC 9110
    9.2.2)."""
    origin = lab.origin(read_one_then_close(OK if method != "HEAD" else response_bytes(), how))
    client = lab.client(lab.viaduct())
    for _ in range(2):
        client.request(method, origin.url())
        assert client.read_response(to=method).status == 200
    assert len(origin.peers) == 2


def test_get_is_sent_again_only_once(lab):
    """A new connection that ends at once is no stale one."""

    def script(peer):
        first = peer is peer.origin.peers[0]
        if peer.read_request() is not None and first:
            peer.send(OK)
            peer.read_head()

    origin = lab.origin(script)
    client = lab.client(lab.viaduct())
    assert client.get(origin.url()).status == 200
    assert client.get(origin.url()).status == 502
    assert len(origin.peers) == 2


def test_post_is_never_sent_twice(lab):
    origin = lab.origin(read_one_then_close(OK, "fin"))
    proxy = lab.viaduct()
    client = lab.client(proxy)
    client.get(origin.url())
    client.request("POST", origin.url("/post"), body=b"once")
    assert client.read_response().status == 502
    assert len(origin.peers) == 1
    assert proxy.wait_request(origin.url("/post"))["reused"] == "yes"


def test_get_is_not_sent_again_once_the_response_has_begun(lab):
    def script(peer):
        if peer is peer.origin.peers[0]:
            peer.read_request()
            peer.send(OK)
            peer.read_request()
            peer.send(b"HTTP/1.1 200 O")
        else:
            wire.answer_all(peer, OK)

    origin = lab.origin(script)
    client = lab.client(lab.viaduct())
    assert client.get(origin.url()).status == 200
    assert client.get(origin.url()).status == 502
    assert len(origin.peers) == 1


def test_post_avoids_old_connections(lab):
    """One used within the last second will do, an older one will not."""
    proxy = lab.viaduct()
    origin = lab.origin()
    client = lab.client(proxy)
    client.request("POST", origin.url("/1"), body=b"x")
    client.read_response()
    client.request("POST", origin.url("/2"), body=b"x")
    client.read_response()
    assert len(origin.peers) == 1
    used = time.monotonic()
    wait_until(lambda: time.monotonic() - used > 1.2, "the connection to be old")
    client.request("POST", origin.url("/3"), body=b"x")
    client.read_response()
    assert len(origin.peers) == 2
    assert proxy.wait_request(origin.url("/2"))["reused"] == "yes"
    assert proxy.wait_request(origin.url("/3"))["reused"] == "no"


def test_post_does_not_take_a_connection_that_the_origin_has_closed(lab):
    def script(peer):
        peer.read_request()
        peer.send(OK)

    proxy = lab.viaduct()
    origin = lab.origin(script)
    client = lab.client(proxy)
    for number in range(10):
        client.request("POST", origin.url(f"/{number}"), body=b"x")
        assert client.read_response().status == 200
        origin.join()
    assert len(origin.peers) == 10


def test_origins_close_is_honoured(lab):
    def script(peer):
        peer.read_request()
        peer.send(response_bytes(fields=[("Connection", "close")], body=b"ok"))
        assert peer.read_request() is None, "the connection was used again"

    origin = lab.origin(script)
    client = lab.client(lab.viaduct())
    for _ in range(3):
        response = client.get(origin.url())
        assert response.status == 200 and not response.has("Connection")
    assert len(origin.peers) == 3


@pytest.mark.parametrize("fields, connections", [([], 2), ([("Connection", "keep-alive")], 1)])
def test_1_0_origin_is_kept_only_when_it_says_so(lab, fields, connections):
    origin = lab.origin(response_bytes(fields=fields, body=b"ok", version="1.0"))
    client = lab.client(lab.viaduct())
    for _ in range(2):
        assert client.get(origin.url()).body == b"ok"
    assert len(origin.peers) == connections


def test_origins_keep_alive_timeout_shortens_the_pool(lab):
    """timeout=2 means one second; timeout=1 none at all."""

    def script(peer):
        while (request := peer.read_request()) is not None:
            peer.send(
                response_bytes(
                    fields=[
                        ("Connection", "keep-alive"),
                        ("Keep-Alive", f"timeout={request.target[1:]}"),
                    ]
                )
            )

    client = lab.client(lab.viaduct())
    origin = lab.origin(script)
    client.get(origin.url("/2"))
    begin = time.monotonic()
    origin.join()
    assert 0.5 < time.monotonic() - begin < 5
    origin = lab.origin(script)
    client.get(origin.url("/1"))
    begin = time.monotonic()
    origin.join()
    assert time.monotonic() - begin < 0.9


def test_idle_connection_is_closed_after_pool_idle(lab):
    origin = lab.origin()
    client = lab.client(lab.viaduct("pool.idle=300ms"))
    client.get(origin.url())
    begin = time.monotonic()
    origin.join()
    assert 0.2 < time.monotonic() - begin < 5


def test_no_pool_when_none_may_be_kept(lab):
    origin = lab.origin()
    client = lab.client(lab.viaduct("pool.idle_per_host=0"))
    for _ in range(3):
        client.get(origin.url())
    assert len(origin.peers) == 3


def use_at_once(lab, proxy, origin, gate, count):
    """count requests at the same time, so that count connections become idle."""
    clients = [lab.client(proxy) for _ in range(count)]
    before = len(origin.requests)
    for client in clients:
        client.request("GET", origin.url())
    origin.wait_requests(before + count)
    gate.set()
    for client in clients:
        assert client.read_response().status == 200


def test_pool_limit_per_host(lab):
    gate, ended = threading.Event(), []

    def script(peer):
        while peer.read_request() is not None:
            assert gate.wait(wire.DEADLINE)
            peer.send(OK)
        ended.append(peer)

    proxy = lab.viaduct("pool.idle_per_host=3")
    origin = lab.origin(script)
    use_at_once(lab, proxy, origin, gate, 8)
    wait_until(lambda: len(ended) == 5, "five of eight connections to be closed")
    for _ in range(3):
        assert lab.client(proxy).get(origin.url()).status == 200
    assert len(ended) == 5 and len(origin.peers) == 8


def test_pool_limit_in_all(lab):
    proxy = lab.viaduct("pool.idle_total=4")
    ended = []

    def script(peer):
        wire.answer_all(peer, OK)
        ended.append(peer)

    origins = [lab.origin(script) for _ in range(7)]
    client = lab.client(proxy)
    for origin in origins:
        assert client.get(origin.url()).status == 200
    wait_until(lambda: len(ended) == 3, "three connections to be closed")
    assert {peer.origin for peer in ended} == set(origins[:3]), "the longest idle go first"


@pytest.mark.parametrize("surplus", [b"x", b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison"])
@pytest.mark.parametrize("framing", ["length", "chunked", "none"])
def test_surplus_bytes_never_reach_another_request(lab, framing, surplus):
    """RFC 9112 6.3: bytes behind a complete response are thrown away with their connection."""

    def script(peer):
        first = peer is peer.origin.peers[0]
        while peer.read_request() is not None:
            if framing == "none":
                answer = b"HTTP/1.1 204 No Content\r\n\r\n"
            else:
                answer = response_bytes(body=b"clean", framing=framing)
            peer.send(answer + (surplus if first else b""))

    origin = lab.origin(script)
    proxy = lab.viaduct()
    for _ in range(3):
        response = lab.client(proxy).get(origin.url())
        assert response.status in (200, 204) and response.body in (b"clean", b"")
    assert len(origin.peers) == 2


def test_bytes_that_come_while_idle_close_the_connection(lab):
    def script(peer):
        first = peer is peer.origin.peers[0]
        while peer.read_request() is not None:
            peer.send(OK)
            if first:
                peer.wait_acknowledged()
                read.wait(wire.DEADLINE)
                peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison")

    read = threading.Event()
    origin = lab.origin(script)
    client = lab.client(lab.viaduct())
    assert client.get(origin.url()).body == b"ok\n"
    read.set()
    origin.join()  # its connection was closed
    assert client.get(origin.url()).body == b"ok\n"
    assert len(origin.peers) == 2


def test_connection_whose_request_was_not_sent_whole_is_not_used_again(lab):
    def script(peer):
        if peer is peer.origin.peers[0]:
            peer.read_head()
            peer.send(response_bytes("403 No", body=b"no"))
            peer.read_to_end()
        else:
            wire.answer_all(peer, OK)

    origin = lab.origin(script)
    proxy = lab.viaduct()
    client = lab.client(proxy)
    client.send(request_bytes("PUT", origin.url(), [("Content-Length", "100000")]) + b"x" * 10)
    assert client.read_response().status == 403
    assert lab.client(proxy).get(origin.url()).body == b"ok\n"
    assert len(origin.peers) == 2


def test_rest_of_a_refused_upload_does_not_become_a_request(lab):
    """The body of a request that was answered early is read on and thrown away, or the connection
    ends."""
    origin = lab.origin()
    client = lab.client(lab.viaduct())
    smuggled = request_bytes("GET", origin.url("/smuggled"))
    client.send(request_bytes("POST", "ftp://host/", body=smuggled))
    assert client.read_response().status == 501
    try:
        client.send(request_bytes("GET", origin.url("/next")))
        response = client.read_response()
        assert response.status == 200
    except (EOFError, OSError):
        pass
    assert "/smuggled" not in [request.target for request in origin.requests]


def test_request_after_a_chunked_upload(lab):
    origin = lab.origin()
    client = lab.client(lab.viaduct())
    client.send(
        request_bytes("POST", origin.url("/1"), [("Transfer-Encoding", "chunked")])
        + chunked(b"a" * 70000, b"b")
        + request_bytes("GET", origin.url("/2"))
    )
    assert client.read_response().status == 200
    assert client.read_response().status == 200
    assert [request.target for request in origin.requests] == ["/1", "/2"]
