# SPDX-License-Identifier: MIT
"""Upgrade: relayed when the origin answers 101 to a client that asked; WebSocket by real
programs."""

import asyncio
import threading

import pytest
import websockets

import programs
import wire
from wire import request_bytes

WEBSOCKET = [
    ("Connection", "Upgrade"),
    ("Upgrade", "websocket"),
    ("Sec-WebSocket-Version", "13"),
    ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
]
SWITCH = (
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
)


def switch_and_echo(peer):
    request = peer.read_request()
    assert request.get("Upgrade") == "websocket"
    assert request.get("Connection").lower() == "upgrade"
    peer.send(SWITCH)
    while peer.fill():
        peer.send(peer.take(len(peer.buffer)))


def test_101_makes_a_tunnel(lab):
    proxy = lab.viaduct()
    origin = lab.origin(switch_and_echo)
    client = lab.client(proxy)
    response = client.get(origin.url("/ws"), WEBSOCKET)
    assert response.status == 101
    assert (
        response.get("Upgrade") == "websocket" and response.get("Connection").lower() == "upgrade"
    )
    assert response.get("Sec-WebSocket-Accept") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    for size in (1, 1000, 100_000):
        client.send(b"f" * size)
        assert client.read_exactly(size) == b"f" * size
    client.finish()
    client.expect_end("fin")
    line = proxy.wait_request(origin.url("/ws"))
    assert (line["method"], line["status"]) == ("GET", "101")


def test_bytes_in_one_segment_with_the_101_are_relayed(lab):
    def script(peer):
        peer.read_request()
        peer.send(SWITCH + b"early from the origin")
        assert peer.read_exactly(5) == b"hello"
        peer.finish()

    client = lab.client(lab.viaduct())
    origin = lab.origin(script)
    assert client.get(origin.url(), WEBSOCKET).status == 101
    assert client.read_exactly(21) == b"early from the origin"
    client.send(b"hello")
    client.expect_end("fin")
    origin.join()


def test_bytes_behind_the_upgrade_request_wait_for_the_101(lab):
    """A client may not send before the 101; if it does, nothing is lost and nothing is taken for
    a request."""
    gate = threading.Event()

    def script(peer):
        peer.read_request()
        assert gate.wait(wire.DEADLINE)
        peer.send(SWITCH)
        assert peer.read_exactly(5) == b"early"

    origin = lab.origin(script)
    client = lab.client(lab.viaduct())
    client.send(request_bytes("GET", origin.url(), WEBSOCKET) + b"early")
    gate.set()
    assert client.read_response().status == 101
    origin.join()


@pytest.mark.parametrize("fields", [[], [("Upgrade", "websocket")]])
def test_101_that_nobody_asked_for_is_a_bad_response(lab, fields):
    def script(peer):
        request = peer.read_request()
        assert not request.has("Upgrade")
        peer.send(SWITCH)
        peer.read_to_end()

    proxy = lab.viaduct()
    origin = lab.origin(script)
    client = lab.client(proxy)
    response = client.get(origin.url("/unasked"), fields)
    assert response.status == 502
    assert "error=" in response.get("Proxy-Status")
    assert proxy.wait_request(origin.url("/unasked"))["end"].startswith("error:")


def test_101_to_a_protocol_that_was_not_offered_is_a_bad_response(lab):
    origin = lab.origin(
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: other\r\n\r\n"
    )
    assert lab.client(lab.viaduct()).get(origin.url(), WEBSOCKET).status == 502


def test_upgrade_of_a_1_0_client_is_ignored(lab):
    origin = lab.origin()
    client = lab.client(lab.viaduct())
    client.request("GET", origin.url(), WEBSOCKET, version="1.0")
    assert client.read_response().status == 200
    assert not origin.requests[0].has("Upgrade")


def test_origin_that_ignores_the_upgrade(lab):
    origin = lab.origin()
    client = lab.client(lab.viaduct())
    for _ in range(2):
        assert client.get(origin.url(), WEBSOCKET).body == b"ok\n"
    assert origin.requests[0].get("Upgrade") == "websocket"


def test_h2c_is_not_passed_on(lab):
    origin = lab.origin()
    client = lab.client(lab.viaduct())
    client.get(
        origin.url(),
        [("Connection", "Upgrade, HTTP2-Settings"), ("Upgrade", "h2c"), ("HTTP2-Settings", "x")],
    )
    assert not origin.requests[0].has("Upgrade") and not origin.requests[0].has("HTTP2-Settings")
    client.get(origin.url(), [("Connection", "Upgrade"), ("Upgrade", "h2c, websocket")])
    assert origin.requests[1].get("Upgrade") == "websocket"


def test_upgrade_with_a_body(lab):
    def script(peer):
        request = peer.read_request()
        assert request.body == b"body"
        peer.send(SWITCH + b"hi")
        assert peer.read_exactly(2) == b"yo"

    origin = lab.origin(script)
    client = lab.client(lab.viaduct())
    client.request("POST", origin.url(), WEBSOCKET, body=b"body")
    assert client.read_response().status == 101
    assert client.read_exactly(2) == b"hi"
    client.send(b"yo")
    origin.join()


# --- A real client and a real server ------------------------------------------


@pytest.fixture
def websocket_server():
    server = programs.WebSocketServer()
    yield server
    server.close()


async def converse(url, sock):
    async with websockets.connect(url, sock=sock, max_size=None) as socket:
        for message in ("hello", b"\x00\xff" * 10, "x" * 100_000, "", b"y" * 1_000_000):
            await socket.send(message)
            assert await asyncio.wait_for(socket.recv(), wire.DEADLINE) == message
        await asyncio.wait_for(await socket.ping(), wire.DEADLINE)


def test_websocket_through_connect(lab, websocket_server):
    proxy = lab.viaduct()
    client = lab.client(proxy)
    authority = f"127.0.0.1:{websocket_server.port}"
    client.request("CONNECT", authority)
    assert client.read_response(to="CONNECT").status == 200
    client.sock.setblocking(False)
    asyncio.run(converse(f"ws://{authority}/", client.sock))
    assert proxy.wait_request(authority)["status"] == "200"


def test_websocket_through_upgrade(lab, websocket_server):
    """python3-websockets writes origin-form; a shim in front of it makes that absolute-form, as a
    client that is told to use a proxy for ws:// by Upgrade writes it."""
    proxy = lab.viaduct()
    authority = f"127.0.0.1:{websocket_server.port}"

    def shim(peer):
        head = peer.read_until(b"\r\n\r\n")
        upstream = lab.client(proxy)
        upstream.send(head.replace(b"GET /", f"GET http://{authority}/".encode(), 1))
        relay_back = threading.Thread(target=pass_on, args=(upstream, peer))
        relay_back.start()
        pass_on(peer, upstream)
        relay_back.join()

    front = lab.origin(shim)
    client = lab.client(("127.0.0.1", front.port))
    client.sock.setblocking(False)
    asyncio.run(converse(f"ws://{authority}/chat", client.sock))
    line = proxy.wait_request(f"http://{authority}/chat")
    assert (line["status"], line["method"]) == ("101", "GET")
    front.join()


def pass_on(source, target):
    while source.fill():
        target.send(source.take(len(source.buffer)))
    try:
        target.finish()
    except OSError:
        pass
