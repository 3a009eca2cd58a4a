# SPDX-License-Identifier: MIT
"""The unit files: valid, hardened, and what they forbid is really unused; then run by a real systemd
where one can be booted."""

import os
import re
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

import viaduct_harness
import wire
from dns_server import DnsServer
from systemd_box import Box
from test_service import Download, Load, slow_origin
from wire import DEADLINE, wait_until

UNITS = viaduct_harness.ROOT / "systemd"


def needs(name):
    return pytest.mark.skipif(shutil.which(name) is None, reason=f"{name} is not installed")


def unit_text(bindir="/usr/bin"):
    return (UNITS / "viaduct.service.in").read_text().replace("@bindir@", bindir)


@pytest.fixture
def unit(tmp_path):
    """The service in a file, with the binary where it says."""
    shutil.copy(viaduct_harness.binary(release=True), tmp_path / "viaduct")
    path = tmp_path / "viaduct.service"
    path.write_text(unit_text(str(tmp_path)))
    return path


def values_of(name):
    """What the unit sets a key to, in order."""
    return re.findall(rf"^{name}=(.*)$", unit_text(), re.M)


def analyze(*words):
    result = subprocess.run(
        ["systemd-analyze", *words], capture_output=True, text=True, timeout=DEADLINE, check=False
    )
    return result.returncode, result.stdout + result.stderr


@needs("systemd-analyze")
def test_units_are_valid(unit):
    status, said = analyze("verify", "--man=no", unit, UNITS / "viaduct.socket")
    assert (status, said) == (0, "")


@needs("systemd-analyze")
def test_exposure_is_below_1_5(unit, figure):
    status, said = analyze("security", "--offline=yes", "--no-pager", "--threshold=14", unit)
    assert status == 0, said
    figure(f"systemd-analyze security: {re.search(r'exposure level.*: ([0-9.]+)', said)[1]}")


# --- What it calls ------------------------------------------------------------


def syscall_sets():
    """{"@name": members} as this systemd knows them."""
    status, text = analyze("syscall-filter", "--no-pager")
    assert status == 0, text
    sets, name = {}, None
    for line in text.splitlines():
        if line.startswith("@"):
            name = line.strip()
            sets[name] = []
        elif line.startswith("    ") and not line.strip().startswith("#"):
            sets[name].append(line.strip())
    return sets


def expand(words, sets):
    calls = set()
    for word in words:
        calls |= expand(sets[word], sets) if word.startswith("@") else {word}
    return calls


def allowed_calls():
    sets, allowed = syscall_sets(), set()
    for value in values_of("SystemCallFilter"):
        calls = expand(value.lstrip("~").split(), sets)
        allowed = allowed - calls if value.startswith("~") else allowed | calls
    return allowed


USERS = "ann:" + "$2b$04$abcdefghijklmnopqrstuuCq3wPqWVJ0E3XpPkmNoJXy1oOSXn1K." + "\n"


def traced_load(lab, tmp_path, strace):
    """All that a daemon calls that does what it can do: every line of the trace."""
    trace, users, log = tmp_path / "trace", tmp_path / "users", tmp_path / "log"
    users.write_text(USERS)
    with DnsServer() as dns:
        dns.add("origin.test", a=["127.0.0.1"])
        proxy = lab.fresh(
            "listen a.address=127.0.0.1:0",
            f"listen b.address=unix:{tmp_path}/sock",
            f"admin.address=unix:{tmp_path}/admin",
            "access.login=allow to any port 1 user *",
            "access.all=allow to any",
            f"auth.users={users}",
            f"dns.servers={dns.address}",
            f"log.destination={log}",
            wrapper=[strace, "-f", "-s", "0", "-o", str(trace)],
            stdout=subprocess.DEVNULL,
            release=True,
            check_leaks=False,
        )
        daemon = wait_until(lambda: listening_child(proxy.pid), "the daemon")
        wait_until(lambda: log.exists() and "listener=b" in log.read_text(), "its start")
        port = int(re.search(r"address=127.0.0.1:(\d+)", log.read_text())[1])
        use_all_of_it(lab, ("127.0.0.1", port), tmp_path)
        os.kill(daemon, signal.SIGUSR1)
        proxy.config.write_text("[access]\nother = allow to any\n")
        os.kill(daemon, signal.SIGHUP)
        wait_until(lambda: "configuration is in force" in log.read_text(), "the reload")
        os.kill(daemon, signal.SIGTERM)
        assert proxy.wait_exit(3 * DEADLINE) == 0
    return trace.read_text().splitlines()


def listening_child(pid):
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(children[0]) if children else None


