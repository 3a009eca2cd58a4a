# SPDX-License-Identifier: MIT
"""As a service: what the manager is told and when, the watchdog, the journal's priorities, restarts
through socket activation, and a start after kill -9. The manager is a scripted one."""

import ctypes
import os
import re
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

import pytest

import viaduct_harness
import wire
from wire import DEADLINE, response_bytes, wait_until

# --- The service manager ------------------------------------------------------


class Manager:
    """The notify socket of a service manager, and what came in."""

    def __init__(self, address):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(address)
        text = address if isinstance(address, str) else address.decode()
        self.environment = {"NOTIFY_SOCKET": text.replace("\0", "@")}
        self.messages = []

    def watch(self, interval_ms, **others):
        """The environment of a daemon with a watchdog."""
        return {**self.environment, "WATCHDOG_USEC": str(interval_ms * 1000), **others}

    def receive(self, deadline=DEADLINE):
        """The next message as {name: value}; None when there is none in time."""
        self.socket.settimeout(deadline)
        try:
            data = self.socket.recv(4096).decode()
        except TimeoutError:
            return None
        assert data.endswith("\n"), data
        message = dict(line.split("=", 1) for line in data[:-1].split("\n"))
        self.messages.append(message)
        return message

    def wait(self, name, matches=lambda value: True):
        """The next message that has this name, with such a value."""
        end = time.monotonic() + DEADLINE
        while time.monotonic() < end:
            message = self.receive(max(end - time.monotonic(), 0.01))
            if message and name in message and matches(message[name]):
                return message
        raise AssertionError(f"no {name} in time; {self.messages}")

    def close(self):
        self.socket.close()


@pytest.fixture
def manager(tmp_path):
    made = Manager(str(tmp_path / "notify"))
    yield made
    made.close()


def test_ready_once(lab, manager):
    proxy = lab.fresh("server.workers=2", env=manager.environment)
    message = manager.receive()
    assert message["READY"] == "1" and "WATCHDOG" not in message
    assert message["STATUS"] == "0 connections, 0 tunnels, 0 requests served, 0/s"
    proxy.signal(signal.SIGHUP)
    proxy.wait_for_log(event="reload", msg="the new configuration is in force")
    proxy.signal(signal.SIGTERM)
    assert "READY" not in manager.wait("STOPPING")
    assert [m for m in manager.messages if "READY" in m] == [message]


def test_abstract_socket(lab):
    manager = Manager(f"\0viaduct-test-{os.getpid()}")
    lab.at_end(manager.close)
    lab.fresh(env=manager.environment)
    assert manager.receive()["READY"] == "1"


def test_ready_after_all_listen_and_all_workers_run(lab, manager, program, tmp_path):
    """In the order of its system calls."""
    trace = tmp_path / "trace"
    words = [program("strace"), "-f", "-o", str(trace), "-e", "trace=listen,prctl,sendto"]
    proxy = lab.fresh(
        "listen a.address=127.0.0.1:0",
        f"listen b.address=unix:{tmp_path}/sock",
        "server.workers=3",
        env={**manager.environment, "ASAN_OPTIONS": "detect_leaks=0"},
        wrapper=words,
        release=True,
        check_leaks=False,
    )
    assert manager.receive()["READY"] == "1"
    calls = trace.read_text()
    before, _, after = calls.partition('"READY=1')
    assert before.count("listen(") == 3 + 1, calls
    assert "listen(" not in after
    assert all(f'"viaduct-{i}"' in before for i in range(3)), calls
    # strace hands no signal on: the daemon is its child.
    os.kill(int(proxy.wait_for_log(event="start")["pid"]), signal.SIGTERM)
    assert proxy.wait_exit() == 0


