#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Bent requests and bent responses at once, as many a second as Python writes, against the sanitized
daemon. After each batch it must be alive, hold no more descriptors than when idle, and serve a
well-behaved client. A finding names its batch; --seed N --batches 1 plays that one again.

Run by tests/fuzz/run; VIADUCT names the daemon."""

import argparse
import random
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
# tests/system has a wire.py, too: the one that the harness means.
sys.path[0] = str(HERE.parent / "system")
sys.path.append(str(HERE))

# pylint: disable=wrong-import-position
import engine  # noqa: E402
import mutate  # noqa: E402
import wire  # noqa: E402
from viaduct_harness import Daemon  # noqa: E402

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


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--batches", type=int, default=0, help="0: as many as time allows")
    arguments = parser.parse_args()
    seed = arguments.seed if arguments.seed is not None else int(time.time())
    begun = time.monotonic()
    batches = requests = lines = 0
    with tempfile.TemporaryDirectory() as directory:
        daemon = Daemon(Path(directory), OPTIONS)
        bench = engine.Engine(BentOrigin)
        # The well-behaved client's origin is a thread of its own: it answers while we wait.
        good = wire.Origin(GOOD)
        try:
            assert daemon.port
            daemon.note_idle()
            while (arguments.batches and batches < arguments.batches) or (
                not arguments.batches and time.monotonic() - begun < arguments.seconds
            ):
                rng = random.Random(seed + batches)
                BentOrigin.rng = random.Random(seed + batches)
                clients = []
                for _ in range(CLIENTS):
                    client, count = bent_client(rng, f"127.0.0.1:{bench.port}")
                    clients.append(client)
                    requests += count
                bench.run(daemon.address, clients, concurrency=100, patience=1)
                bench.close_origins()
                check(daemon, good)
                lines += len(daemon.lines)
                del daemon.lines[:]
                batches += 1
            daemon.stop()
        except BaseException as error:
            print(f"FAILED  wire           batch --seed {seed + batches} --batches 1: {error}")
            print(daemon.describe()[-6000:])
            daemon.kill()
            raise SystemExit(1) from None
        finally:
            good.close()
    took = time.monotonic() - begun
    print(
        f"ok      wire           {requests} requests and {BentOrigin.count} responses in {took:.0f} s "
        f"({requests / took:.0f} requests a second), {batches} batches, {lines} log lines, "
        f"seed {seed}"
    )


def check(daemon, good):
    daemon.check_alive()
    well_behaved(daemon, good.port)
    for peer in good.peers:
        peer.sock.close()
    del good.peers[:]
    daemon.settle()
    unreadable = [line["raw"] for line in daemon.lines if list(line) == ["raw"]]
    assert not unreadable, f"not JSON: {unreadable[0]}"


if __name__ == "__main__":
    main()
