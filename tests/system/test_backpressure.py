# SPDX-License-Identifier: MIT
"""Streaming takes no memory: a reader of 1 MiB/s holds back whoever sends, in each direction,
with and without a tunnel. The four run at the same time, each with a daemon of its own."""

import threading
import time

import pytest

import viaduct_harness
import wire

pytestmark = [pytest.mark.serial, pytest.mark.notsan, pytest.mark.timeout(120)]

GIB = 1 << 30
MIB = 1 << 20
SECONDS = 20
RATE = MIB  # bytes a second
MAY_GROW = 4 * MIB
KERNEL_BUFFERS = 64 * MIB  # what may be under way between the two ends, in sockets and pipes


class Transfer:
    """1 GiB from a writer that never waits to a reader that takes RATE, for SECONDS."""

    def __init__(self, directory, upload, tunnel):
        self.upload, self.tunnel = upload, tunnel
        self.written = self.read = 0
        self.over = threading.Event()
        self.proxy = viaduct_harness.Daemon(directory, ["server.workers=1"], release=True)
        self.origin = wire.Origin(self._origin)
        self.fault = None

    def run(self):
        try:
            self._run()
        except BaseException as fault:  # pylint: disable=broad-except
            self.fault = fault
        finally:
            self.over.set()
            self.origin.close()
            self.proxy.kill()

    def _run(self):
        self._begin(warm_up=True)
        client = self._begin(warm_up=False)
        self.resident_before = self.proxy.resident_bytes()
        sampler = threading.Thread(target=self._sample)
        sampler.start()
        if self.upload:
            self._write(client)
        else:
            self._read(client)
        self.over.wait(wire.DEADLINE + SECONDS)
        sampler.join()

    def _begin(self, warm_up):
        """Goes as far as the first 64 KiB of the body, which both ends must have seen."""
        client = wire.connect(self.proxy.address)
        path = "/warm" if warm_up else "/"
        if self.tunnel:
            client.request("CONNECT", self.origin.authority)
            client.read_response(to="CONNECT")
            client.send(path.ljust(64).encode())
        elif not self.upload:
            client.request("GET", self.origin.url(path))
        else:
            client.send(
                wire.request_bytes("PUT", self.origin.url(path), [("Content-Length", str(GIB))])
            )
        if not self.upload:
            if not self.tunnel:
                client.read_response_head()
            client.read_exactly(65536)
        else:
            client.send(bytes(65536))
            self.begun.acquire()
        if warm_up:
            client.reset()
        return client

    def _origin(self, peer):
        warm_up = (
            peer.read_exactly(64).strip() if self.tunnel else peer.read_head().target.encode()
        ) == b"/warm"
        if self.upload:
            peer.read_exactly(65536)
            self.begun.release()
        else:
            if not self.tunnel:
                peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % GIB)
            peer.send(bytes(65536))
        if warm_up:
            peer.read_to_end()
        elif self.upload:
            self._read(peer)
        else:
            self._write(peer)

    def _write(self, peer):
        block = bytes(65536)
        peer.sock.settimeout(0.2)
        while not self.over.is_set() and self.written < GIB:
            try:
                self.written += peer.sock.send(block)
            except TimeoutError:
                pass
            except OSError:
                assert self.over.is_set(), "the writer was cut off"

    def _read(self, peer):
        begin = time.monotonic()
        while (elapsed := time.monotonic() - begin) < SECONDS:
            if self.read < elapsed * RATE:
                self.read += len(peer.sock.recv(65536))
            else:
                self.over.wait(0.02)  # the rate
        self.over.set()

    def _sample(self):
        self.resident_most = 0
        while not self.over.wait(0.1):
            self.resident_most = max(self.resident_most, self.proxy.resident_bytes())

    begun = None


KINDS = {
    "download": (False, False),
    "upload": (True, False),
    "down a tunnel": (False, True),
    "up a tunnel": (True, True),
}


@pytest.fixture(scope="module")
def transfers(tmp_path_factory):
    made = {}
    for name, (upload, tunnel) in KINDS.items():
        made[name] = Transfer(tmp_path_factory.mktemp("transfer"), upload, tunnel)
        made[name].begun = threading.Semaphore(0)
    threads = [threading.Thread(target=transfer.run) for transfer in made.values()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return made


@pytest.mark.parametrize("name", KINDS)
def test_slow_reader_costs_no_memory(transfers, figure, name):
    transfer = transfers[name]
    if transfer.fault:
        raise transfer.fault
    grown = transfer.resident_most - transfer.resident_before
    figure(
        f"{name}: {transfer.read / MIB:.1f} MiB read in {SECONDS} s, "
        f"writer held at {transfer.written / MIB:.1f} MiB, "
        f"resident {transfer.resident_before / MIB:.1f} MiB, at most {grown / MIB:+.2f} MiB more"
    )
    assert transfer.read > RATE * SECONDS * 0.8, "the reader did not get what it could take"
    assert transfer.written < transfer.read + KERNEL_BUFFERS, "the writer was not held back"
    assert grown < MAY_GROW