def test_no_ready_from_a_start_that_fails(manager, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        proxy = viaduct_harness.Daemon(
            tmp_path / "own",
            [f"listen a.address=127.0.0.1:{taken.getsockname()[1]}"],
            env=manager.environment,
        )
        assert proxy.wait_exit() == 1
    assert manager.receive(0.01) is None


def test_stopping_comes_at_once_and_asks_for_the_time_it_takes(lab, manager):
    proxy = lab.fresh("server.drain_delay=300ms", "server.grace=70s", env=manager.environment)
    manager.wait("READY")
    proxy.signal(signal.SIGTERM)
    message = manager.wait("STOPPING")
    assert message["STOPPING"] == "1" and message["STATUS"].startswith("Draining: ")
    assert 70_300_000 < int(message["EXTEND_TIMEOUT_USEC"]) < 80_000_000
    assert proxy.process.poll() is None, "told before server.drain_delay is over"
    assert proxy.wait_exit() == 0


def test_status_counts(lab, manager):
    proxy = lab.fresh("server.workers=2", env=manager.watch(200))
    origin = lab.origin()
    silent = lab.origin(lambda peer: peer.read_to_end())
    clients = [lab.client(proxy) for _ in range(3)]
    for client in clients:
        assert client.get(origin.url()).status == 200
    tunnel = lab.tunnel(proxy, silent)
    manager.wait("STATUS", lambda text: text == "4 connections, 1 tunnel, 4 requests served, 0/s")
    tunnel.close()
    manager.wait("STATUS", lambda text: text.startswith("3 connections, 0 tunnels, 4 requests"))
    for client in clients:
        client.close()
    manager.wait("STATUS", lambda text: text.startswith("0 connections, 0 tunnels, "))
    while "STATUS" in manager.wait("WATCHDOG"):
        pass  # the rate went down to nothing: then there is nothing new to tell


# --- A manager that is no good ------------------------------------------------


@pytest.mark.parametrize("address", ["relative/path", "@", "vsock:2:1234", "/" + "x" * 200])
def test_address_that_cannot_be_used_is_a_warning(lab, address):
    proxy = lab.fresh(env={"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "1000"})
    assert lab.client(proxy).get(lab.origin().url()).status == 200
    assert "NOTIFY_SOCKET cannot be used" in proxy.stderr()


def test_manager_that_is_gone_is_a_warning(lab, tmp_path):
    proxy = lab.fresh(env={"NOTIFY_SOCKET": str(tmp_path / "nobody")})
    proxy.wait_for_log(event="notify", level="warning")
    assert lab.client(proxy).get(lab.origin().url()).status == 200


def test_manager_that_does_not_read_is_told_later(lab, manager):
    full = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    full.setblocking(False)
    full.connect(manager.environment["NOTIFY_SOCKET"])
    waiting = 0
    with pytest.raises(BlockingIOError):
        while True:
            full.send(b"OTHER=1\n")
            waiting += 1
    proxy = lab.fresh(env=manager.environment)
    assert lab.client(proxy).get(lab.origin().url()).status == 200
    proxy.wait_for_log(event="notify", level="warning")
    for _ in range(waiting):
        assert manager.receive() == {"OTHER": "1"}
    assert "STATUS" in manager.wait("READY")
    full.close()


# --- The watchdog -------------------------------------------------------------

PTRACE_DETACH, PTRACE_SEIZE, PTRACE_INTERRUPT = 17, 0x4206, 0x4207
WALL = 0x40000000


class Stuck:
    """Holds one thread of a process still, and the others run on."""

    def __init__(self, thread):
        self.thread = thread
        self.libc = ctypes.CDLL(None, use_errno=True)
        if self._ask(PTRACE_SEIZE) != 0:
            pytest.skip(f"ptrace is not allowed here: {os.strerror(ctypes.get_errno())}")
        assert self._ask(PTRACE_INTERRUPT) == 0
        os.waitpid(thread, WALL)

    def _ask(self, what):
        ptrace = self.libc.ptrace
        ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
        ptrace.restype = ctypes.c_long
        return ptrace(what, self.thread, None, None)

    def release(self):
        """Also of one that was killed meanwhile: it is gone only when its tracer has seen that."""
        if self.thread and self._ask(PTRACE_DETACH) != 0:
            os.waitpid(self.thread, WALL)
        self.thread = None


def worker_thread(proxy, number):
    return next(tid for tid, name in proxy.threads().items() if name == f"viaduct-{number}")


@pytest.mark.parametrize("number", [0, 1])
def test_watchdog_starves_when_a_worker_is_stuck(lab, manager, number):
    proxy = lab.fresh("server.workers=2", env=manager.watch(300))
    for _ in range(3):
        manager.wait("WATCHDOG")
    stuck = Stuck(worker_thread(proxy, number))
    lab.at_end(stuck.release)
    # What was on its way may come; then nothing for many times the interval.
    while manager.receive(0.05):
        pass
    end = time.monotonic() + 1.5
    while time.monotonic() < end:
        message = manager.receive(max(end - time.monotonic(), 0.01))
        assert not message or "WATCHDOG" not in message
    stuck.release()
    manager.wait("WATCHDOG")
    manager.wait("WATCHDOG")
    assert lab.client(proxy).get(lab.origin().url()).status == 200


def test_watchdog_comes_twice_in_its_time(lab, manager, figure):
    lab.fresh(env=manager.watch(1000))
    manager.wait("WATCHDOG")
    times = []
    for _ in range(4):
        manager.wait("WATCHDOG")
        times.append(time.monotonic())
    longest = max(b - a for a, b in zip(times, times[1:]))
    figure(f"watchdog of 1000 ms: told every {longest * 1000:.0f} ms at most")
    assert longest < 1


def test_watchdog_goes_on_while_workers_end(lab, manager):
    """One worker has ended, the other still has something to do."""
    proxy = lab.fresh("server.workers=2", env=manager.watch(200))
    gate = threading.Event()
    lab.at_end(gate.set)

    def script(peer):
        while peer.read_request() is not None:
            assert gate.wait(DEADLINE)
            peer.send(response_bytes(body=b"ok"))

    origin = lab.origin(script)
    client = lab.client(proxy)
    client.request("GET", origin.url())
    origin.wait_requests(1)
    proxy.signal(signal.SIGTERM)
    manager.wait("STOPPING")
    wait_until(
        lambda: len([n for n in proxy.threads().values() if re.fullmatch(r"viaduct-\d", n)]) == 1,
        "one worker to end",
    )
    for _ in range(4):
        assert "READY" not in manager.wait("WATCHDOG")
    gate.set()
    assert client.read_response().body == b"ok"
    client.close()
    assert proxy.wait_exit() == 0


def test_watchdog_of_another_process_does_not_count(lab, manager):
    lab.fresh(env=manager.watch(100, WATCHDOG_PID="1"))
    assert "WATCHDOG" not in manager.wait("READY")
    assert manager.receive(0.5) is None


def wakes(proxy):
    """How often its threads have gone to sleep."""
    total = 0
    for task in Path(f"/proc/{proxy.pid}/task").iterdir():
        text = (task / "status").read_text()
        total += int(re.search(r"^voluntary_ctxt_switches:\s+(\d+)", text, re.M).group(1))
    return total


def test_nobody_wakes_without_a_watchdog(lab, manager):
    proxy = lab.fresh("server.workers=2", env=manager.environment, release=True)
    manager.wait("READY")
    while manager.receive(0.3):
        pass
    before = wakes(proxy)
    assert manager.receive(1) is None
    assert wakes(proxy) - before <= 1


def test_an_idle_daemon_wakes_for_the_watchdog_alone(lab, manager, figure):
    proxy = lab.fresh("server.workers=2", env=manager.watch(400), release=True)
    for _ in range(3):
        manager.wait("WATCHDOG")
    begin, before, told = time.monotonic(), wakes(proxy), len(manager.messages)
    while time.monotonic() - begin < 2:
        manager.receive(0.5)
    rounds = len(manager.messages) - told
    number = wakes(proxy) - before
    figure(f"watchdog, idle, two workers: {number} wake-ups for {rounds} rounds")
    # A round is the tick, both workers, and the last answer.
    assert number <= 5 * (rounds + 1)
    assert not any("STATUS" in message for message in manager.messages[told:])


# --- The journal --------------------------------------------------------------


class Pipe:
    """A pipe as the daemon's stdout, with its lines; JOURNAL_STREAM may name it."""

    def __init__(self):
        self.end, self.given = os.pipe()
        at = os.fstat(self.given)
        self.name = f"{at.st_dev}:{at.st_ino}"
        self.lines = []
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        with os.fdopen(self.end) as file:
            for line in file:
                self.lines.append(line.rstrip("\n"))

    def close(self):
        """The daemon has ended: all its lines."""
        os.close(self.given)
        self.reader.join(DEADLINE)
        return self.lines


def journal_lines(lab, journal, *options, stream=None, elsewhere=list):
    """All that a daemon writes that starts, serves, refuses, reloads and ends."""
    proxy = lab.fresh(
        "access.no=deny port 1",
        "access.yes=allow to any",
        "log.level=debug",
        *options,
        stdout=journal.given,
        env={"JOURNAL_STREAM": stream or journal.name},
    )
    proxy.use_listening_port()
    client = lab.client(proxy)
    assert client.get(lab.origin().url("/served")).status == 200
    assert client.get("http://127.0.0.1:1/refused").status == 403
    client.close()
    proxy.config.write_text("[nothing]\n")
    proxy.signal(signal.SIGHUP)
    wait_until(
        lambda: any("what was in force stays" in line for line in elsewhere() + journal.lines),
        "the reload to be refused",
    )
    proxy.signal(signal.SIGTERM)
    proxy.wait_exit()
    return journal.close()


LEVELS = {"error": "3", "warning": "4", "notice": "5", "info": "6", "debug": "7"}


@pytest.mark.parametrize("form", ["logfmt", "json", "squid", "combined"])
def test_priorities_in_the_journal(lab, form):
    lines = journal_lines(lab, Pipe(), f"log.access={form}")
    parsed = [re.fullmatch(r"<([3-7])>([^<].*)", line) for line in lines]
    assert all(parsed), lines
    found = set()
    for priority, text in (match.groups() for match in parsed):
        level = re.search(r'level"?[=:]"?(\w+)', text)
        assert priority == (LEVELS[level[1]] if level else "6"), text
        found.add(priority)
    assert {"3", "5", "6"} <= found
    assert any("/served" in line for line in lines) and any("/refused" in line for line in lines)


@pytest.mark.parametrize(
    "words",
    [["-o", "listen a.address=192.0.2.99:1"], ["-o", "server.nmae=x"], ["serve", "--nonsense"]],
    ids=["address", "key", "usage"],
)
def test_a_start_that_fails_is_an_error_in_the_journal(words):
    """What was wrong is said on stderr, where journalctl -p err has to find it."""
    journal = Pipe()
    command = [viaduct_harness.binary(), *words]
    environment = os.environ | {"JOURNAL_STREAM": journal.name}
    result = subprocess.run(
        command, stdout=journal.given, stderr=journal.given, env=environment, check=False
    )
    lines = journal.close()
    assert result.returncode in (1, 2, 78)
    assert lines and all(re.match(r"<[34]>[^<]", line) for line in lines), lines
    assert lines[-1].startswith("<3>")


@pytest.mark.parametrize("stream", ["1:1", "", "x", "1:", "-1:-1"])
def test_no_priorities_elsewhere(lab, stream):
    lines = journal_lines(lab, Pipe(), stream=stream or " ")
    assert lines and not any(line.startswith("<") for line in lines)


def test_no_priorities_in_a_file(lab, tmp_path):
    """The log goes to a file, and stdout to the journal."""
    journal = Pipe()
    log = tmp_path / "log"

    def written():
        return log.read_text().splitlines()

    journal_lines(lab, journal, f"log.destination={log}", elsewhere=written)
    lines = written()
    assert lines and all(line.startswith("time=") for line in lines)


# --- Restarts -----------------------------------------------------------------


QUIET = ("server.grace=10s", "server.workers=2", "log.access=off")


class Load:
    """Clients that ask one request over each new connection, as fast as they are answered."""

    def __init__(self, address, url, clients=8, connect=wire.connect):
        self.address, self.url, self.connect = address, url, connect
        self.stopping = threading.Event()
        self.served = 0
        self.failures = []
        self.lock = threading.Lock()
        self.threads = [threading.Thread(target=self._run, daemon=True) for _ in range(clients)]
        for thread in self.threads:
            thread.start()

    def _run(self):
        while not self.stopping.is_set():
            try:
                peer = self.connect(self.address)
            except OSError as error:
                failure = f"connect: {error}"
            else:
                failure = self._ask(peer)
                peer.close()
            with self.lock:
                if failure:
                    self.failures.append(failure)
                else:
                    self.served += 1

    def _ask(self, peer):
        try:
            response = peer.get(self.url)
        except (AssertionError, EOFError, OSError) as error:
            return f"request: {error!r}"
        return None if response.status == 200 else f"status {response.status}"

    def wait_served(self, more):
        """Until so many more have been served."""
        goal = self.served + more
        wait_until(lambda: self.served >= goal or self.failures, f"{more} more requests")

    def stop(self):
        self.stopping.set()
        for thread in self.threads:
            thread.join(DEADLINE)
            assert not thread.is_alive(), "a client hangs"


def slow_origin(lab, pieces=20, pause=0.015):
    """An answer that takes pieces * pause seconds."""

    def script(peer):
        while peer.read_request() is not None:
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (pieces * 1000))
            for _ in range(pieces):
                threading.Event().wait(pause)  # the origin's pace, not a wait of the test
                peer.send(b"x" * 1000)

    return lab.origin(script)


class Download:
    """One slow download in a thread of its own."""

    def __init__(self, address, url, connect=wire.connect):
        self.peer = connect(address)
        self.peer.request("GET", url)
        self.peer.read_response_head()
        self.size = None
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        try:
            self.size = len(self.peer.read_exactly(20000))
        except (AssertionError, EOFError, OSError) as error:
            self.size = repr(error)
        self.peer.close()

    def result(self):
        self.thread.join(DEADLINE)
        return self.size


def activated(lab, sock, *options, **how):
    """A daemon that was handed a listening socket, which stays open here, as with a manager."""
    script = f"exec 3<&{sock.fileno()}; "
    script += 'LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=local exec "$0" "$@"'
    return lab.fresh(
        "listen local.address=systemd",
        *options,
        wrapper=["bash", "-c", script],
        pass_fds=[sock.fileno()],
        release=True,
        **how,
    )


@pytest.mark.serial
def test_restarts_under_load_refuse_nobody(lab, figure):
    """20 restarts through socket activation; a download goes on over each."""
    sock = socket.create_server(("127.0.0.1", 0), backlog=4096)
    moved = socket.socket(fileno=os.dup2(sock.fileno(), 200))
    lab.at_end(moved.close)
    sock.close()
    address = moved.getsockname()
    slow, quick = slow_origin(lab), lab.origin()
    proxy = activated(lab, moved, *QUIET)
    load = Load(address, quick.url())
    lab.at_end(load.stop)
    sizes = []
    for _ in range(20):
        load.wait_served(50)
        download = Download(address, slow.url())
        proxy.signal(signal.SIGTERM)
        assert proxy.wait_exit() == 0
        proxy = activated(lab, moved, *QUIET)
        sizes.append(download.result())
    load.wait_served(50)
    load.stop()
    figure(f"20 restarts under load: {load.served} requests, {len(load.failures)} failed")
    assert load.failures == []
    assert sizes == [20000] * 20


# --- kill -9, and another start -----------------------------------------------


def start_killed_before(lab, *options):
    """A daemon at an address, for one that was killed there; how long until it is listened on."""
    begin = time.monotonic()
    proxy = lab.fresh(
        *options, "log.access=off", "server.workers=2", release=True, stdout=subprocess.DEVNULL
    )
    return proxy, begin


def wait_connect(address, begin):
    """Milliseconds from begin until somebody listens there."""

    def connects():
        try:
            wire.connect(address).close()
            return True
        except OSError:
            return False

    wait_until(connects, f"{address} to be listened on")
    return (time.monotonic() - begin) * 1000


@pytest.mark.serial
def test_kill_and_start_again_under_load(lab, figure):
    address = ("127.0.0.1", wire.free_port())
    option = "listen a.address=127.0.0.1:%d" % address[1]
    proxy, begin = start_killed_before(lab, option)
    times = [wait_connect(address, begin)]
    load = Load(address, lab.origin().url())
    lab.at_end(load.stop)
    for _ in range(7):
        load.failures.clear()
        load.wait_served(50)
        proxy.kill()
        proxy, begin = start_killed_before(lab, option)
        times.append(wait_connect(address, begin))
    load.failures.clear()
    load.wait_served(50)
    load.stop()
    times.sort()
    figure(
        f"kill -9 and start again under load: listening after {times[0]:.0f} to {times[-1]:.0f} ms,"
        f" median {times[len(times) // 2]:.0f} ms"
    )
    assert times[len(times) // 2] < 100
