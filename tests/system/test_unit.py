# SPDX-License-Identifier: MIT
"""The unit files: valid, hardened, and what they forbid is really unused; then run by a real systemd
where one can be booted."""

import json
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
from test_service import Download, Load, Stuck, slow_origin
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
        wait_until(lambda: log.exists() and "listener=b" in log.read_text(), "its start")
        daemon = child_of(proxy.pid)
        port = int(re.search(r"address=127.0.0.1:(\d+)", log.read_text())[1])
        use_all_of_it(lab, ("127.0.0.1", port), tmp_path)
        os.kill(daemon, signal.SIGUSR1)
        proxy.config.write_text("[access]\nother = allow to any\n")
        os.kill(daemon, signal.SIGHUP)
        wait_until(lambda: "configuration is in force" in log.read_text(), "the reload")
        os.kill(daemon, signal.SIGTERM)
        assert proxy.wait_exit(3 * DEADLINE) == 0
    return trace.read_text().splitlines()


def child_of(strace):
    """The daemon; strace has other children for a moment when it begins."""
    for pid in Path(f"/proc/{strace}/task/{strace}/children").read_text().split():
        if Path(f"/proc/{pid}/comm").read_text() == "viaduct\n":
            return int(pid)
    return None


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
            "/usr/lib/sysusers.d/viaduct.conf": UNITS / "sysusers.conf",
            "/usr/lib/tmpfiles.d/viaduct.conf": UNITS / "tmpfiles.conf",
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


def drop_in(machine, text):
    machine.write("/run/systemd/system/viaduct.service.d/test.conf", "[Service]\n" + text)
    machine.run("systemctl", "daemon-reload")


def test_service_is_nobody_in_particular(machine):
    machine.run("systemctl", "start", "viaduct.service")
    status = Path(f"/proc/{machine.process_of('viaduct.service')}/status").read_text()
    assert re.search(r"^Uid:\s+(\d+)", status, re.M)[1] != "0"
    for name, value in (("CapEff", "0"), ("CapBnd", "0"), ("NoNewPrivs", "1"), ("Seccomp", "2")):
        assert int(re.search(rf"^{name}:\s+(\w+)", status, re.M)[1], 16) == int(value), name
    entries = machine.wait_for_journal("viaduct.service", "viaduct serves")
    assert "running as root" not in str(entries)


def test_wrong_configuration_is_not_tried_again(machine):
    machine.write("/etc/viaduct/viaduct.ini", "[access]\nx = alow to any\n")
    assert machine.run("systemctl", "start", "viaduct.service", check=False).returncode != 0
    assert machine.show("viaduct.service", "ExecMainStatus") == "78"
    assert machine.show("viaduct.service", "NRestarts") == "0"
    assert machine.show("viaduct.service", "ActiveState") == "failed"


def test_priorities_in_a_real_journal(machine):
    machine.run("systemctl", "start", "viaduct.service")
    assert status_of(machine, "http://127.0.0.1:1/refused") == "403"
    machine.run("systemctl", "stop", "viaduct.service")
    entries = machine.wait_for_journal("viaduct.service", "/refused")
    assert (5, "viaduct serves") in [(p, re.sub(r'.*msg="(.*)"$', r"\1", m)) for p, m in entries]
    assert [p for p, m in entries if "/refused" in m] == [6]
    assert not [m for _, m in entries if m.startswith("<")]


def test_one_that_was_killed_is_started_again(machine):
    machine.run("systemctl", "start", "viaduct.service")
    os.kill(machine.process_of("viaduct.service"), signal.SIGKILL)
    wait_until(lambda: machine.show("viaduct.service", "NRestarts") == "1", "the restart")
    wait_until(lambda: machine.show("viaduct.service", "ActiveState") == "active", "it to be ready")
    assert status_of(machine, "http://127.0.0.1:1/") == "403"


def test_watchdog_restarts_one_whose_worker_is_stuck(machine, lab):
    drop_in(machine, "WatchdogSec=1s\n")
    machine.run("systemctl", "start", "viaduct.service")
    process = machine.process_of("viaduct.service")
    tasks = Path(f"/proc/{process}/task").iterdir()
    worker = next(int(t.name) for t in tasks if (t / "comm").read_text() == "viaduct-0\n")
    stuck = Stuck(worker)
    lab.at_end(stuck.release)
    # SIGABRT comes to the whole process; the thread that stands still ends once it is let go.
    wait_until(
        lambda: "watchdog" in machine.show("viaduct.service", "Result")
        or "stop-watchdog" in machine.show("viaduct.service", "SubState"),
        "the watchdog to strike",
    )
    stuck.release()
    wait_until(lambda: machine.show("viaduct.service", "NRestarts") == "1", "the restart")
    wait_until(lambda: machine.show("viaduct.service", "ActiveState") == "active", "it to be ready")
    assert status_of(machine, "http://127.0.0.1:1/") == "403"


