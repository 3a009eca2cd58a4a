# SPDX-License-Identifier: MIT
"""Tunnels by CONNECT."""

import hashlib
import re
import threading

import pytest

import viaduct_harness
import wire
from wire import free_port, request_bytes


def echo(peer):
    """Sends back what comes, then ends."""
    while peer.fill():
        peer.send(peer.take(len(peer.buffer)))
    if peer.ended == "fin":
        peer.finish()


def test_tunnel_carries_bytes_both_ways(lab):
    proxy = lab.viaduct()
    origin = lab.origin(echo)
    client = lab.tunnel(proxy, origin)
    for size in (1, 100, 5000, 70_000):
        client.send(b"x" * size)
        assert client.read_exactly(size) == b"x" * size
    client.finish()
    client.expect_end("fin")
    line = proxy.wait_request(origin.authority)
    assert (line["method"], line["status"], line["upstream"]) == (
        "CONNECT",
        "200",
        origin.authority,
    )
    assert line["rule"] == "local" and line["route"] == "direct"


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_answer_to_connect_has_neither_length_nor_coding(lab, version):
    origin = lab.origin(echo)
    client = lab.client(lab.viaduct())
    client.send(
        f"CONNECT {origin.authority} HTTP/{version}\r\nHost: {origin.authority}\r\n\r\n".encode()
    )
    response = client.read_response(to="CONNECT")
    assert response.status == 200
    for name in ("Content-Length", "Transfer-Encoding", "Connection"):
        assert not response.has(name)
    client.send(b"hello")
    assert client.read_exactly(5) == b"hello"


@pytest.mark.parametrize("size", [1, 517, 40_000])
def test_bytes_behind_the_head_go_to_the_origin(lab, size):
    early = bytes(i % 256 for i in range(size))
    origin = lab.origin(echo)
    client = lab.client(lab.viaduct())
    client.send(request_bytes("CONNECT", origin.authority) + early)
    assert client.read_response(to="CONNECT").status == 200
    assert client.read_exactly(size) == early
    client.send(b"later")
    assert client.read_exactly(5) == b"later"


def test_origin_that_speaks_first(lab):
    def script(peer):
        peer.send(b"220 ready\r\n")
        echo(peer)

    client = lab.tunnel(lab.viaduct(), lab.origin(script))
    assert client.read_until(b"\r\n") == b"220 ready\r\n"
    client.send(b"EHLO")
    assert client.read_exactly(4) == b"EHLO"


def test_name_and_ipv6_targets(lab):
    proxy = lab.viaduct()
    origin = lab.origin(echo)
    six = lab.origin(echo, host="::1") if viaduct_harness.has_ipv6() else None
    for authority in filter(
        None, [f"localhost:{origin.port}", f"LocalHost:{origin.port}", six and six.authority]
    ):
        client = lab.client(proxy)
        client.request("CONNECT", authority)
        assert client.read_response(to="CONNECT").status == 200
        client.send(b"x")
        assert client.read_exactly(1) == b"x"


@pytest.mark.parametrize(
    "target",
    [
        "127.0.0.1",
        "127.0.0.1:",
        "127.0.0.1:0",
        "127.0.0.1:65536",
        "127.0.0.1:99999999999",
        "127.0.0.1:+80",
        "127.0.0.1:8a",
        "127.0.0.1:-1",
        ":80",
        "127.0.0.1:80/",
        "127.0.0.1:80/path",
        "127.0.0.1:80?q",
        "user@127.0.0.1:80",
        "http://127.0.0.1:80/",
        "::1:80",
        "[::1]",
        "[::1",
        "[::1]80",
        "/",
        "*",
    ],
)
def test_invalid_targets(lab, target):
    client = lab.client(lab.viaduct())
    client.request("CONNECT", target, [("Host", "h")])
    response = client.read_response()
    assert response.status == 400
    assert response.get("Connection") == "close"
    client.expect_end()


