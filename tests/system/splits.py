# SPDX-License-Identifier: MIT
"""For tests that hand the same bytes to the proxy cut in different places, and compare what comes.

Pieces go over a unix socket: there SIOCOUTQ tells when the daemon has read the last one (over TCP
only that the kernel has it), so a piece is a read of its own without waiting for any time.
"""

import fcntl
import os
import re
import select
import shutil
import struct
import tempfile
import time

import wire

HOST = b"Host: {o}\r\n"

# Via as it stands in messages, and other things that differ from run to run: <name> in a template.
VARIABLE = {
    b"me": rb"viaduct-[0-9a-f]{8}",
    b"date": rb"[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT",
}

# A refusal as it stands on the wire, whole: (status) and (length), (body).
REFUSAL = re.compile(
    rb"HTTP/1\.1 (\d{3}) [ -~]+\r\nDate: "
    + VARIABLE[b"date"]
    + rb"\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: (\d+)\r\n"
    rb"Cache-Control: no-store\r\nProxy-Status: viaduct; error=[a-z_]+(?:; details=\"[ -~]*\")?\r\n"
    rb"Connection: close\r\n\r\n([ -~\n]*)",
    re.DOTALL,
)

_directory = []


def unix_path():
    """A place for the unix socket of the shared daemon; one for the whole run."""
    if not _directory:
        _directory.append(tempfile.mkdtemp(prefix="viaduct-"))
    return os.path.join(_directory[0], "proxy.sock")


def remove_directory():
    while _directory:
        shutil.rmtree(_directory.pop(), ignore_errors=True)


def two_doors(lab, *options):
    """A shared daemon that listens on TCP and on unix_path()."""
    return lab.viaduct(f"listen test.address=127.0.0.1:0, unix:{unix_path()}", *options)


def fill_in(data, origin):
    return data.replace(b"{o}", origin.authority.encode())


def exact(template, origin=None):
    """A compiled pattern: all of template as it is, but for <me> and <date>, and {o} filled in."""
    text = re.escape(fill_in(template, origin) if origin else template)
    for name, pattern in VARIABLE.items():
        text = text.replace(re.escape(b"<" + name + b">"), pattern)
    return re.compile(text, re.DOTALL)


def without_date(data):
    return re.sub(rb"\r\nDate: [^\r]*\r\n", b"\r\n", data)


def is_taken(peer):
    """Whether the other side has all we sent: has read it (unix), or its kernel has it (TCP)."""
    return struct.unpack("i", fcntl.ioctl(peer.sock, wire.SIOCOUTQ, b"\0\0\0\0"))[0] == 0


def taken_or_answered(peer):
    """Waits until the daemon has read all we sent, or has something for us. True: all is read."""
    poll = select.poll()
    poll.register(peer.sock, select.POLLIN | select.POLLHUP)
    end = time.monotonic() + wire.DEADLINE
    while True:
        if is_taken(peer):
            return True
        if poll.poll(0):
            return False
        assert time.monotonic() < end, "the daemon reads no further and says nothing"
        os.sched_yield()


def send_split(peer, data, cuts):
    """The pieces between the cuts, each once the one before was read. When an answer comes the rest
    goes in one piece."""
    edges = [0, *cuts, len(data)]
    try:
        for start, end in zip(edges, edges[1:]):
            peer.sock.sendall(data[start:end])
            if end < len(data) and not taken_or_answered(peer):
                peer.sock.sendall(data[end:])
                return
    except (BrokenPipeError, ConnectionResetError):
        pass


def sample_cuts(data, count=10, seed=0):
    """Places to cut in two: where something ends or begins, at most count of them; which ones
    depends on seed."""
    marks = b'\r\n\0\t :,;="\x0b+-'
    places = [
        p for p in range(1, len(data)) if data[p - 1] in marks or data[p] in marks or p % 16 == 3
    ]
    if len(places) <= count:
        return [[p] for p in places]
    step = len(places) / count
    return [[places[int(i * step + seed % max(1, int(step)))]] for i in range(count)]


def every_byte(data):
    return list(range(1, len(data)))


def told(cuts):
    """For messages."""
    return "whole" if not cuts else f"cut at {cuts[0]}" if len(cuts) == 1 else "byte by byte"


class Faults:
    """Gathers what went wrong in the rows of a table, so that one row does not hide the others."""

    def __init__(self):
        self.texts = []

    def __call__(self, name):
        faults = self

        class Row:
            def __enter__(self):
                return self

            def __exit__(self, kind, error, trace):
                if kind and issubclass(kind, (AssertionError, EOFError, OSError)):
                    text = " ".join((str(error) or repr(error)).split())
                    faults.texts.append(f"{name}: {text[:600]}")
                    return True
                return False

        return Row()

    def check(self):
        assert not self.texts, f"{len(self.texts)} rows:\n" + "\n".join(self.texts[:40])
