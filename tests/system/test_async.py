# SPDX-License-Identifier: MIT
"""Why a proxy is asynchronous: one worker, 5,000 clients at once, an origin that answers after a
second."""

import collections
import multiprocessing
import resource
import select
import socket
import threading
import time

import pytest

import wire

pytestmark = [pytest.mark.serial, pytest.mark.notsan, pytest.mark.timeout(120)]

CLIENTS = 5000
DELAY = 1.0
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

fork = multiprocessing.get_context("fork")


def slow_origin(listener):
    """Answers each request after DELAY. Runs in a process of its own, for ever."""
    raise_descriptor_limit()
    listener.setblocking(False)
    poll = select.epoll()
    poll.register(listener, select.EPOLLIN)
    peers, due = {}, collections.deque()
    while True:
        wait = max(0, due[0][0] - time.monotonic()) if due else -1
        for number, _ in poll.poll(wait):
            if number == listener.fileno():
                accept_all(listener, poll, peers)
                continue
            try:
                data = peers[number].recv(4096)
            except OSError:
                data = b""
            if data:
                due.append((time.monotonic() + DELAY, number))
            else:
                poll.unregister(number)
                peers.pop(number).close()
        now = time.monotonic()
        while due and due[0][0] <= now:
            number = due.popleft()[1]
            if number in peers:
                peers[number].send(ANSWER)


def accept_all(listener, poll, peers):
    while True:
        try:
            sock, _ = listener.accept()
        except BlockingIOError:
            return
        peers[sock.fileno()] = sock
        poll.register(sock, select.EPOLLIN)


def crowd(proxy, request, pipe):
    """CLIENTS connections at once, each with the one request; tells how many were answered, and
    when."""
    raise_descriptor_limit()
    poll = select.epoll()
    waiting = {}
    begin = time.monotonic()
    for _ in range(CLIENTS):
        sock = socket.socket()
        sock.setblocking(False)
        sock.connect_ex(proxy)
        waiting[sock.fileno()] = sock
        poll.register(sock, select.EPOLLOUT)
    sent = answered = 0
    last_sent = begin
    while waiting and time.monotonic() - begin < 30:
        for number, events in poll.poll(1):
            sock = waiting[number]
            if events & select.EPOLLOUT:
                sock.send(request)
                sent, last_sent = sent + 1, time.monotonic()
                poll.modify(number, select.EPOLLIN)
                continue
            try:
                data = sock.recv(4096)
            except OSError:
                data = b""
            answered += data.startswith(b"HTTP/1.1 200 ") and data.endswith(b"\r\n\r\nok")
            poll.unregister(number)
            waiting.pop(number)
            sock.close()
    pipe.send((answered, last_sent - begin, time.monotonic() - begin))


def raise_descriptor_limit():
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def test_5000_clients_wait_at_once(lab, figure):
    if raise_descriptor_limit() < 2 * CLIENTS + 200:
        pytest.skip(f"the hard limit of open files is below {2 * CLIENTS + 200} here")
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(CLIENTS)
    slow = f"http://127.0.0.1:{listener.getsockname()[1]}/"
    proxy = lab.fresh("server.workers=1", "log.access=off", release=True)
    fast = lab.origin(ANSWER)

    # The main thread, the worker and the log's writer: nothing else that could do the waiting.
    names = proxy.threads()
    assert len(names) == 3, names

    ours, theirs = fork.Pipe()
    origin = fork.Process(target=slow_origin, args=(listener,), daemon=True)
    clients = fork.Process(
        target=crowd, args=(proxy.address, wire.request_bytes("GET", slow), theirs), daemon=True
    )
    origin.start()
    probe = Probe(lab.client(proxy), fast.url())
    try:
        clients.start()
        assert ours.poll(60), "the clients did not finish"
        answered, sent_after, whole = ours.recv()
        most_threads = len(proxy.threads())
    finally:
        probe.stop()
        for process in (clients, origin):
            process.terminate()
            process.join()
        listener.close()

    figure(
        f"{CLIENTS} clients at once, origin answers after {DELAY:.0f} s: all in {whole:.2f} s "
        f"(the clients took {sent_after:.2f} s of it to ask); meanwhile {len(probe.times)} requests "
        f"to a fast origin took {1000 * probe.median():.1f} ms, at most "
        f"{1000 * max(probe.times):.1f} ms; threads: {sorted(names.values())}"
    )
    assert answered == CLIENTS
    assert most_threads == 3
    assert whole < DELAY + 4.0
    assert len(probe.times) >= 10
    assert max(probe.times) < DELAY / 2, "a request to a fast origin was held up"


class Probe:
    """Asks a fast origin again and again, one request at a time."""

    def __init__(self, client, url):
        self.client, self.url = client, url
        self.times = []
        self.fault = None
        self.over = threading.Event()
        self._ask()
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self):
        try:
            while not self.over.wait(0.02):
                self._ask()
        except BaseException as fault:  # pylint: disable=broad-except
            self.fault = fault

    def _ask(self):
        begin = time.monotonic()
        assert self.client.get(self.url).status == 200
        self.times.append(time.monotonic() - begin)

    def median(self):
        return sorted(self.times)[len(self.times) // 2]

    def stop(self):
        self.over.set()
        self.thread.join()
        if self.fault:
            raise self.fault