def test_200_is_sent_only_once_connected(lab):
    port = free_port()
    proxy = lab.viaduct()
    client = lab.client(proxy)
    client.request("CONNECT", f"127.0.0.1:{port}")
    response = client.read_response()
    assert response.status == 502
    assert "error=connection_refused" in response.get("Proxy-Status")
    line = proxy.wait_request(f"127.0.0.1:{port}")
    assert line["status"] == "502" and line["end"].startswith("error:")


def test_client_connection_goes_on_after_a_connect_that_failed(lab):
    client = lab.client(lab.viaduct())
    client.request("CONNECT", f"127.0.0.1:{free_port()}")
    response = client.read_response()
    if response.get("Connection") == "close":
        client.expect_end()
    else:
        assert client.get(lab.origin().url()).status == 200


def test_connect_to_the_proxy_itself_is_a_loop(lab):
    proxy = lab.viaduct()
    client = lab.client(proxy)
    client.request("CONNECT", f"127.0.0.1:{proxy.port}")
    response = client.read_response()
    assert response.status == 403 and "builtin:loop" in response.reason


def test_connect_with_a_body_is_refused_or_its_bytes_are_the_tunnels(lab):
    """There is no content in a CONNECT: a framing field there is an attempt at something."""
    origin = lab.origin(echo)
    client = lab.client(lab.viaduct())
    client.send(request_bytes("CONNECT", origin.authority, body=b"hello"))
    assert client.read_response(to="CONNECT").status == 400
    assert not origin.peers


def test_client_half_close_reaches_the_origin_and_the_rest_comes_back(lab):
    def script(peer):
        data = peer.read_to_end()
        peer.send(b"%d bytes" % len(data) + b"." * 300_000)

    proxy = lab.viaduct()
    origin = lab.origin(script)
    client = lab.tunnel(proxy, origin)
    client.send(b"x" * 200_000)
    client.finish()
    assert client.read_to_end() == b"200000 bytes" + b"." * 300_000
    assert client.ended == "fin"
    proxy.wait_request(origin.authority)


def test_origin_half_close_reaches_the_client_and_the_rest_goes_up(lab):
    received = []

    def script(peer):
        peer.send(b"bye" * 50_000)
        peer.finish()
        received.append(peer.read_to_end())

    origin = lab.origin(script)
    client = lab.tunnel(lab.viaduct(), origin)
    assert client.read_to_end() == b"bye" * 50_000
    client.send(b"y" * 200_000)
    client.finish()
    origin.join()
    assert received == [b"y" * 200_000]


@pytest.mark.parametrize("megabytes", [64])
def test_large_transfer_both_ways_at_once(lab, megabytes):
    """Much enough to be spliced; what arrives is what was sent."""
    block = hashlib.sha256(b"seed").digest() * 4096  # 128 KiB
    blocks = megabytes * 8
    sums = {}

    def pump(peer, name, mark):
        for number in range(blocks):
            peer.send(mark + b"%07d" % number + block)
        peer.finish()

    def drain(peer, name):
        digest, count = hashlib.sha256(), 0
        while peer.fill(1 << 20):
            data = peer.take(len(peer.buffer))
            digest.update(data)
            count += len(data)
        sums[name] = (count, digest.hexdigest(), peer.ended)

    def both(peer, name, mark):
        sender = threading.Thread(target=pump, args=(peer, name, mark))
        sender.start()
        drain(peer, name)
        sender.join()

    def expected(mark):
        digest = hashlib.sha256()
        for number in range(blocks):
            digest.update(mark + b"%07d" % number + block)
        return (blocks * (8 + len(block)), digest.hexdigest(), "fin")

    proxy = lab.viaduct()
    origin = lab.origin(lambda peer: both(peer, "origin", b"o"))
    client = lab.tunnel(proxy, origin)
    both(client, "client", b"c")
    origin.join()
    assert sums == {"client": expected(b"o"), "origin": expected(b"c")}
    line = proxy.wait_request(origin.authority)
    total = blocks * (8 + len(block))
    assert int(line["bytes_in"]) >= total and int(line["bytes_out"]) >= total


