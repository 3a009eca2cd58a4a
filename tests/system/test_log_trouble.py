# SPDX-License-Identifier: MIT
"""A log in trouble under load: its reader stalls, its disk is full, its file is moved away again and
again. No request waits for it, no line is torn, and every line is written or counted as dropped."""

import contextlib
import os
import re
import signal
import statistics
import subprocess
import threading
from pathlib import Path

import pytest

from viaduct_harness import parse_logfmt
from wire import wait_until

pytestmark = [pytest.mark.serial, pytest.mark.notsan]

ROUNDS = 9  # with trouble and without, in turn
LOAD = {"rate": 1000, "connections": 20, "seconds": 1}
OPTIONS = ["server.workers=1", "log.buffer=64K", "log.level=warning", "pool.idle=1s"]


class Account:
    """What became of the lines of a number of requests."""

    def __init__(self, read):
        self.read = read  # the whole log so far
        self.requests = 0
        self.written = 0
        self.dropped = 0

    def is_even(self):
        text = self.read()
        self.written = text.count(b" event=request ")
        self.dropped = sum(int(number) for number in re.findall(rb" dropped=(\d+) ", text))
        assert self.written + self.dropped <= self.requests
        return self.written + self.dropped == self.requests and text.endswith(b"\n")

    def settle(self):
        wait_until(self.is_even, "every line, or a line that counts it as dropped")

    def check_lines(self):
        """Each is whole, and no request has two."""
        lines = [parse_logfmt(line) for line in self.read().decode().splitlines()]
        ids = [line["id"] for line in lines if line["event"] == "request"]
        assert all(line["end"] == "complete" for line in lines if line["event"] == "request")
        assert len(set(ids)) == len(ids) == self.written
        assert all("dropped" in line for line in lines if line["event"] == "log")


def one_round(lab, bench, proxy, account, trouble):
    """The 99th percentile of a fixed-rate client's times, in ms; none of its requests may fail."""
    load = bench.load(lab, proxy.port, **LOAD)
    with trouble:
        result = load.begin().result()
    load.close()
    assert result["errors"] == 0, result
    account.requests += result["requests"] + LOAD["connections"]  # each began with one unmeasured
    account.settle()
    return result["p99_us"] / 1000


def endure(lab, bench, proxy, account, trouble):
    """Rounds with trouble and without; returns a text that compares them."""
    calm, troubled = [], []
    for number in range(ROUNDS):
        for turn in ("ct", "tc")[number % 2]:
            how, into = {"c": (contextlib.nullcontext, calm), "t": (trouble, troubled)}[turn]
            into.append(one_round(lab, bench, proxy, account, how()))
    account.check_lines()
    # Who waits for the log waits for as long as the trouble lasts; noise comes and goes.
    assert min(troubled) < 3 * min(calm) + 50, (calm, troubled)
    return (
        f"p99 with and without, median of {ROUNDS} rounds"
        f" {compared(statistics.median, troubled, calm)},"
        f" least {compared(min, troubled, calm)};"
        f" {account.written} lines, and {account.dropped} dropped"
    )


def compared(of, some, others):
    return f"{of(some):.2f} to {of(others):.2f} ms (x {of(some) / of(others):.2f})"


def start(lab, *options, **how):
    proxy = lab.fresh(*OPTIONS, *options, release=True, **how)
    proxy.use_listening_port()
    proxy.note_idle()
    return proxy


# --- A reader that stalls -----------------------------------------------------------------------


class Reader:
    """The other end of the daemon's standard output."""

    def __init__(self):
        self.fd, self.writing = os.pipe()
        self.text = bytearray()
        self.goes_on = threading.Event()
        self.goes_on.set()
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self):
        while data := os.read(self.fd, 1 << 16):
            self.text += data
            self.goes_on.wait()

    @contextlib.contextmanager
    def stalled(self):
        self.goes_on.clear()
        yield
        self.goes_on.set()


def test_a_reader_that_stalls(lab, bench, figure):
    reader = Reader()
    proxy = start(lab, stdout=reader.writing)
    os.close(reader.writing)
    account = Account(lambda: bytes(reader.text))
    said = endure(lab, bench, proxy, account, reader.stalled)
    assert account.dropped > 0
    figure(f"log, a reader that stalls: {said}")


