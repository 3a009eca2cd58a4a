# SPDX-License-Identifier: MIT
"""Network namespaces, entered by one thread for a while."""

import contextlib
import ctypes
import os


@contextlib.contextmanager
def inside(path):
    """The calling thread is in that network, which a file of /proc names: sockets made meanwhile
    belong there."""
    libc = ctypes.CDLL(None, use_errno=True)
    with open("/proc/thread-self/ns/net", "rb") as home, open(path, "rb") as there:
        assert libc.setns(there.fileno(), 0) == 0, os.strerror(ctypes.get_errno())
        try:
            yield
        finally:
            assert libc.setns(home.fileno(), 0) == 0
