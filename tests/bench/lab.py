# SPDX-License-Identifier: MIT
"""Where the benchmark takes place: cores, directories, the origin, a name server, load."""

import json
import os
import resource
import shutil
import socket
import struct
import subprocess
import tempfile
import threading
from pathlib import Path

HERE = Path(__file__).resolve().parent
PROGRAMS = {
    "origin": ["origin.c", "net.c"],
    "relay": ["relay.c", "net.c"],
    "load": ["load.c", "histogram.c", "net.c"],
}


class Failed(Exception):
    """A measurement that gave no figure; the text says why."""


class Lab:
    """Proxies stand on the first core, or the first two; load and origin on the others."""

    host_name = "origin.bench.test"

    def __init__(self, out, viaduct):
        self.viaduct = viaduct
        self.build = out / "programs"
        cores = sorted(os.sched_getaffinity(0))
        self.proxy_cores = cores[:2]
        self.load_cores = cores[2:] or cores[1:] or cores
        if len(cores) in (2, 3):
            self.load_cores = cores[1:]
        self.scratch = Path(tempfile.mkdtemp(prefix="viaduct-bench-"))
        os.chmod(self.scratch, 0o755)
        self.origin = None

    def open(self):
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        os.sched_setaffinity(0, self.load_cores)
        self._compile()
        self.origin = subprocess.Popen(
            [self.binary("origin")], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True
        )
        ports = self.origin.stdout.readline().split()
        self.origin_port, self.echo_port = int(ports[0]), int(ports[1])
        self.dns_port = serve_names(self.host_name)

    def close(self):
        if self.origin:
            self.origin.kill()
            self.origin.wait()
            self.origin.stdout.close()
        shutil.rmtree(self.scratch, ignore_errors=True)

    def _compile(self):
        self.build.mkdir(parents=True, exist_ok=True)
        newest = max(path.stat().st_mtime for path in HERE.glob("*.[ch]"))
        for name, sources in PROGRAMS.items():
            program = self.build / name
            if program.exists() and program.stat().st_mtime > newest:
                continue
            flags = ["-O2", "-std=gnu17", "-D_GNU_SOURCE", "-Wall", "-Wextra"]
            sources = [str(HERE / source) for source in sources]
            compiler = os.environ.get("CC", "gcc")
            subprocess.run([compiler, *flags, "-o", program, *sources, "-lm"], check=True)

    def binary(self, name):
        return str(self.build / name)

    def new_dir(self, name):
        return Path(tempfile.mkdtemp(prefix=f"{name.replace('/', '-')}-", dir=self.scratch))

    def spin_ns(self, core):
        """What a fixed piece of work takes on CORE now."""
        made = subprocess.run(
            [self.binary("load"), "spin"],
            capture_output=True,
            check=True,
            preexec_fn=lambda: os.sched_setaffinity(0, [core]),
        )
        return int(made.stdout)


class Load:
    """One run of load.c: made ready, then run, then its connections held until close()."""

    def __init__(self, lab, port, options):
        options = dict(options)
        if options.pop("host", None):
            options["host"] = lab.host_name
        echo = options.get("unit") in ("ping", "none")
        options["proxy"] = port
        options["origin"] = lab.echo_port if echo else lab.origin_port
        argv = [lab.binary("load"), *(f"{key}={value}" for key, value in options.items())]
        self.process = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._line()

    def _line(self):
        line = self.process.stdout.readline()
        if not line:
            raise Failed(f"load ended with status {self.process.wait()}")
        return line

    def run(self):
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        result = json.loads(self._line())
        if result["errors"]:
            raise Failed(f"{result['errors']} errors; {result['error']}")
        return result

    def close(self):
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def run_wrk(lab, port, options, seconds):
    host = f"{lab.host_name if options.get('host') else '127.0.0.1'}:{lab.origin_port}"
    made = subprocess.run(
        ["wrk", "-t1", f"-c{options['connections']}", f"-d{max(1, round(seconds))}s"]
        + ["-s", str(HERE / "absolute.lua"), f"http://127.0.0.1:{port}/"],
        env={
            **os.environ,
            "BENCH_URL": f"http://{host}/{options.get('bytes', 1024)}",
            "BENCH_HOST": host,
        },
        capture_output=True,
        text=True,
    )
    if made.returncode != 0:
        raise Failed(f"wrk: {made.stderr.strip()[-200:]}")
    result = json.loads(made.stdout.strip().splitlines()[-1])
    if result["errors"]:
        raise Failed(f"errors of wrk: {result['error']}")
    return result


def serve_names(name):
    """A name server on a port of its own: NAME is 127.0.0.1 for an hour. Returns the port."""
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("127.0.0.1", 0))
    wanted = b"".join(bytes([len(label)]) + label.encode() for label in name.split(".")) + b"\0"

    def answer(query):
        end = query.index(b"\0", 12) + 5
        question = query[12:end]
        known = question[:-4].lower() == wanted
        kind = struct.unpack(">H", question[-4:-2])[0]
        count = 1 if known and kind == 1 else 0
        head = query[:2] + struct.pack(">HHHHH", 0x8580 | (0 if known else 3), 1, count, 0, 0)
        record = b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, 3600, 4) + bytes([127, 0, 0, 1])
        return head + question + record * count

    def serve():
        while True:
            query, client = server.recvfrom(2048)
            try:
                server.sendto(answer(query), client)
            except (ValueError, struct.error, OSError):
                pass  # not a query

    threading.Thread(target=serve, daemon=True).start()
    return server.getsockname()[1]
