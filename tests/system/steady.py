# SPDX-License-Identifier: MIT
"""Steady load from the benchmark's programs (tests/bench/load.c, origin.c), for tests in which
Python would be what is measured."""

import json
import subprocess
from pathlib import Path

BENCH = Path(__file__).parents[1] / "bench"
PROGRAMS = {"load": ["load.c", "histogram.c", "net.c"], "origin": ["origin.c", "names.c", "net.c"]}


class Bench:
    """An origin, and the program that makes loads."""

    def __init__(self, directory):
        for name, sources in PROGRAMS.items():
            command = ["gcc", "-std=gnu17", "-D_GNU_SOURCE", "-O2", "-o", directory / name]
            subprocess.run([*command, *(BENCH / source for source in sources), "-lm"], check=True)
        self.program = directory / "load"
        self.origin = subprocess.Popen([directory / "origin"], stdout=subprocess.PIPE, text=True)
        self.port, self.echo_port, _ = map(int, self.origin.stdout.readline().split())

    def close(self):
        self.origin.kill()
        self.origin.wait()
        self.origin.stdout.close()

    def load(self, lab, proxy, **options):
        """A load that is ready to run; options as load.c has them. Ends with the test."""
        options.setdefault("origin", self.echo_port if options.get("unit") == "ping" else self.port)
        load = Load([self.program, *(f"{k}={v}" for k, v in {"proxy": proxy, **options}.items())])
        lab.at_end(load.close)
        load.wait_ready()
        return load


class Load:
    """One load: begin, result, close. Every option of it is told in load.c."""

    def __init__(self, command):
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def wait_ready(self):
        said = self.process.stdout.readline()
        assert said == "ready\n", said

    def begin(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return self

    def result(self):
        """Waits for its end: requests, errors, error, p50_us, p99_us, ... Connections stay."""
        return json.loads(self.process.stdout.readline())

    def close(self):
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()