def test_what_the_manager_limits_is_seen(machine):
    drop_in(machine, "MemoryMax=256M\nLimitNOFILE=5000\n")
    machine.run("systemctl", "start", "viaduct.service")
    status = json.loads(machine.run("viaduct", "status", "--json").stdout)
    assert 4000 < status["connections"]["max"] < 5000
    # On a machine whose first hierarchy has the memory controller, MemoryMax= holds nobody here.
    if "memory" in machine.path("/sys/fs/cgroup/cgroup.controllers").read_text().split():
        assert status["buffer_bytes"]["max"] == 256 * 2**20 // 8


def test_credentials(machine):
    """A file that only root may read, handed over by the manager."""
    machine.write("/root/users", USERS)
    machine.run("chmod", "0600", "/root/users")
    drop_in(machine, "LoadCredential=users:/root/users\n")
    users = "/run/credentials/viaduct.service/users"
    machine.write(
        "/etc/viaduct/viaduct.ini", f"[auth]\nusers = {users}\n[access]\na = allow to any user *\n"
    )
    machine.run("systemctl", "start", "viaduct.service")
    assert status_of(machine, "http://192.0.2.1/") == "407"


@pytest.fixture
def fixed_user(machine):
    """The user of sysusers.d, as long as the test lasts."""
    machine.run("systemd-sysusers", "viaduct.conf")
    yield int(machine.run("id", "-u", "viaduct").stdout)
    machine.run("systemctl", "stop", "viaduct.service")
    machine.run("userdel", "viaduct")
    machine.run("rm", "/etc/viaduct/users")


def test_users_are_read_by_the_fixed_user_alone_and_followed(machine, fixed_user):
    machine.write("/etc/viaduct/users", USERS)
    machine.run("systemd-tmpfiles", "--create", "viaduct.conf")
    mode = machine.run("stat", "-c", "%a %U:%G", "/etc/viaduct/users").stdout
    assert mode == "640 root:viaduct\n"
    config = "[auth]\nusers = users\n[access]\na = allow to any user *\n"
    machine.write("/etc/viaduct/viaduct.ini", config)
    machine.run("systemctl", "start", "viaduct.service")
    status = Path(f"/proc/{machine.process_of('viaduct.service')}/status").read_text()
    assert int(re.search(r"^Uid:\s+(\d+)", status, re.M)[1]) == fixed_user
    assert status_of(machine, "http://192.0.2.1/") == "407"
    machine.write("/etc/viaduct/users", "broken\n")
    machine.run("systemctl", "reload", "viaduct.service", check=False)
    machine.wait_for_journal("viaduct.service", "/etc/viaduct/users:1: ", priority=3)


def test_unix_socket_in_the_runtime_directory(machine):
    machine.write(
        "/etc/viaduct/viaduct.ini",
        "[listen u]\naddress = unix:/run/viaduct/proxy.sock\n[access]\nno = deny to any\n",
    )
    machine.run("systemctl", "start", "viaduct.service")
    peer = wire.connect(str(machine.path("/run/viaduct/proxy.sock")))
    assert peer.get("http://127.0.0.1:1/").status == 403
    peer.close()
    machine.wait_for_journal("viaduct.service", "client=unix:0 ")


def test_log_file_is_rotated(machine):
    machine.write("/etc/logrotate.d/viaduct", (UNITS / "logrotate.conf").read_text())
    machine.write(
        "/etc/viaduct/viaduct.ini", CONFIG + "[log]\ndestination = /var/log/viaduct/access.log\n"
    )
    machine.run("systemctl", "start", "viaduct.service")
    log = machine.path("/var/log/private/viaduct/access.log")
    assert status_of(machine, "http://127.0.0.1:1/before") == "403"
    wait_until(lambda: "/before" in log.read_text(), "the line")
    machine.run("logrotate", "-f", "/etc/logrotate.d/viaduct")
    wait_until(log.exists, "the new file")
    assert status_of(machine, "http://127.0.0.1:1/after") == "403"
    wait_until(lambda: "/after" in log.read_text(), "the line")
    assert "/before" not in log.read_text()
    assert "/before" in log.with_name("access.log.1").read_text()


