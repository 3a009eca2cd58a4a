# SPDX-License-Identifier: MIT
"""The daemon under test: starts the real binary on port 0, reads its log, watches its process.

VIADUCT          the binary of ordinary tests (default build/asan/src/viaduct, else build/viaduct)
VIADUCT_RELEASE  the binary of tests about memory and time (default build/viaduct)
VIADUCT_TEST_SLOWNESS  a factor on all deadlines, for instrumented builds
"""

import contextlib
import gc
import json
import os
import re
import resource
import signal
import socket
import subprocess
import threading
from pathlib import Path

import wire
from wire import DEADLINE, wait_until

ROOT = Path(__file__).resolve().parents[2]

# What a sanitizer writes to stderr when it has found something.
SANITIZER_REPORT = re.compile(r"ERROR: \w+Sanitizer|WARNING: ThreadSanitizer|runtime error:")

# Pipes that may stay open in the workers' pools when all is idle.
POOLED_PIPES = 256


def binary(release=False):
    if release:
        path = Path(os.environ.get("VIADUCT_RELEASE", ROOT / "build" / "viaduct"))
    elif "VIADUCT" in os.environ:
        path = Path(os.environ["VIADUCT"])
    else:
        path = ROOT / "build" / "asan" / "src" / "viaduct"
        if not path.exists():
            path = ROOT / "build" / "viaduct"
    assert (
        path.exists()
    ), f"{path} is missing: run ./dev build (or ./dev test, which builds all it needs)"
    return str(path)


def parse_logfmt(line):
    """One logfmt line as a dict; strict, so that a malformed line fails the test that reads it."""
    fields, pos = {}, 0
    token = re.compile(r'([A-Za-z_][A-Za-z0-9_]*)=(?:"((?:[^"\\]|\\.)*)"|([^\s"=]+))(?: |$)')
    while pos < len(line):
        match = token.match(line, pos)
        assert match, f"not logfmt at {pos}: {line!r}"
        key, quoted, bare = match.groups()
        assert key not in fields, f"{key} stands twice: {line!r}"
        fields[key] = unescape(quoted) if quoted is not None else bare
        pos = match.end()
    return fields


def unescape(text):
    names = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f", '"': '"', "\\": "\\", "/": "/"}

    def one(match):
        code = match.group(1)
        return chr(int(code[1:], 16)) if code[0] in "xu" else names[code]

    return re.sub(r"\\(x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|.)", one, text)


def has_ipv6():
    try:
        with socket.socket(socket.AF_INET6) as sock:
            sock.bind(("::1", 0))
        return True
    except OSError:
        return False


def is_listener_line(line):
    """The one place that knows how the daemon says where it listens."""
    return line.get("event") == "listener" and "address" in line