# --- A disk that is full ------------------------------------------------------------------------


class Disk:
    """A small file system in a mount namespace of the daemon's own."""

    def __init__(self, lab):
        directory = lab.directory / "disk"
        directory.mkdir()
        user = [] if os.getuid() == 0 else ["-r"]
        mount = f'mount -t tmpfs -o size=16m tmpfs "{directory}"'
        probe = subprocess.run(["unshare", *user, "-m", "sh", "-c", mount], capture_output=True)
        if probe.returncode != 0:
            pytest.skip(f"no file system of our own: {probe.stderr.decode().strip()}")
        self.proxy = start(
            lab,
            f"log.destination={directory}/log",
            stdout=subprocess.DEVNULL,
            wrapper=["unshare", *user, "-m", "sh", "-c", f'{mount} && exec "$0" "$@"'],
        )
        self.path = Path(f"/proc/{self.proxy.pid}/root{directory}")

    def logs(self):
        """The text of the log, and of what it was before it was renamed."""
        return b"".join(path.read_bytes() for path in sorted(self.path.glob("log*"), reverse=True))

    @contextlib.contextmanager
    def full(self):
        filler = self.path / "filler"
        with open(filler, "wb", buffering=0) as file, contextlib.suppress(OSError):
            while file.write(bytes(4096)):
                pass
        yield
        filler.unlink()


def test_a_disk_that_is_full(lab, bench, figure):
    disk = Disk(lab)
    account = Account(disk.logs)
    said = endure(lab, bench, disk.proxy, account, disk.full)
    assert account.dropped > 0
    assert "No space left on device" in disk.proxy.stderr()
    figure(f"log, a disk that is full: {said}")


def test_a_full_disk_and_a_new_file_tear_no_line(lab, bench):
    """The old file ends in the middle of a line when it is moved away."""
    disk = Disk(lab)
    account = Account(disk.logs)
    with disk.full():
        one_request_each = bench.load(lab, disk.proxy.port, connections=300)
        wait_until(lambda: "No space left" in disk.proxy.stderr(), "the disk to be full")
        assert not disk.logs().endswith(b"\n")
        (disk.path / "log").rename(disk.path / "log.1")
        disk.proxy.signal(signal.SIGUSR1)
        wait_until((disk.path / "log").exists, "the new file")
    one_request_each.close()
    account.requests = 300
    account.settle()
    account.check_lines()


# --- A file that is moved away ------------------------------------------------------------------


class Rotation:
    """Moves the log away whenever it has grown to 16 KiB, dozens of times a second."""

    def __init__(self, path):
        self.path = path
        self.count = 0
        self.proxy = None
        self.is_over = threading.Event()

    def logs(self):
        moved = [self.path.with_suffix(f".{number}") for number in range(self.count)]
        return b"".join(path.read_bytes() for path in [*moved, self.path] if path.exists())

    def _is_due(self):
        return self.is_over.is_set() or self.path.stat().st_size > 16 << 10

    def _rotate(self):
        while not self.is_over.is_set():
            self.path.rename(self.path.with_suffix(f".{self.count}"))
            self.count += 1
            self.proxy.signal(signal.SIGUSR1)
            wait_until(self.path.exists, "the new file")
            wait_until(self._is_due, "it to grow")

    @contextlib.contextmanager
    def going_on(self):
        self.is_over.clear()
        thread = threading.Thread(target=self._rotate)
        thread.start()
        yield
        self.is_over.set()
        thread.join()


def test_a_file_that_is_moved_away(lab, bench, tmp_path, figure):
    rotation = Rotation(tmp_path / "access.log")
    rotation.proxy = start(
        lab, f"log.destination={rotation.path}", "log.buffer=4M", stdout=subprocess.DEVNULL
    )
    account = Account(rotation.logs)
    said = endure(lab, bench, rotation.proxy, account, rotation.going_on)
    assert account.dropped == 0
    assert rotation.count > ROUNDS
    figure(f"log, a file moved away {rotation.count} times: {said}")