def test_tunnels_leave_no_pipe_behind(lab):
    """What 20 tunnels at once may need is kept for later ones; a hundred tunnels take no more."""

    def source(peer):
        peer.send(b"z" * 2_000_000)

    proxy = lab.viaduct()
    before = proxy.descriptor_count()
    for _ in range(5):
        origin = lab.origin(source)
        clients = [lab.tunnel(proxy, origin) for _ in range(20)]
        for client in clients:
            assert len(client.read_to_end()) == 2_000_000
            client.close()
        proxy.wait_request(origin.authority, count=20)
        origin.close()
        proxy.settle()
    both_ends_of_both_directions = 4
    assert proxy.descriptor_count() <= before + 20 * both_ends_of_both_directions


def test_bulk_is_spliced(lab, program, tmp_path):
    """Most of a large transfer never enters the process."""
    size = 32_000_000
    trace = tmp_path / "trace"
    strace = [program("strace"), "-D", "-f", "-qq", "-e", "trace=splice", "-o", str(trace)]
    proxy = lab.fresh("server.workers=1", wrapper=strace, release=True)
    client = lab.tunnel(proxy, lab.origin(lambda peer: peer.send(bytes(size))))
    assert len(client.read_to_end()) == size
    client.close()
    proxy.stop()
    moved = [int(count) for count in re.findall(r"splice\(.*= (\d+)$", trace.read_text(), re.M)]
    assert sum(moved) / 2 > size * 0.8, "in and out of a pipe"


def test_many_tunnels_at_once(lab):
    proxy = lab.viaduct()
    origin = lab.origin(echo)
    clients = [lab.tunnel(proxy, origin) for _ in range(100)]
    for number, client in enumerate(clients):
        client.send(b"%04d" % number)
    for number, client in enumerate(clients):
        assert client.read_exactly(4) == b"%04d" % number
        client.close()
    proxy.wait_request(origin.authority, count=100)


def test_opening_of_a_tunnel_is_logged_when_asked_for(lab):
    proxy = lab.viaduct("log.tunnels=both")
    origin = lab.origin(echo)
    client = lab.tunnel(proxy, origin)
    opening = proxy.wait_for_log(event="tunnel", target=origin.authority)
    assert opening["status"] == "200" and "end" not in opening
    assert not proxy.find_lines(event="request")
    client.close()
    assert proxy.wait_request(origin.authority)["id"] == opening["id"]


def test_log_counts_the_tunnels_bytes(lab):
    proxy = lab.viaduct()
    origin = lab.origin(echo)
    client = lab.client(proxy)
    request = request_bytes("CONNECT", origin.authority)
    client.send(request)
    response = client.read_response(to="CONNECT")
    client.send(b"x" * 12345)
    assert client.read_exactly(12345)
    client.finish()
    client.expect_end()
    line = proxy.wait_request(origin.authority)
    assert int(line["bytes_in"]) == len(request) + 12345
    assert int(line["bytes_out"]) == len(response.raw_head) + 12345


def test_connect_through_a_client_connection_that_was_used_before(lab):
    web, origin = lab.origin(), lab.origin(echo)
    client = lab.client(lab.viaduct())
    client.get(web.url())
    client.request("CONNECT", origin.authority)
    assert client.read_response(to="CONNECT").status == 200
    client.send(b"x")
    assert client.read_exactly(1) == b"x"


def test_tunnel_does_not_come_from_the_pool(lab):
    web = lab.origin(
        lambda peer: wire.answer_all(peer, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    )
    proxy = lab.viaduct()
    client = lab.client(proxy)
    client.get(web.url())
    client.request("CONNECT", web.authority)
    assert client.read_response(to="CONNECT").status == 200
    web.wait_peers(2)
    assert proxy.wait_request(web.url())["reused"] == "no"
