#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Bent requests and bent responses at once, as many a second as Python writes, against the sanitized
daemon. After each batch it must be alive, hold no more descriptors than when idle, and serve a
well-behaved client. A finding names its batch; --seed N --batches 1 plays that one again.

Run by tests/fuzz/run; VIADUCT names the daemon."""

import random

import campaign  # first: it sets the path for the others
import engine
import mutate
import wire  # that of tests/system

CLIENTS = 3000  # of one batch
OPTIONS = (
    "server.workers=2",
    "timeouts.header=200ms",
    "timeouts.keep_alive=200ms",
    "timeouts.response=200ms",
    "timeouts.idle=200ms",
    "timeouts.tunnel_idle=200ms",
    "timeouts.exchange=3s",
    "pool.idle=200ms",
    "log.access=json",
    "limits.head_bytes=16K",
    "limits.body_bytes=64K",
)
GOOD = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwell\n"


class BentOrigin(engine.Origin):
    """Answers each head with something, and sometimes ends badly."""

    rng = random.Random()
    count = 0

    def feed(self, data):
        rng = BentOrigin.rng
        heads = data.count(b"\r\n\r\n")
        if b" /well" in data:
            return GOOD * heads, None
        out = []
        for _ in range(min(heads, 20)):
            BentOrigin.count += 1
            bends = rng.choice((0, 0, 0, 1, 1, 2, 3))
            out += mutate.pieces(rng, mutate.response(rng, f"r{BentOrigin.count % 1000}", bends))
        return out, rng.choices((None, "fin", "close", "rst"), (85, 6, 6, 3))[0]


def bent_client(rng, authority):
    data, count = b"", rng.choice((1, 2, 4, 8))
    for number in range(count):
        bends = rng.choice((0, 0, 0, 0, 1)) if number + 1 < count else rng.choice((0, 1, 2, 3))
        data += mutate.request(rng, authority, f"w{number}", bends)
    if rng.random() < 0.04:
        data = f"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n".encode() + data
    ending = rng.choices(("fin", "wait", "close", "rst"), (60, 5, 20, 15))[0]
    return engine.Client(mutate.pieces(rng, data), ending), count


def well_behaved(daemon, port):
    peer = wire.connect(daemon.address)
    for number in range(2):
        response = peer.get(f"http://127.0.0.1:{port}/well{number}")
        assert response.status == 200 and response.body == b"well\n", response
    peer.close()


class Bench:
    def __init__(self, daemon):
        self.daemon = daemon
        self.engine = engine.Engine(BentOrigin)
        # The well-behaved client's origin is a thread of its own: it answers while we wait.
        self.good = wire.Origin(GOOD)
        self.requests = self.lines = 0

    def batch(self, seed):
        rng = random.Random(seed)
        BentOrigin.rng = random.Random(seed)
        clients = []
        for _ in range(CLIENTS):
            client, count = bent_client(rng, f"127.0.0.1:{self.engine.port}")
            clients.append(client)
            self.requests += count
        self.engine.run(self.daemon.address, clients, concurrency=100, patience=1)
        self.engine.close_origins()
        self.check()

    def check(self):
        self.daemon.check_alive()
        well_behaved(self.daemon, self.good.port)
        for peer in self.good.peers:
            peer.sock.close()
        del self.good.peers[:]
        self.daemon.settle()
        unreadable = [line["raw"] for line in self.daemon.lines if list(line) == ["raw"]]
        assert not unreadable, f"not JSON: {unreadable[0]}"
        self.lines += len(self.daemon.lines)

    def report(self):
        self.good.close()
        return [
            f"{self.requests} requests, {BentOrigin.count} responses, {self.lines} log lines",
        ]


def begin(daemon):
    bench = Bench(daemon)
    return bench.batch, bench.report


if __name__ == "__main__":
    campaign.run("wire", __doc__, OPTIONS, begin)