class Daemon:
    """One running viaduct."""

    def __init__(
        self,
        directory,
        options=(),
        config="",
        release=False,
        args=(),
        env=None,
        nofile=None,
        stdout=None,
        wrapper=(),
        pass_fds=(),
        check_leaks=True,
        built_in_listener=False,
    ):
        """options are SECTION.KEY=VALUE; a listener on 127.0.0.1 port 0 is added unless one of
        them, or config, names one. nofile: RLIMIT_NOFILE, soft and hard. stdout: a descriptor
        for the log instead of our pipe. wrapper: words before the command line. check_leaks:
        count descriptors at the end."""
        self.check_leaks = check_leaks
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.config = directory / "viaduct.ini"
        self.config.write_text(config)
        options = list(options)
        if not built_in_listener and not any("listen " in text for text in [*options, config]):
            options.insert(0, "listen test.address=127.0.0.1:0")
        self.command = [*wrapper, binary(release), "serve", "-c", str(self.config)]
        for option in options:
            self.command += ["-o", option]
        self.command += args
        self.lines = []  # parsed: dict, or {"raw": text} for what is neither logfmt nor JSON
        self.mark = 0  # lines before it belong to an earlier test
        self.changed = threading.Condition()
        self.stderr_path = directory / "stderr"
        environment = {
            key: value
            for key, value in os.environ.items()
            if not key.startswith(("LISTEN_", "NOTIFY_")) and key.lower() not in PROXY_VARIABLES
        }
        environment.setdefault("ASAN_OPTIONS", "detect_leaks=1:abort_on_error=0:handle_abort=0")
        environment.setdefault("UBSAN_OPTIONS", "print_stacktrace=1")
        environment.setdefault("TSAN_OPTIONS", "halt_on_error=0:second_deadlock_stack=1")
        environment.update(env or {})

        def limit_descriptors():
            soft, hard = nofile if isinstance(nofile, tuple) else (nofile, nofile)
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

        with open(self.stderr_path, "wb") as stderr:
            self.process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                env=environment,
                pass_fds=pass_fds,
                stdout=subprocess.PIPE if stdout is None else stdout,
                stderr=stderr,
                preexec_fn=limit_descriptors if nofile else None,
            )
        self.pid = self.process.pid
        if stdout is None:
            self.reader = threading.Thread(target=self._read_log, daemon=True)
            self.reader.start()
        self._port = None
        self._idle_sockets = None

    # The log

    def _read_log(self):
        for raw in self.process.stdout:
            text = raw.decode("utf-8", "surrogateescape").rstrip("\n")
            try:
                line = json.loads(text) if text.startswith("{") else parse_logfmt(text)
            except (AssertionError, ValueError, KeyError):
                line = {"raw": text}
            line.setdefault("raw", text)
            with self.changed:
                self.lines.append(line)
                self.changed.notify_all()
        with self.changed:
            self.changed.notify_all()

    def catch_up_with_log(self):
        """Waits for what has been logged so far. A request of our own is the last of it."""
        target = f"ftp://now/{len(self.lines)}"
        peer = wire.connect(self.address)
        peer.get(target)
        peer.close()
        self.wait_for_log(target=target)

    def begin_test(self):
        """What has been logged so far belongs to earlier tests."""
        self.catch_up_with_log()
        self.mark = len(self.lines)

    def find_lines(self, predicate=None, **fields):
        """The log lines of this test that have these field values (and satisfy predicate)."""
        return [
            line
            for line in self.lines[self.mark :]
            if all(line.get(key) == value for key, value in fields.items())
            and (predicate is None or predicate(line))
        ]

    def wait_for_log(self, predicate=None, deadline=DEADLINE, count=1, **fields):
        """Waits for the count-th such line and returns it."""
        found = []

        def ready():
            found[:] = self.find_lines(predicate, **fields)
            return len(found) >= count

        with self.changed:
            if not self.changed.wait_for(ready, deadline):
                shown = "\n".join(line["raw"] for line in self.lines[self.mark :][-20:])
                raise AssertionError(
                    f"no log line {fields or predicate} (number {count}); the last:\n{shown}"
                )
        return found[count - 1]

    def wait_request(self, target, count=1, **fields):
        """The access line of the request for this target."""
        return self.wait_for_log(event="request", target=target, count=count, **fields)

    # Where it listens

    def addresses(self, count=1):
        """The first count addresses, as logged."""

        def ready():
            if self.process.poll() is not None:
                raise AssertionError(
                    f"viaduct ended at once with status {self.process.returncode}: {self.stderr()}"
                )
            lines = [line["address"] for line in self.lines if is_listener_line(line)]
            return lines if len(lines) >= count else None

        return wait_until(ready, f"{count} listener lines; stderr: {self.stderr()}")

    @property
    def port(self):
        if self._port is None:
            address = next(a for a in self.addresses() if not a.startswith("unix:"))
            self._port = int(address.rpartition(":")[2])
        return self._port

    @property
    def address(self):
        return ("127.0.0.1", self.port)

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def use_listening_port(self):
        """Finds the port without the log, for a daemon whose log nobody reads; returns once it has
        all the sockets that it has when idle: workers run last."""
        self._port = wait_until(self._listening_port, "a listening socket")
        wait_until(lambda: "viaduct-0" in self.threads().values(), "a worker to run")

    def _listening_port(self):
        inodes = {link[8:-1] for link in self.links() if link.startswith("socket:")}
        for line in Path(f"/proc/{self.pid}/net/tcp").read_text().splitlines()[1:]:
            columns = line.split()
            if columns[3] == "0A" and columns[9] in inodes:
                return int(columns[1].rpartition(":")[2], 16)
        return None

    # The process

    def links(self):
        """What its descriptors are."""
        links = []
        try:
            for entry in os.listdir(f"/proc/{self.pid}/fd"):
                try:
                    links.append(os.readlink(f"/proc/{self.pid}/fd/{entry}"))
                except OSError:
                    pass
        except OSError:
            pass
        return links

    def socket_count(self):
        return sum(link.startswith("socket:") for link in self.links())

    def descriptor_count(self):
        return len(self.links())

    def threads(self):
        """{thread id: name}"""
        names = {}
        for task in Path(f"/proc/{self.pid}/task").iterdir():
            try:
                names[int(task.name)] = (task / "comm").read_text().strip()
            except OSError:
                pass  # it has ended meanwhile
        return names

    def resident_bytes(self):
        text = Path(f"/proc/{self.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+) kB", text).group(1)) * 1024

    def cpu_seconds(self):
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stderr(self):
        return self.stderr_path.read_text(errors="replace")

    def signal(self, number):
        self.process.send_signal(number)

    @contextlib.contextmanager
    def stopped(self):
        """Every thread of it stands still inside."""
        self.signal(signal.SIGSTOP)
        try:
            stats = list(Path(f"/proc/{self.pid}/task").glob("*/stat"))
            wait_until(
                lambda: all(s.read_text().rpartition(")")[2].split()[0] == "T" for s in stats),
                "all its threads to stop",
            )
            yield
        finally:
            self.signal(signal.SIGCONT)

    # Its ends

    def note_idle(self):
        """Takes the number of sockets of an idle daemon as what must be left in the end."""
        self._idle_sockets = self.socket_count()

    def settle(self):
        """All peers are gone: fails unless the daemon closes what belonged to them."""
        self.check_alive()
        if not self.check_leaks or self._idle_sockets is None:
            return
        if self.socket_count() > self._idle_sockets:
            gc.collect()  # a client library's exception may hold its connection in a circle
        wait_until(
            lambda: self.socket_count() <= self._idle_sockets,
            f"{self._idle_sockets} sockets, as when idle; now {sorted(self.links())}",
        )
        pipes = sum(link.startswith("pipe:") for link in self.links())
        assert pipes <= POOLED_PIPES, f"{pipes} ends of pipes are open"

    def check_alive(self):
        assert (
            self.process.poll() is None
        ), f"viaduct ended with status {self.process.returncode}: {self.stderr()}"
        self.check_stderr()

    def check_stderr(self):
        text = self.stderr()
        assert not SANITIZER_REPORT.search(text), f"a sanitizer reports:\n{text}"

    def wait_exit(self, deadline=DEADLINE):
        try:
            status = self.process.wait(deadline)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"viaduct did not end within {deadline:.0f} s") from None
        if self.process.stdout:
            self.reader.join(DEADLINE)
        self.check_stderr()
        return status

    def stop(self):
        """TERM; fails unless it ends with status 0 and without a report."""
        if self.process.poll() is None:
            self.signal(signal.SIGTERM)
        status = self.wait_exit()
        assert status == 0, f"viaduct ended with status {status}: {self.stderr()}"

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def describe(self):
        """For the report of a failed test."""
        log = "\n".join(line["raw"] for line in self.lines[self.mark :][-200:])
        return f"$ {' '.join(self.command)}\n{log}\n--- stderr\n{self.stderr()}"


