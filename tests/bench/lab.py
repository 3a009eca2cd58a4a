# SPDX-License-Identifier: MIT
"""Where the benchmark takes place: cores, directories, the origin with its name server, load."""

import base64
import collections
import itertools
import json
import os
import random
import re
import resource
import shutil
import socket
import subprocess
import tempfile
import threading
from pathlib import Path

HERE = Path(__file__).resolve().parent
SOURCE = HERE.parents[1] / "src"
PROGRAMS = {
    "origin": ["origin.c", "names.c", "net.c"],
    "relay": ["relay.c", "net.c"],
    "load": ["load.c", "histogram.c", "net.c"],
}

# Those that link with rooms of viaduct itself: ROOMS, made as the program is but for LTO.
WITH_ROOMS = {
    "decide": ["decide.c"],
    "lists": ["lists.c"],
}
ROOMS = ("base", "log", "io", "conf", "policy")
LIBRARIES = ("-levent_core", "-linih", "-lidn2", "-lcrypt", "-lpthread")

# One user after the other, u0, u1, ...: all with this password, by bcrypt of cost 10.
PASSWORD = "a"
PASSWORD_HASH = "$2b$10$c7JJhijq23vO22Q.WpQ1Tu9xoeUFTYTPwqCepgL4Hobmr/3/9ybmS"
USERS = 4000

NAMED_ORIGINS = 200  # load.c's targets when a row has a host and origins


class Failed(Exception):
    """A measurement that gave no figure; the text says why."""


def is_newer(made, sources):
    """Newer than this file too, which knows how it is made."""
    newest = max(path.stat().st_mtime for path in [*sources, Path(__file__)])
    return made.exists() and made.stat().st_mtime > newest


def compile_c(*words, cwd=None):
    flags = ["-O2", "-std=gnu17", "-D_GNU_SOURCE", "-Wall", "-Wextra"]
    compiler = os.environ.get("CC", "gcc")
    subprocess.run([compiler, *flags, *map(str, words)], check=True, cwd=cwd)


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
        ports = map(int, self.origin.stdout.readline().split())
        self.origin_port, self.echo_port, self.dns_port = ports

    def close(self):
        if self.origin:
            self.origin.kill()
            self.origin.wait()
            self.origin.stdout.close()
        shutil.rmtree(self.scratch, ignore_errors=True)

    def _compile(self):
        self.build.mkdir(parents=True, exist_ok=True)
        for name, sources in PROGRAMS.items():
            program = self.build / name
            if not is_newer(program, HERE.glob("*.[ch]")):
                compile_c("-o", program, *(HERE / source for source in sources), "-lm")

    def binary(self, name):
        return str(self.build / name)

    def binary_with_rooms(self, name):
        """Made when it is first asked for: the rooms take a while."""
        program, library = self.build / name, self.build / "rooms.a"
        headers = list(SOURCE.glob("*/*.h"))
        sources = [path for room in ROOMS for path in sorted((SOURCE / room).glob("*.c"))]
        if not is_newer(library, [*sources, *headers]):
            objects = self.build / "rooms"
            objects.mkdir(exist_ok=True)
            compile_c("-g", f"-I{SOURCE}", "-c", *sources, cwd=objects)
            library.unlink(missing_ok=True)
            made = [objects / f"{path.stem}.o" for path in sources]
            subprocess.run(["ar", "rcs", library, *made], check=True)
        own = [HERE / source for source in WITH_ROOMS[name]]
        if not is_newer(program, [library, *own]):
            compile_c(f"-I{SOURCE}", "-o", program, *own, library, *LIBRARIES)
        return str(program)

    def new_dir(self, name):
        return Path(tempfile.mkdtemp(prefix=re.sub(r"[^\w@.]+", "-", name) + "-", dir=self.scratch))

    def hosts_file(self, path):
        """Every name that a row asks for, for programs that read such a file."""
        lines = [f"127.0.0.1 localhost {self.host_name}"]
        lines += [
            f"127.4.{turn // 200}.{turn % 200 + 1} o{turn}.{self.host_name}"
            for turn in range(NAMED_ORIGINS)
        ]
        path.write_text("\n".join(lines) + "\n")
        return path

    def users_file(self):
        path = self.scratch / "users"
        if not path.exists():
            path.write_text("".join(f"u{n}:{PASSWORD_HASH}\n" for n in range(USERS)))
        return path

    def spin_ns(self, core):
        """What a fixed piece of work takes on CORE now."""
        made = subprocess.run(
            [self.binary("load"), "spin"],
            capture_output=True,
            check=True,
            preexec_fn=lambda: os.sched_setaffinity(0, [core]),
        )
        return int(made.stdout)

    def names_list(self, line, count):
        """A file of COUNT names, the same in every run, each as LINE has it."""
        path = self.scratch / f"names-{count}-{line.format('')}"
        if not path.exists():
            draw = random.Random(1)
            hosts, tops = ("ads", "trk", "cdn", "stat"), ("com", "net", "example")
            ends = [f"{host}.{top}" for host in hosts for top in tops]
            names = (f"{draw.getrandbits(48):x}{turn:x}.{ends[turn % 12]}" for turn in range(count))
            path.write_text("".join(line.format(name) + "\n" for name in names))
        return path


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


def basic(user, password):
    return base64.b64encode(f"{user}:{password}".encode()).decode()


class Logins:
    """Clients that log in, each time as another user over a new connection, every other time with
    a wrong password: nothing that a cache knows. `done` counts answers by status."""

    AT_ONCE = 8
    numbers = itertools.count(1)  # goes on from one object to the next

    def __init__(self, lab, port):
        self.port, self.origin = port, f"127.0.0.1:{lab.origin_port}"
        self.done = collections.Counter()
        self.ended = threading.Event()
        self.threads = [threading.Thread(target=self._go_on) for _ in range(self.AT_ONCE)]

    def _go_on(self):
        while not self.ended.is_set():
            number = next(self.numbers)
            password = PASSWORD if number % 2 else f"wrong{number}"
            try:
                self.done[self._log_in(basic(f"u{number % USERS}", password))] += 1
            except OSError as fault:
                self.done[str(fault)] += 1

    def _log_in(self, credentials):
        head = f"GET http://{self.origin}/1 HTTP/1.1\r\nHost: {self.origin}\r\n"
        head += f"Connection: close\r\nProxy-Authorization: Basic {credentials}\r\n\r\n"
        with socket.create_connection(("127.0.0.1", self.port), 10) as client:
            client.sendall(head.encode())
            return client.recv(4096)[9:12].decode()

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        for thread in self.threads:
            thread.join()


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
