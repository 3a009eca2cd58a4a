# SPDX-License-Identifier: MIT
"""Room for a client, or a descriptor, that another worker has to make; and who is not closed for
it."""

import time

import wire
from wire import wait_until

OK = wire.response_bytes(body=b"ok")
AT_ONCE = 0.5 * wire.SLOWNESS  # a worker that waits for room looks again by itself after 1 s
TRIES = 40  # which worker gets a connection is the kernel's choice


class Crowd:
    """Idle clients of one worker, whichever served the first of them; nobody stays with another."""

    def __init__(self, lab, proxy):
        self.lab, self.proxy = lab, proxy
        self.origin = lab.origin(OK)
        self.clients = []
        self.worker = None
        self.count = 0

    def ask(self):
        """Another client with its first answer: (client, status, its worker, seconds it took)."""
        self.count += 1
        target = self.origin.url(f"/{self.count}")
        client, begin = self.lab.client(self.proxy), time.monotonic()
        status = client.get(target).status
        seconds = time.monotonic() - begin
        return client, status, worker_of(self.proxy.wait_request(target)), seconds

    def add(self):
        """True when it was served."""
        client, status, worker, _ = self.ask()
        if status != 200:
            return False
        self.worker = self.worker or worker
        if worker == self.worker:
            self.clients.append(client)
        else:
            client.close()
        return True

    def drop_closed(self):
        """How many the daemon has closed."""
        before = len(self.clients)
        self.clients = [client for client in self.clients if client.is_silent(0)]
        return before - len(self.clients)


def worker_of(line):
    return line["id"].partition("-")[0]


def test_client_of_another_worker_makes_room_at_once(lab):
    """Every place is taken by idle clients of one worker; whom the other gets need not wait until
    it looks again. Idle upstream connections would not help."""
    proxy = lab.fresh("server.max_connections=4", "server.workers=2")
    crowd = Crowd(lab, proxy)
    while len(crowd.clients) < 4:
        assert crowd.add()
        crowd.drop_closed()
    for _ in range(TRIES):
        _, status, worker, seconds = crowd.ask()
        assert status == 200 and seconds < AT_ONCE
        if worker != crowd.worker:
            return
    raise AssertionError("every connection went to one worker")


def test_descriptors_of_another_worker(lab):
    """All are in use by idle clients of one worker: a request of the other may be refused once, and
    has what it needs when it comes again."""
    proxy = lab.fresh("server.max_connections=1000", "server.workers=2", nofile=90)
    crowd = Crowd(lab, proxy)
    while crowd.add() and not crowd.drop_closed():
        assert crowd.count < 1000
    assert len(crowd.clients) > 10
    for _ in range(TRIES):
        client, origin = lab.client(proxy), lab.origin(OK)
        statuses = set()

        def is_served():
            response = client.get(origin.url())
            statuses.add(response.status)
            return response.status == 200

        wait_until(is_served, "a descriptor for the origin", 5 * wire.SLOWNESS)
        assert statuses <= {200, 503}
        if worker_of(proxy.wait_request(origin.url(), status="200")) != crowd.worker:
            return
    raise AssertionError("every connection went to one worker")


def test_client_whose_request_lies_unread_is_not_idle(lab):
    """It has been idle longest, but its next request is there when somebody needs its place."""
    proxy = lab.fresh("server.max_connections=2", "server.workers=1")
    origin = lab.origin(OK)
    oldest, other = lab.client(proxy), lab.client(proxy)
    for client in (oldest, other):
        assert client.get(origin.url()).status == 200
    with proxy.stopped():
        late = lab.client(proxy)  # first in the order of events
        oldest.request("GET", origin.url("/unread"))
        oldest.wait_acknowledged()
    assert late.get(origin.url()).status == 200
    assert oldest.read_response().status == 200
    other.expect_end("fin")
