# SPDX-License-Identifier: MIT
"""Out of connections or descriptors: what is idle goes first, then clients wait, then all goes
on. Never a spin, never a hang."""

import time

import pytest

import wire
from wire import wait_until

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def cpu_use(daemon, seconds=1.0):
    """The share of a CPU that it takes while nothing should happen."""
    begin, used = time.monotonic(), daemon.cpu_seconds()
    wait_until(lambda: time.monotonic() - begin >= seconds, "the time to pass")
    return (daemon.cpu_seconds() - used) / (time.monotonic() - begin)


def test_more_clients_than_max_connections_wait_their_turn(lab):
    proxy = lab.fresh("server.max_connections=10", "server.workers=1")
    origin = lab.origin(ANSWER)
    clients = [lab.client(proxy) for _ in range(60)]
    for client in clients:
        client.request("GET", origin.url(), [("Connection", "close")])
    for client in clients:
        assert client.read_response().status == 200
        client.expect_end()


def test_clients_beyond_max_connections_wait_in_the_backlog_without_a_spin(lab):
    proxy = lab.fresh("server.max_connections=10", "server.workers=1")
    origin = lab.gated_origin()
    busy = [lab.client(proxy) for _ in range(10)]
    for client in busy:
        client.request("GET", origin.url("/busy"))
    origin.wait_requests(10)
    late = [lab.client(proxy) for _ in range(5)]
    for client in late:
        client.request("GET", origin.url("/late"))
    assert cpu_use(proxy) < 0.2, "it spins"
    assert len(origin.requests) == 10
    busy[0].close()
    origin.wait_requests(11)
    origin.gate.set()
    for client in busy[1:] + late:
        assert client.read_response().status == 200
        client.close()


def test_the_longest_idle_client_makes_room(lab):
    proxy = lab.fresh("server.max_connections=5", "server.workers=1")
    origin = lab.origin(ANSWER)
    idle = [lab.client(proxy) for _ in range(5)]
    for client in idle:
        assert client.get(origin.url()).status == 200
    assert idle[0].get(origin.url()).status == 200  # no longer the longest idle
    late = lab.client(proxy)
    assert late.get(origin.url()).status == 200
    idle[1].expect_end("fin")
    for client in (idle[0], idle[2], idle[3], idle[4], late):
        assert client.get(origin.url()).status == 200, "another one was closed"


def test_idle_clients_of_every_worker_make_room(lab):
    proxy = lab.fresh("server.max_connections=8", "server.workers=2")
    origin = lab.origin(ANSWER)
    for _ in range(50):
        assert lab.client(proxy).get(origin.url()).status == 200


def test_limit_per_client_address(lab):
    proxy = lab.fresh("server.max_connections_per_client=3")
    origin = lab.origin(ANSWER)
    first = [lab.client(proxy) for _ in range(3)]
    for client in first:
        assert client.get(origin.url()).status == 200
    refused = lab.client(proxy)
    response = refused.get(origin.url())
    assert (
        response.status == 429
        and response.get("Retry-After")
        and response.get("Connection") == "close"
    )
    refused.expect_end()
    first[0].close()
    wait_until(lambda: lab.client(proxy).get(origin.url()).status == 200, "room for one more")
    for client in first[1:]:
        assert client.get(origin.url()).status == 200


NOFILE = 128


def test_few_descriptors_many_clients(lab):
    """All that ask are answered in the end: the limit only makes them wait."""
    proxy = lab.fresh("server.workers=1", nofile=NOFILE)
    origin = lab.origin(ANSWER)
    clients = [lab.client(proxy) for _ in range(300)]
    for client in clients:
        client.request("GET", origin.url())
    for client in clients:
        assert client.read_response().status in (200, 503)
        client.close()
    assert lab.client(proxy).get(origin.url()).status == 200


def test_no_descriptor_for_the_origin_is_503(lab):
    """Clients alone may fill the budget; then their requests cannot get a connection of their
    own."""
    proxy = lab.fresh(
        "server.workers=1", "server.max_connections=1000", "timeouts.header=60s", nofile=NOFILE
    )
    origin = lab.gated_origin()
    clients = [lab.client(proxy) for _ in range(NOFILE)]
    for client in clients:
        client.request("GET", origin.url())
    refused = []

    def some_refused():
        refused[:] = [client for client in clients if not client.is_silent(0)]
        return refused or len(origin.requests) >= NOFILE // 2 - 20

    wait_until(some_refused, "503, or all descriptors in use")
    for client in refused:
        response = client.read_response()
        assert response.status == 503 and int(response.get("Retry-After")) > 0
        assert "connection_limit_reached" in response.get("Proxy-Status")
    assert cpu_use(proxy) < 0.2, "it spins"
    origin.gate.set()
    for client in clients:
        if client not in refused:
            assert client.read_response().status in (200, 503)
        client.close()
    wait_until(lambda: lab.client(proxy).get(origin.url()).status == 200, "it to recover")


def test_idle_upstream_connections_go_first(lab):
    """They give their descriptors to clients; no client that is idle is closed for it."""
    proxy = lab.fresh("server.workers=1", "pool.idle=60s", nofile=NOFILE)
    gone = []

    def script(peer):
        wire.answer_all(peer, ANSWER)
        gone.append(peer)

    client = lab.client(proxy)
    origins = [lab.origin(script) for _ in range(NOFILE)]
    for origin in origins:
        assert client.get(origin.url()).status == 200
    assert gone, "no idle connection was closed"
    assert client.get(origins[-1].url()).status == 200


def test_tunnels_beyond_the_limit(lab):
    proxy = lab.fresh("server.workers=1", nofile=NOFILE)

    def echo(peer):
        while peer.fill():
            peer.send(peer.take(len(peer.buffer)))

    origin = lab.origin(echo)
    clients, open_tunnels = [], []
    while len(clients) == len(open_tunnels) < NOFILE:
        clients.append(lab.client(proxy))
        clients[-1].request("CONNECT", origin.authority)
        if clients[-1].is_silent(1):
            break  # it waits in the queue
        response = clients[-1].read_response(to="CONNECT")
        assert response.status in (200, 503)
        if response.status == 200:
            open_tunnels.append(clients[-1])
        else:
            assert response.get("Retry-After")
    assert 20 <= len(open_tunnels) < NOFILE / 2
    for client in open_tunnels:
        client.send(b"x" * 200_000)
        assert client.read_exactly(200_000) == b"x" * 200_000
    assert cpu_use(proxy) < 0.2, "it spins"
    for client in clients:
        client.close()
    wait_until(
        lambda: lab.client(proxy).get(lab.origin(ANSWER).url()).status == 200, "it to recover"
    )


@pytest.mark.parametrize("size", [200_000, 1_000_000])
def test_buffer_memory_has_a_limit(lab, size):
    """limits.buffers spent: heads wait unread, then 503; what runs goes on, and it recovers."""
    proxy = lab.fresh("server.workers=1", "limits.buffers=1M")
    origin = lab.origin(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + b"x" * size)
    clients = [lab.client(proxy) for _ in range(100)]
    for client in clients:
        client.request("GET", origin.url())
    for client in clients:
        response = client.read_response(may_be_cut=True)
        assert response.status in (200, 503)
        if response.status == 200:
            assert len(response.body) == size
        else:
            assert response.get("Retry-After")
        client.close()
    assert len(lab.client(proxy).get(origin.url()).body) == size
