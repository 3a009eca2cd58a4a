# SPDX-License-Identifier: MIT
"""TERM and INT: what is idle goes, what runs may go on for server.grace, the end is status 0."""

import signal
import time

import pytest

import wire
from wire import wait_until


def is_listening(proxy):
    try:
        wire.connect(proxy.address).close()
        return True
    except OSError:
        return False


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_idle_daemon_ends_at_once(lab, number):
    proxy = lab.fresh()
    begin = time.monotonic()
    proxy.signal(number)
    assert proxy.wait_exit() == 0
    assert time.monotonic() - begin < 5


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_what_runs_is_finished(lab, number):
    proxy = lab.fresh()
    origin = lab.gated_origin()
    idle, busy = lab.client(proxy), lab.client(proxy)
    quick = lab.origin()
    idle.get(quick.url())
    busy.request("GET", origin.url("/busy"))
    origin.wait_requests(1)
    proxy.signal(number)
    idle.expect_end("fin")
    wait_until(lambda: not is_listening(proxy), "the listener to be closed")
    assert proxy.process.poll() is None
    origin.gate.set()
    response = busy.read_response()
    assert response.body == b"ok" and response.get("Connection") == "close"
    busy.expect_end("fin")
    assert proxy.wait_exit() == 0
    line = proxy.wait_request(origin.url("/busy"))
    assert (line["status"], line["end"]) == ("200", "complete")


@pytest.mark.parametrize("grace", ["0s", "500ms", "1s", "1500ms", "1h"])
def test_the_grace_is_told_as_it_is_written(lab, grace):
    proxy = lab.fresh(f"server.grace={grace}")
    proxy.signal(signal.SIGTERM)
    proxy.wait_for_log(event="drain", msg=f"no new clients; what runs may go on for {grace}")
    assert proxy.wait_exit() == 0


def test_tunnel_may_go_on_for_the_grace(lab):
    def echo(peer):
        while peer.fill():
            peer.send(peer.take(len(peer.buffer)))

    proxy = lab.fresh()
    origin = lab.origin(echo)
    client = lab.tunnel(proxy, origin)
    proxy.signal(signal.SIGTERM)
    wait_until(lambda: not is_listening(proxy), "the listener to be closed")
    client.send(b"still here")
    assert client.read_exactly(10) == b"still here"
    client.close()
    assert proxy.wait_exit() == 0


def test_grace_is_the_limit(lab):
    proxy = lab.fresh("server.grace=600ms")
    origin = lab.gated_origin()
    client = lab.client(proxy)
    client.request("GET", origin.url("/long"))
    tunnel = lab.tunnel(proxy, lab.origin(lambda peer: peer.read_to_end()))
    origin.wait_requests(1)
    begin = time.monotonic()
    proxy.signal(signal.SIGTERM)
    assert proxy.wait_exit() == 0
    assert 0.5 < time.monotonic() - begin < 8
    client.read_to_end()
    tunnel.read_to_end()
    ends = [line["end"] for line in proxy.find_lines(event="request")]
    assert ends == ["shutdown", "shutdown"]


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_second_signal_cuts_at_once(lab, second):
    proxy = lab.fresh()
    origin = lab.gated_origin()
    client = lab.client(proxy)
    client.request("GET", origin.url("/cut"))
    origin.wait_requests(1)
    proxy.signal(signal.SIGTERM)
    wait_until(lambda: not is_listening(proxy), "the drain to begin")
    begin = time.monotonic()
    proxy.signal(second)
    assert proxy.wait_exit() == 0
    assert time.monotonic() - begin < 5
    assert proxy.wait_request(origin.url("/cut"))["end"] == "shutdown"


def test_hup_during_the_drain_is_ignored_with_a_line(lab):
    proxy = lab.fresh()
    origin = lab.gated_origin()
    client = lab.client(proxy)
    client.request("GET", origin.url())
    origin.wait_requests(1)
    proxy.signal(signal.SIGTERM)
    wait_until(lambda: not is_listening(proxy), "the drain to begin")
    before = len(proxy.lines)
    proxy.signal(signal.SIGHUP)
    wait_until(lambda: len(proxy.lines) > before, "a line")
    origin.gate.set()
    assert client.read_response().status == 200
    assert proxy.wait_exit() == 0


def test_drain_delay_keeps_serving(lab):
    proxy = lab.fresh("server.drain_delay=700ms")
    origin = lab.origin()
    begin = time.monotonic()
    proxy.signal(signal.SIGTERM)
    assert lab.client(proxy).get(origin.url()).status == 200
    assert proxy.wait_exit() == 0
    assert time.monotonic() - begin > 0.6


def test_clients_in_the_listening_queue_are_served(lab):
    """Closing the socket would reset what waits in its queue."""
    proxy = lab.fresh("server.workers=1")
    origin = lab.origin()
    for _ in range(3):
        clients = [lab.client(proxy) for _ in range(50)]
        for client in clients:
            client.request("GET", origin.url())
        proxy.signal(signal.SIGTERM)
        for client in clients:
            assert client.read_response().status == 200
        assert proxy.wait_exit() == 0
        proxy = lab.fresh("server.workers=1")


def test_end_with_pooled_connections(lab):
    proxy = lab.fresh()
    origins = [lab.origin() for _ in range(5)]
    client = lab.client(proxy)
    for origin in origins:
        client.get(origin.url())
    proxy.signal(signal.SIGTERM)
    assert proxy.wait_exit() == 0
    client.expect_end("fin")
    for origin in origins:
        origin.join()


def test_who_has_just_come_may_ask(lab):
    """Accepted, and its first byte not there yet: to be closed would look like a failed request."""
    proxy = lab.fresh("server.workers=1")
    origin = lab.origin()
    client, silent = lab.client(proxy), lab.client(proxy)
    lab.client(proxy).get(origin.url())
    wait_until(lambda: proxy.socket_count() >= 5, "all three to be accepted")
    proxy.signal(signal.SIGTERM)
    proxy.wait_for_log(event="drain")
    response = client.get(origin.url())
    assert response.status == 200 and response.get("Connection") == "close"
    begin = time.monotonic()
    silent.expect_end("fin")
    assert time.monotonic() - begin < 5, "not for timeouts.header"
    client.close()
    assert proxy.wait_exit() == 0
