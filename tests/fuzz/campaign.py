# SPDX-License-Identifier: MIT
"""The frame of differential.py and wire.py: a daemon, batch after batch from numbered seeds until
the time is over, and one line at the end."""

import argparse
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
# tests/system has a wire.py, too: the one that the harness means.
sys.path[:] = [str(HERE.parent / "system"), *(p for p in sys.path if p != str(HERE)), str(HERE)]

# pylint: disable=wrong-import-position
from viaduct_harness import Daemon  # noqa: E402


def run(name, text, options, begin):
    """begin(daemon) returns (batch, report): batch(seed) raises on a finding, report() says what
    was done, a list of lines."""
    parser = argparse.ArgumentParser(description=text)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--batches", type=int, default=0, help="0: as many as time allows")
    arguments = parser.parse_args()
    begun, batches = time.monotonic(), 0

    def goes_on():
        if arguments.batches:
            return batches < arguments.batches
        return time.monotonic() - begun < arguments.seconds

    with tempfile.TemporaryDirectory() as directory:
        daemon = Daemon(Path(directory), options)
        try:
            assert daemon.port
            daemon.note_idle()
            batch, report = begin(daemon)
            while goes_on():
                batch(arguments.seed + batches)
                daemon.check_alive()
                del daemon.lines[:]
                daemon.mark = 0
                batches += 1
            daemon.stop()
        except BaseException as error:
            print(f"FAILED  {name}: --seed {arguments.seed + batches} --batches 1")
            print(f"{type(error).__name__}: {error}")
            if daemon.process.poll() is not None or daemon.stderr():
                print(daemon.describe()[-6000:])
            raise SystemExit(1) from None
        finally:
            daemon.kill()
    took = time.monotonic() - begun
    first, *more = report()
    print(f"ok      {name:14} {first} in {took:.0f} s, {batches} batches, seed {arguments.seed}")
    for line in more:
        print(f"        {line}")
