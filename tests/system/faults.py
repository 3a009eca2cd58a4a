# SPDX-License-Identifier: MIT
"""Makes allocations of a running viaduct fail, and counts them.

Works with builds that have the address sanitizer: they map the file named by VIADUCT_FAULTS (struct
mem_faults in src/base/mem.c).
"""

import mmap
import os
import struct
import subprocess

import pytest

import viaduct_harness

FIELDS = ("calls", "first_failing", "last_failing", "failed", "blocks")
NEVER = (0, 0)


class Faults:
    """The shared page. calls and failed count from the last watch(); blocks is what the program
    holds at the moment."""

    def __init__(self, directory):
        self.path = directory / "faults"
        self.path.write_bytes(bytes(4096))
        with open(self.path, "r+b") as file:
            self.map = mmap.mmap(file.fileno(), 4096)
        self.environment = {"VIADUCT_FAULTS": str(self.path)}

    def __getattr__(self, name):
        return struct.unpack_from("=q", self.map, 8 * FIELDS.index(name))[0]

    def _set(self, name, value):
        struct.pack_into("=q", self.map, 8 * FIELDS.index(name), value)

    def watch(self, first=0, last=None):
        """Counts from zero; the calls from first to last (default: this one alone) fail."""
        self._set("first_failing", 0)
        self._set("last_failing", 0)
        self._set("calls", 0)
        self._set("failed", 0)
        self._set("last_failing", first if last is None else last)
        self._set("first_failing", first)

    def stop(self):
        self._set("last_failing", 0)


@pytest.fixture
def faults(tmp_path):
    """Skips where the binary under test is not built for it."""
    directory = tmp_path / "memory"
    directory.mkdir()
    page = Faults(directory)
    subprocess.run(
        [viaduct_harness.binary(), "check"],
        env={**os.environ, **page.environment},
        capture_output=True,
        check=False,
    )
    if page.calls == 0:
        pytest.skip("allocations can only be made to fail with the address sanitizer")
    return page