def test_restarts_by_the_manager_refuse_nobody(machine, lab, figure):
    """`systemctl restart` 20 times, under load, with a download each that fits in server.grace."""

    def connect(address):
        with machine.network():
            return wire.connect(address)

    with machine.network():
        quick, slow = lab.origin(), slow_origin(lab)
    machine.write("/etc/viaduct/viaduct.ini", CONFIG.replace("debug", "warning"))
    machine.run("systemctl", "start", "viaduct.socket")
    assert machine.show("viaduct.service", "ActiveState") == "inactive"
    address = ("127.0.0.1", 8080)
    load = Load(address, quick.url(), connect=connect)
    lab.at_end(load.stop)
    sizes = []
    for _ in range(20):
        load.wait_served(50)
        download = Download(address, slow.url(), connect=connect)
        machine.run("systemctl", "restart", "viaduct.service")
        sizes.append(download.result())
    load.wait_served(50)
    load.stop()
    figure(
        f"20 x systemctl restart under load: {load.served} requests, {len(load.failures)} failed"
    )
    assert load.failures == []
    assert sizes == [20000] * 20


def test_a_drain_has_its_time_whatever_the_manager_would_give(machine, lab):
    """TimeoutStopSec of 1 s, a download of 3 s, and a grace of 20 s."""
    drop_in(machine, "TimeoutStopSec=1s\n")
    machine.write("/etc/viaduct/viaduct.ini", CONFIG + "[server]\ngrace = 20s\n")
    machine.run("systemctl", "start", "viaduct.service")
    with machine.network():
        slow = slow_origin(lab, pause=0.15)
        download = Download(("127.0.0.1", 8080), slow.url())
    machine.run("systemctl", "stop", "viaduct.service")
    assert machine.show("viaduct.service", "Result") == "success"
    assert download.result() == 20000


def test_reload_tells_the_manager_what_became_of_it(machine):
    machine.run("systemctl", "start", "viaduct.service")
    assert status_of(machine, "http://127.0.0.1:2/") == "502"
    machine.write("/etc/viaduct/viaduct.ini", CONFIG.replace("port 1", "port 1,2"))
    machine.run("systemctl", "reload", "viaduct.service")
    assert status_of(machine, "http://127.0.0.1:2/") == "403"
    machine.write("/etc/viaduct/viaduct.ini", "[access]\nx = alow to any\n")
    assert machine.run("systemctl", "reload", "viaduct.service", check=False).returncode != 0
    assert machine.show("viaduct.service", "ActiveState") == "active"
    assert status_of(machine, "http://127.0.0.1:2/") == "403"
    machine.wait_for_journal("viaduct.service", "/etc/viaduct/viaduct.ini:2: ", priority=3)


def test_reload_finds_the_daemon_wherever_its_admin_socket_is_to_go(machine):
    """Inside the service, and by hand outside of it."""
    machine.run("systemctl", "start", "viaduct.service")
    for by in (["systemctl", "reload", "viaduct.service"], ["viaduct", "reload"]):
        for place in ("unix:/run/viaduct/other.sock", "127.0.0.1:8099", "auto"):
            admin = f"[admin]\naddress = {place}\nwrite = on\n"
            machine.write("/etc/viaduct/viaduct.ini", CONFIG + admin)
            machine.run(*by)
            status = json.loads(machine.run("viaduct", "status", "--json").stdout)
            assert status["generation"] > 1
            machine.run("viaduct", "check")
    # Over TCP a reload is a change, and not for everybody: as viaduct.service tells.
    machine.write("/etc/viaduct/viaduct.ini", CONFIG + "[admin]\naddress = 127.0.0.1:8099\n")
    machine.run("systemctl", "reload", "viaduct.service")
    assert machine.run("systemctl", "reload", "viaduct.service", check=False).returncode != 0
    machine.wait_for_journal("viaduct.service", "viaduct: over TCP nothing is changed")
    drop_in(machine, "ExecReload=\nExecReload=/bin/kill -HUP $MAINPID\n")
    machine.write("/etc/viaduct/viaduct.ini", CONFIG)
    machine.run("systemctl", "reload", "viaduct.service")
    wait_until(
        lambda: machine.run("viaduct", "status", "-s", "/run/viaduct/admin.sock", check=False)
        .returncode == 0,
        "the admin socket to be back",
    )  # fmt: skip


def test_socket_is_used_for_the_listener_of_its_name(machine):
    """viaduct.socket names its sockets `local`."""
    machine.write(
        "/etc/viaduct/viaduct.ini",
        "[listen local]\naddress = systemd\n[access]\nno = deny to any\n",
    )
    machine.run("systemctl", "start", "viaduct.socket")
    # The first connection starts the service.
    assert status_of(machine, "http://127.0.0.1:1/") == "403"
    used = "listener=local address=127.0.0.1:8080 socket=local"
    machine.wait_for_journal("viaduct.service", used)
