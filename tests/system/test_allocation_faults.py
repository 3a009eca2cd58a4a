# SPDX-License-Identifier: MIT
"""Every allocation on a path fails once: the daemon lives, what it could not do it says (503) or
shows (a connection that breaks off), nothing is left behind, and the next request works."""

import os
import re
import socket
import subprocess
import threading

import pytest

import viaduct_harness
import wire
from dns_server import DnsServer
from faults import faults  # pylint: disable=unused-import
from wire import request_bytes, wait_until

OUT_OF_MEMORY = "error:no-memory"
BCRYPT_SECRET = "$2y$04$Bnys2ozyscDjHYw.yV4FA.8NAi0FdPMw70nHhjD1bp2eWHc8WJnZy"


# --- What is done, with every allocation failing in its turn ------------------


class Outcome:
    """What a client saw: a whole response's status, or None when the connection broke off."""

    def __init__(self, status=None, response=None):
        self.status = status
        self.response = response


def attempt(action):
    """Runs a client's part; a connection that breaks off is an outcome, a stall is not."""
    try:
        response = action()
    except TimeoutError:
        raise
    except (EOFError, OSError):
        return Outcome()
    return Outcome() if response.cut else Outcome(response.status, response)


class Scenario:
    """One way through the daemon: a client's part, and the origin's. What the origin's scripts meet
    when the other side goes away does not count."""

    options = ()
    good = 200
    failures = {503}

    def __init__(self, lab):
        self.lab = lab
        self.origin = lab.origin(self.forgiving)

    def forgiving(self, peer):
        try:
            self.serve(peer)
        except (EOFError, OSError, AssertionError):
            pass

    def end(self):
        """The origin's connections end; none stays in the pool."""
        for peer in self.origin.peers:
            try:
                peer.sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        self.origin.peers.clear()
        self.origin.threads.clear()

    def target(self, number):
        return self.origin.url(f"/{number}")


class Plain(Scenario):
    """A request and its response, both with a head that one piece of the arena does not hold; the
    connection is kept until the origin ends it."""

    def serve(self, peer):
        peer.read_request()
        peer.send(
            wire.response_bytes(
                fields=[("X-Long", "y" * 5000), ("Keep-Alive", "timeout=5")],
                body=b"the body",
                framing="chunked",
            )
        )

    def run(self, proxy, number):
        client = self.lab.client(proxy)
        client.request("GET", self.target(number), [("X-Long", "x" * 5000)])
        response = client.read_response(may_be_cut=True)
        client.close()
        return response


class Upload(Scenario):
    """Chunked both ways, with trailers both ways."""

    def serve(self, peer):
        request = peer.read_request()
        if request is None:
            return
        trailer = b"".join(b"%s: %s\r\n" % (n.encode(), v.encode()) for n, v in request.trailers)
        peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-T\r\n\r\n")
        peer.send(b"%x\r\n%s\r\n0\r\n%s\r\n" % (len(request.body), request.body, trailer))

    def run(self, proxy, number):
        client = self.lab.client(proxy)
        body = wire.chunked(b"x" * 3000, b"y" * 3000, trailers=[("X-T", "z" * 4500)])
        fields = [("Transfer-Encoding", "chunked"), ("Trailer", "X-T")]
        try:
            client.send(request_bytes("PUT", self.target(number), fields, body))
        except OSError:
            pass
        response = client.read_response(may_be_cut=True)
        client.close()
        return response


class Blocked(Scenario):
    """A response that the client does not read at first: what cannot be written must be kept."""

    size = 8_000_000

    def serve(self, peer):
        peer.read_request()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % self.size)
        peer.send(b"x" * self.size)

    def run(self, proxy, number):
        client = self.lab.client(proxy)
        client.request("GET", self.target(number))
        client.is_silent(0.05)
        response = client.read_response(may_be_cut=True)
        client.close()
        return response