PROXY_VARIABLES = {"http_proxy", "https_proxy", "all_proxy", "no_proxy", "ftp_proxy"}


class Lab:
    """What one test sets up: daemons, origins, clients. All of it is taken down in the right order,
    and the daemons are looked over: nothing left open, no sanitizer report, exit status 0."""

    def __init__(self, shared, directory):
        self.shared = shared  # {options: Daemon} that lives through the session
        self.directory = directory
        self.used = []  # shared daemons of this test
        self.own = []
        self.origins = []
        self.peers = []
        self.endings = []

    def at_end(self, action):
        """Runs action first when the test is over."""
        self.endings.append(action)

    def viaduct(self, *options):
        """A daemon with these options that other tests use too; with one worker, so that there is
        one pool of upstream connections and the log is in order."""
        if not any(option.startswith("server.workers=") for option in options):
            options = (*options, "server.workers=1")
        daemon = self.shared.get(options)
        if daemon is None or daemon.process.poll() is not None:
            daemon = Daemon(self.directory / f"shared-{len(self.shared)}", options)
            self.shared[options] = daemon
            assert daemon.port
            daemon.note_idle()
        if daemon not in self.used:
            daemon.begin_test()
            self.used.append(daemon)
        return daemon

    def fresh(self, *options, **how):
        """A daemon for this test alone; see Daemon for the keywords."""
        daemon = Daemon(self.directory / f"own-{len(self.own)}", options, **how)
        self.own.append(daemon)
        if how.get("stdout") is None:
            assert daemon.addresses()
            daemon.note_idle()
        return daemon

    def origin(self, script=b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n", **how):
        origin = wire.Origin(script, **how)
        self.origins.append(origin)
        return origin

    def gated_origin(self, answer=b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"):
        """Answers once its .gate is set."""

        def script(peer):
            while peer.read_request() is not None:
                assert origin.gate.wait(DEADLINE)
                peer.send(answer)

        gate = threading.Event()
        self.at_end(gate.set)
        origin = self.origin(script)
        origin.gate = gate
        return origin

    def client(self, proxy):
        """A connection to a daemon, or to any (host, port) or unix path."""
        peer = wire.connect(proxy.address if isinstance(proxy, Daemon) else proxy)
        self.peers.append(peer)
        return peer

    def tunnel(self, proxy, origin, early=b""):
        """A connection through which CONNECT to the origin has succeeded."""
        peer = self.client(proxy)
        peer.request("CONNECT", origin.authority)
        if early:
            peer.send(early)
        response = peer.read_response(to="CONNECT")
        assert response.status == 200, response
        return peer

    def close(self):
        """Returns the faults found."""
        faults = []
        for action in self.endings:
            action()
        for peer in self.peers:
            peer.close()
        for origin in self.origins:
            origin.close()
        for origin in self.origins:
            self._attempt(faults, origin.check)
        for daemon in self.used:
            if not self._attempt(faults, daemon.settle):
                daemon.kill()
                for options in [o for o, other in self.shared.items() if other is daemon]:
                    del self.shared[options]  # which the session has too
        for daemon in self.own:
            if daemon.process.poll() is None:
                self._attempt(faults, daemon.settle)
                self._attempt(faults, daemon.stop)
                daemon.kill()
            else:
                self._attempt(faults, daemon.check_stderr)
        return faults

    @staticmethod
    def _attempt(faults, action):
        try:
            action()
            return True
        except AssertionError as fault:
            faults.append(fault)
            return False