def use_all_of_it(lab, address, tmp_path):
    """Requests with and without content, names, passwords, tunnels that splice, all kinds of
    listeners."""
    big = wire.response_bytes(body=b"x" * 3_000_000)
    origin = lab.origin(big)

    def echo(peer):
        while peer.fill():
            peer.send(peer.take(len(peer.buffer)))

    for place in (address, str(tmp_path / "sock")):
        client = lab.client(place)
        assert client.get(origin.url()).status == 200
        client.request("POST", origin.url(), body=b"y" * 300_000)
        assert client.read_response().status == 200
        named = client.get(f"http://origin.test:{origin.port}/")
        assert named.status == 200
        assert client.get("http://absent.test/").status == 502
    client = lab.client(address)
    password = [("Proxy-Authorization", "Basic YW5uOndyb25n")]
    assert client.get("http://127.0.0.1:1/", password).status == 407
    tunnel = lab.client(address)
    tunnel.request("CONNECT", lab.origin(echo).authority)
    assert tunnel.read_response(to="CONNECT").status == 200
    for _ in range(20):
        tunnel.send(b"z" * 50_000)
        assert tunnel.read_exactly(50_000)
    tunnel.close()
    admin = lab.client(str(tmp_path / "admin"))
    assert admin.get("/status", [("Host", "localhost")]).status == 200


@pytest.fixture(scope="module")
def traces():
    return {}


@pytest.fixture
def trace(lab, tmp_path, program, traces):
    if not traces:
        traces["lines"] = traced_load(lab, tmp_path, program("strace"))
    return traces["lines"]


@needs("systemd-analyze")
def test_forbidden_calls_are_unused(trace, figure):
    allowed = allowed_calls()
    assert "mount" not in allowed and "chown" not in allowed and "sched_setattr" in allowed
    used = set(re.findall(r"^\d+ +(?:<\.\.\. )?([a-z_0-9]+)[( ]", "\n".join(trace), re.M))
    assert {"epoll_wait", "accept4", "splice", "sched_setattr", "sendto", "pipe2"} <= used, used
    assert used <= allowed, f"used and forbidden: {sorted(used - allowed)}"
    figure(f"system calls: {len(used)} used of {len(allowed)} that the unit allows")


def test_forbidden_kinds_of_sockets_are_unused(trace):
    allowed = set(values_of("RestrictAddressFamilies")[0].split())
    used = set(re.findall(r"socket\((AF_\w+)", "\n".join(trace)))
    assert used == allowed - ({"AF_INET6"} - used)


def test_no_memory_is_both_written_and_executed(trace):
    assert values_of("MemoryDenyWriteExecute") == ["yes"]
    assert not [line for line in trace if "PROT_WRITE" in line and "PROT_EXEC" in line]


# --- Run by a real systemd ----------------------------------------------------

CONFIG = """
[log]
level = debug
[access]
no = deny port 1
all = allow from loopback to any
"""


@pytest.fixture(scope="module")
def box(tmp_path_factory):
    """A booted machine with viaduct installed, and its units."""
    binary = Path(viaduct_harness.binary(release=True))
    made = Box(
        tmp_path_factory.mktemp("box"),
        {
            "/usr/bin/viaduct": binary,
            "/etc/systemd/system/viaduct.service": unit_text(),
            "/etc/systemd/system/viaduct.socket": UNITS / "viaduct.socket",
            "/etc/viaduct/viaduct.ini": CONFIG,
            "/root/origin/index.html": "hello\n",
        },
    )
    yield made
    made.close()


@pytest.fixture
def machine(box):
    """The box as a test wants it: nothing runs, no drop-ins, the configuration as it was."""
    yield box
    box.run("systemctl", "stop", "viaduct.socket", "viaduct.service", check=False)
    box.run("rm", "-rf", "/run/systemd/system/viaduct.service.d")
    box.write("/etc/viaduct/viaduct.ini", CONFIG)
    box.run("systemctl", "daemon-reload")
    box.run("systemctl", "reset-failed")


def status_of(box, url, proxy="http://127.0.0.1:8080"):
    words = ["curl", "-s", "-m", "10", "-o", "/dev/null", "-w", "%{http_code}", "-x", proxy, url]
    return box.run(*words, check=False).stdout


def test_service_starts_serves_and_stops(machine):
    machine.run("systemctl", "start", "viaduct.service")
    # It is ready: no waiting here.
    assert status_of(machine, "http://127.0.0.1:1/") == "403"
    assert status_of(machine, "http://127.0.0.1:2/") == "502"
    assert machine.show("viaduct.service", "ActiveState") == "active"
    assert "served" in machine.show("viaduct.service", "StatusText")
    machine.run("systemctl", "stop", "viaduct.service")
    assert machine.show("viaduct.service", "Result") == "success"
    assert machine.show("viaduct.service", "ExecMainStatus") == "0"