class Pipelined(Scenario):
    """A second request waits while the first is answered."""

    def serve(self, peer):
        wire.answer_all(peer, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    def run(self, proxy, number):
        client = self.lab.client(proxy)
        client.send(request_bytes("GET", self.target(number)) * 2)
        client.finish()
        first = client.read_response(may_be_cut=True)
        if first.status != 200 or first.cut:
            client.read_to_end()
            return first
        return client.read_response(may_be_cut=True)


class Refused(Scenario):
    """An answer of our own."""

    good = 502
    failures = {503}

    def serve(self, peer):
        pass

    def target(self, number):
        return f"http://127.0.0.1:{self.port}/{number}"

    def run(self, proxy, number):
        client = self.lab.client(proxy)
        client.request("GET", self.target(number), [("Accept", "text/html")])
        response = client.read_response(may_be_cut=True)
        client.close()
        return response

    def __init__(self, lab):
        super().__init__(lab)
        self.port = wire.free_port()


class Tunnel(Scenario):
    """CONNECT with early bytes, more bytes than sockets hold, an end."""

    size = 6_000_000

    def serve(self, peer):
        while peer.fill():
            peer.send(peer.take(len(peer.buffer)))

    def target(self, number):
        return self.origin.authority

    def run(self, proxy, number):
        client = self.lab.client(proxy)
        client.send(request_bytes("CONNECT", self.target(number)) + b"early")
        response = client.read_response(to="CONNECT")
        if response.status != 200:
            client.close()
            return response
        sender = threading.Thread(target=self.send, args=(client,))
        sender.start()
        client.is_silent(0.02)
        got = len(client.read_to_end())
        sender.join()
        response.cut = client.ended if got != self.size + 5 else None
        client.close()
        return response

    def send(self, client):
        try:
            client.send(b"x" * self.size)
            client.finish()
        except OSError:
            pass


class Upgrade(Scenario):
    good = 101

    def serve(self, peer):
        peer.read_request()
        peer.send(b"HTTP/1.1 101 Go\r\nUpgrade: echo\r\nConnection: Upgrade\r\n\r\nfirst words")
        peer.read_to_end()

    def run(self, proxy, number):
        client = self.lab.client(proxy)
        client.request("GET", self.target(number), [("Connection", "upgrade"), ("Upgrade", "echo")])
        response = client.read_response(may_be_cut=True)
        if response.status == 101:
            response.cut = None if client.read_exactly(11) == b"first words" else "fin"
        client.finish()
        client.read_to_end()
        client.close()
        return response


class Dns(Plain):
    """A name that must be asked for, with an answer that comes by UDP and is too large for it."""

    failures = {503}

    def __init__(self, lab):
        super().__init__(lab)
        self.dns = DnsServer().__enter__()
        lab.at_end(lambda: self.dns.__exit__(None, None, None))
        self.options = (f"dns.servers={self.dns.address}", "timeouts.dns=600ms")

    def target(self, number):
        name = f"n{number}.test"
        self.dns.add(name, a=["127.0.0.1"], aaaa=[])
        return f"http://{name}:{self.origin.port}/{number}"


class Login(Plain):
    """A password is checked for each request, on a thread of its own."""

    def __init__(self, lab):
        super().__init__(lab)
        users = lab.directory / "users"
        users.write_text(f"alice:{BCRYPT_SECRET}\n")
        self.options = (
            f"auth.users={users}",
            "auth.cache=0",
            "access.staff=allow from loopback user * to any",
        )

    def run(self, proxy, number):
        client = self.lab.client(proxy)
        response = client.get(
            self.target(number), [("Proxy-Authorization", "Basic YWxpY2U6c2VjcmV0")], may_be_cut=True
        )
        client.close()
        return response


SCENARIOS = [Plain, Upload, Blocked, Pipelined, Refused, Tunnel, Upgrade, Dns, Login]


# --- The rounds ---------------------------------------------------------------


class Rounds:
    def __init__(self, lab, page, kind):
        self.faults = page
        self.scenario = kind(lab)
        self.proxy = lab.fresh(
            "server.workers=1",
            "dns.cache_entries=0",
            "timeouts.idle=5s",
            *self.scenario.options,
            env=page.environment,
        )
        self.number = 0

    def run(self):
        self.number += 1
        outcome = attempt(lambda: self.scenario.run(self.proxy, self.number))
        for peer in self.scenario.lab.peers:
            peer.close()
        self.scenario.lab.peers.clear()
        self.scenario.end()
        return outcome

    def settle(self, what):
        """Nothing is left of a round: no block, no socket."""
        self.proxy.check_alive()
        wait_until(
            lambda: self.faults.blocks <= self.blocks or self.proxy.process.poll() is not None,
            f"{self.blocks} blocks, as before {what}; now {self.faults.blocks}",
            deadline=5 * wire.SLOWNESS,
        )
        self.proxy.settle()

    def warm_up(self):
        """What is allocated once and kept must not count as left behind."""
        for _ in range(4):
            assert self.run().status == self.scenario.good
            self.proxy.settle()
            settled = []
            wait_until(lambda: self.is_steady(settled), "blocks to be given back")
        self.blocks = self.faults.blocks

    def is_steady(self, seen):
        seen.append(self.faults.blocks)
        return len(seen) > 10 and len(set(seen[-10:])) == 1

    def count(self):
        self.faults.watch()
        assert self.run().status == self.scenario.good
        self.settle("the count")
        return self.faults.calls

    def fail_one(self, number):
        self.proxy.begin_test()
        self.faults.watch(number)
        outcome = self.run()
        what = f"allocation {number} failed"
        self.settle(what)
        failed = self.faults.failed
        self.faults.stop()
        self.check(outcome, what)
        assert self.run().status == self.scenario.good, f"after {what} the next request fails"
        self.settle(what)
        return failed

    def check(self, outcome, what):
        scenario = self.scenario
        if outcome.status == scenario.good:
            return
        if outcome.status is None:
            """The connection broke off: if there was a request, its line says why."""
            self.proxy.catch_up_with_log()
            lines = self.proxy.find_lines(is_of_scenario, event="request")
            ends = {line["end"] for line in lines} - {"complete"}
            assert ends <= {OUT_OF_MEMORY}, f"{what}: {lines}"
            return
        assert outcome.status in scenario.failures, f"{what}: {outcome.response}"
        assert int(outcome.response.get("Retry-After")) > 0
        line = self.proxy.wait_for_log(event="request", status=str(outcome.status))
        assert line["end"] == OUT_OF_MEMORY, f"{what}: {line['raw']}"


def is_of_scenario(line):
    """Not of the harness."""
    return not line["target"].startswith("ftp:")


@pytest.mark.parametrize("kind", SCENARIOS, ids=lambda kind: kind.__name__.lower())
def test_every_allocation_fails_once(lab, faults, figure, kind):
    rounds = Rounds(lab, faults, kind)
    rounds.warm_up()
    count = rounds.count()
    assert count >= 5, "the hook sees no allocations"
    failed = sum(rounds.fail_one(number) for number in range(1, count + 1))
    figure(f"allocation faults, {kind.__name__.lower()}: {count} allocations, {failed} failed")
    assert failed >= count * 0.8


@pytest.mark.parametrize("kind", SCENARIOS, ids=lambda kind: kind.__name__.lower())
def test_all_allocations_fail_from_one_on(lab, faults, kind):
    """Memory stays out until the client has its answer, or the end."""
    rounds = Rounds(lab, faults, kind)
    rounds.warm_up()
    count = rounds.count()
    for number in range(1, count + 1, max(1, count // 12)):
        faults.watch(number, 1 << 60)
        outcome = rounds.run()
        rounds.settle(f"all from {number} on failed")
        faults.stop()
        assert outcome.status in {None, rounds.scenario.good, *rounds.scenario.failures}
        assert rounds.run().status == rounds.scenario.good
        rounds.settle(f"all from {number} on failed")


# --- The configuration --------------------------------------------------------

CONFIGURATION = """
include = more/*.ini
[server]
workers = 1
name    = here
[listen lan]
address = 127.0.0.1:0, [::1]:0
[listen local]
address = unix:{directory}/socket
[timeouts]
header  = 3s
[dns]
servers = 127.0.0.1:5353, [::1]:53
hosts   = {directory}/hosts
[log]
destination = {directory}/log
"""


def load(faults, config, number):
    faults.watch(number)
    return subprocess.run(
        [viaduct_harness.binary(), "check", "-c", str(config), "-o", "server.grace=1s"],
        env={
            "ASAN_OPTIONS": "detect_leaks=1:exitcode=99",
            "UBSAN_OPTIONS": "exitcode=99",
            **{key: os.environ[key] for key in ("PATH",) if key in os.environ},
            **faults.environment,
        },
        capture_output=True,
        text=True,
        timeout=wire.DEADLINE,
        check=False,
    )


def test_every_allocation_of_a_configuration_load_fails_once(faults, figure, tmp_path):
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "one.ini").write_text("[limits]\nfields = 300\n")
    (tmp_path / "more" / "two.ini").write_text("[pool]\nidle = 10s\n")
    (tmp_path / "hosts").write_text("127.0.0.1 here\n")  # its absence would be a warning
    config = tmp_path / "viaduct.ini"
    config.write_text(CONFIGURATION.format(directory=tmp_path))
    whole = load(faults, config, 0)
    assert whole.returncode == 0 and ": ok" in whole.stdout, whole
    count = faults.calls
    assert count > 20
    wrong = []
    for number in range(1, count + 1):
        result = load(faults, config, number)
        said = result.stdout + result.stderr
        if (result.returncode, said) == (0, whole.stdout + whole.stderr):
            continue  # while it looked for server.user: all else is read again
        if result.returncode not in (1, 78) or not said.strip() or ": ok" in said:
            wrong.append((number, result.returncode, said[:2000]))
        elif "memory" not in said:
            wrong.append((number, "says not why", said[:500]))
    figure(f"allocation faults, configuration: {count} allocations")
    assert not wrong, f"{len(wrong)} of {count}: {wrong[0]}"


def test_every_allocation_of_a_start_fails_once(faults, figure, tmp_path):
    """A start that finds no memory ends with status 1 and says so, or serves all the same."""
    command = [viaduct_harness.binary(), "serve", "-o", "server.workers=1", "-o", "server.grace=0"]
    command += ["-o", "listen a.address=127.0.0.1:0", "-o", "dns.servers=127.0.0.1:9"]
    command += ["-o", f"admin.address=unix:{tmp_path}/admin.sock"]
    served = 0
    number = 0
    while served < 3:
        number += 1
        faults.watch(number)
        with subprocess.Popen(
            command,
            env={"ASAN_OPTIONS": "detect_leaks=1:exitcode=99", **faults.environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process:
            text = ""
            for line in process.stdout:
                text += line
                if "event=admin" in line:
                    process.terminate()
            status = process.wait(wire.DEADLINE)
        assert not viaduct_harness.SANITIZER_REPORT.search(text), f"allocation {number}: {text}"
        if "event=admin" in text:
            assert status == 0, f"allocation {number}: status {status}\n{text}"
            served = served + 1 if faults.failed == 0 else 0
        else:
            assert status in (1, 78) and text.strip(), f"{number}: status {status}\n{text}"
        assert number < 1000
    figure(f"allocation faults, start: {number - served} allocations")
