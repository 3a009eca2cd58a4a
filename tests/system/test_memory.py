# SPDX-License-Identifier: MIT
"""What idle connections cost, and what a peak of busy ones leaves behind: little, of memory and of
processor time."""

import os
import resource
import socket
import threading
import time
from pathlib import Path

import pytest

from wire import request_bytes, wait_until

pytestmark = [pytest.mark.serial, pytest.mark.notsan]

KIB, MIB = 1024, 1 << 20
AT_ONCE = 50
RESPONSE = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + 1000 * b"x"


@pytest.fixture
def descriptors():
    """As many as the system lets us have; the count of connections that leaves room for, with both
    of their ends here."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield (hard - 500) // 2
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


class Crowd:
    """Clients and the origin they all ask, in one thread."""

    def __init__(self, lab):
        self.proxy = lab.fresh("server.workers=1", release=True)
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
        self.listener.settimeout(20)
        self.origin = "127.0.0.1:%d" % self.listener.getsockname()[1]
        self.clients = []
        self.upstream = []  # accepted and not known to be closed
        lab.at_end(self.leave)

    def leave(self):
        self.listener.close()
        for sock in self.clients + self.upstream:
            sock.close()
        self.clients, self.upstream = [], []

    def connect(self, count):
        for _ in range(count):
            client = socket.create_connection((self.proxy.address), 20)
            self.clients.append(client)
        return self.clients[-count:]

    def ask(self, clients):
        """Requests that are all under way at once: each takes a connection of its own."""
        for client in clients:
            client.sendall(b"GET http://%s/ HTTP/1.1\r\nHost: x\r\n\r\n" % self.origin.encode())
        asked = [self.listener.accept()[0] for _ in clients]
        self.upstream += asked
        return asked

    def answer(self, asked, clients):
        """The connections end with the response: none stays in the pool."""
        for sock in asked:
            assert sock.recv(4096).startswith(b"GET /")
            sock.sendall(RESPONSE.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1))
        for client in clients:
            left = b""
            while not left.endswith(1000 * b"x"):
                data = client.recv(4096)
                assert data, "cut short"
                left += data
        for sock in asked:
            sock.close()
        self.upstream = [sock for sock in self.upstream if sock not in set(asked)]

    def make_idle_clients(self, count):
        for _ in range(count // AT_ONCE):
            clients = self.connect(AT_ONCE)
            self.answer(self.ask(clients), clients)

    def make_tunnels(self, count):
        for _ in range(count):
            (client,) = self.connect(1)
            client.sendall(b"CONNECT %s HTTP/1.1\r\nHost: x\r\n\r\n" % self.origin.encode())
            self.upstream.append(self.listener.accept()[0])
            assert client.recv(4096).startswith(b"HTTP/1.1 200 ")

    def make_peak(self, count):
        """count requests under way; returns the resident memory then."""
        clients = self.connect(count)
        asked = self.ask(clients)
        peak = self.proxy.resident_bytes()
        self.answer(asked, clients)
        return peak


def wake_ups(proxy):
    total = 0
    for thread in proxy.threads():
        text = Path(f"/proc/{proxy.pid}/task/{thread}/status").read_text()
        total += sum(int(line.split()[1]) for line in text.splitlines() if "ctxt_switches" in line)
    return total


def sleeps(proxy, seconds):
    """Nothing has woken the program for so long."""
    seen = wake_ups(proxy)
    since = time.monotonic()

    def is_over():
        nonlocal seen, since
        now = wake_ups(proxy)
        if now != seen:
            seen, since = now, time.monotonic()
        return time.monotonic() - since >= seconds

    wait_until(is_over, f"{seconds} s without a wake-up", deadline=30)


def settled(proxy):
    """The resident memory, once it has stayed as it is for half a second."""
    seen, since = 0, time.monotonic()

    def has_settled():
        nonlocal seen, since
        now = proxy.resident_bytes()
        if now != seen:
            seen, since = now, time.monotonic()
        return time.monotonic() - since >= 0.5

    wait_until(has_settled, "the memory to stay as it is")
    return seen


def cost(crowd, make, count):
    """Bytes of resident memory for each of count idle connections."""
    make(AT_ONCE)  # what comes once has come
    before = crowd.proxy.resident_bytes()
    make(count)
    return (crowd.proxy.resident_bytes() - before) / count


def test_idle_clients(lab, descriptors, figure):
    crowd = Crowd(lab)
    count = min(4000, descriptors // AT_ONCE * AT_ONCE)
    each = cost(crowd, crowd.make_idle_clients, count)
    figure(f"{count} idle keep-alive clients: {each / KIB:.2f} KiB each")
    assert each <= 0.6 * KIB
    sleeps(crowd.proxy, 3)


def test_idle_tunnels(lab, descriptors, figure):
    crowd = Crowd(lab)
    count = min(3000, descriptors // 2)
    each = cost(crowd, crowd.make_tunnels, count)
    figure(f"{count} idle tunnels: {each / KIB:.2f} KiB each")
    assert each <= 1.1 * KIB
    sleeps(crowd.proxy, 3)


@pytest.mark.parametrize("stay", [False, True], ids=["all_leave", "one_in_a_hundred_stays"])
def test_peak_is_given_back(lab, descriptors, figure, stay):
    crowd = Crowd(lab)
    count = min(3000, descriptors // 2)
    crowd.make_peak(AT_ONCE)
    start = crowd.proxy.resident_bytes()
    peak = crowd.make_peak(count)
    for number, client in enumerate(crowd.clients):
        if not stay or number % 100:
            client.close()
    assert peak - start >= 8 * MIB, "no peak"
    # Whoever stays holds on to the memory beside him.
    allowance = (3 if stay else 2) * MIB
    wait_until(lambda: crowd.proxy.resident_bytes() - start <= allowance, "the memory to go back")
    end = crowd.proxy.resident_bytes()
    figure(
        f"{count} requests at once, {'some clients stay' if stay else 'then none'}: resident"
        f" {start / MIB:.1f} MiB, {peak / MIB:.1f} MiB at the peak, {end / MIB:.1f} MiB after it"
    )


def test_lines_that_waited_for_a_slow_reader_leave_nothing(lab, figure):
    """log.buffer is what may wait, not what is kept."""
    end, given = os.pipe()
    proxy = lab.fresh("server.workers=1", release=True, stdout=given, check_leaks=False)
    os.close(given)
    proxy.use_listening_port()
    client = lab.client(proxy)
    refused = f"{proxy.url}/loop"
    client.get(refused)
    start = settled(proxy)
    for _ in range(200):
        client.send(50 * request_bytes("GET", refused))
        for _ in range(50):
            client.read_response()
    peak = proxy.resident_bytes()
    assert peak - start >= 2 * MIB, "no line waited"

    def read_log():
        while os.read(end, 1 << 20):
            pass
        os.close(end)

    reader = threading.Thread(target=read_log)
    reader.start()
    lab.at_end(lambda: (proxy.stop(), reader.join()))
    wait_until(lambda: proxy.resident_bytes() - start <= MIB / 2, "the memory to go back")
    figure(
        f"10,000 lines that waited: resident {start / MIB:.1f} MiB before, {peak / MIB:.1f} MiB"
        f" then, {proxy.resident_bytes() / MIB:.1f} MiB once they are read"
    )


def test_large_heads_where_small_ones_were(lab, descriptors, figure):
    """Heads without an end, each in the place that some smaller ones have just left: it takes what
    it needs of it, no more, for only that counts against limits.buffers."""
    crowd = Crowd(lab)
    count = min(4000, descriptors)
    together = 20
    large = crowd.connect(count // together)
    small = crowd.connect(count)
    for client in large:
        client.sendall(b"GET / HTTP/1.1\r\nX: ")  # all else that a request takes is there
    settled(crowd.proxy)
    for client in small:
        client.sendall(b"GET / HTTP/1.1\r\nX: " + 1400 * b"x")
    settled(crowd.proxy)
    for number, client in enumerate(large):
        for gone in small[number * together : (number + 1) * together]:
            gone.sendall(b"\r\n\r\n")
            assert gone.recv(4096).startswith(b"HTTP/1.1 400 ")
            gone.close()
        client.sendall(5 * KIB * b"x")
    held = settled(crowd.proxy)
    for client in large:
        client.close()
    each = (held - settled(crowd.proxy)) / len(large)
    figure(f"{len(large)} heads of 5 KiB where small ones were: {each / KIB:.1f} KiB each")
    assert 5 * KIB <= each <= 24 * KIB
