# SPDX-License-Identifier: MIT
"""The command line: check, config, --help, --version, -o, exit codes.

Runs the binary that the environment variable VIADUCT names, else the one in build/. Nothing here
starts a server.
"""

import ctypes
import os
import re
import struct
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BUILT = [path for path in (ROOT / "build/asan/viaduct", ROOT / "build/viaduct") if path.exists()]
VIADUCT = os.path.abspath(os.environ.get("VIADUCT", BUILT[0] if BUILT else "build/viaduct"))
EXAMPLE = ROOT / "conf" / "viaduct.ini"
DEFAULT_FILE = Path("/etc/viaduct/viaduct.ini")


def run(*args, cwd=None, stdout=subprocess.PIPE, **kwargs):
    return subprocess.run([VIADUCT, *map(str, args)], cwd=cwd, stdout=stdout,
                          stderr=subprocess.PIPE, text=True, timeout=20, check=False, **kwargs)


def write(path, text):
    path.write_text(text, encoding="utf-8", newline="")
    return path


def values(dump):
    """The dump without the comments that tell where a value came from."""
    return [line.split(" ; ")[0] for line in dump.splitlines() if not line.startswith("#")]


# ---- help, version, usage ----


@pytest.mark.parametrize("option", ["--help", "-h"])
def test_help_names_commands_and_exit_codes(option):
    result = run(option)
    assert result.returncode == 0
    assert result.stderr == ""
    for word in ["serve", "check", "config", "--show-secrets", "--version", "-c", "-o", "78"]:
        assert word in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 100


@pytest.mark.parametrize("option", ["--version", "-V"])
def test_version_names_the_libraries(option):
    result = run(option)
    assert result.returncode == 0
    assert re.match(r"viaduct \d+\.\d+\.\d+\n", result.stdout)
    for library in ["libevent", "llhttp", "c-ares", "inih", "libxcrypt"]:
        assert library in result.stdout


@pytest.mark.parametrize("args", [
    ["frobnicate"], ["explain"], ["kill"], ["--frobnicate"], ["-x"], ["check", "config"],
    ["check", "-c"], ["-o"], ["check", "-c", "a", "-c", "b"], ["check", "--show-secrets"], [""],
])
def test_wrong_usage_exits_2_with_one_line(args):
    result = run(*args)
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr.startswith("viaduct: ")
    assert result.stderr.count("\n") == 1


# ---- check ----


@pytest.mark.skipif(DEFAULT_FILE.exists(), reason="this machine has a configuration")
def test_check_without_a_file_is_about_the_defaults():
    result = run("check")
    assert (result.returncode, result.stdout) == (0, "built-in defaults: ok\n")


PR_SET_SECCOMP, SECCOMP_MODE_FILTER, PR_SET_NO_NEW_PRIVS = 22, 2, 38


def refuse_faccessat2():
    """In a child: as sandboxes that know no such system call have it, with EPERM, not ENOSYS."""
    libc = ctypes.CDLL(None, use_errno=True)
    steps = [  # BPF: the call's number; is it faccessat2? EPERM; allowed
        (0x20, 0, 0, 0), (0x15, 0, 1, 439), (0x06, 0, 0, 0x00050001), (0x06, 0, 0, 0x7FFF0000)]
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in steps))
    program = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(steps), ctypes.addressof(code)))
    if (libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0
            or libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, program, 0, 0) != 0):
        os._exit(77)


@pytest.mark.skipif(DEFAULT_FILE.exists(), reason="there is a file in /etc")
def test_no_file_is_no_error_in_an_old_sandbox():
    result = run("check", preexec_fn=refuse_faccessat2)
    if result.returncode == 77:
        pytest.skip("system calls may not be filtered here")
    assert (result.returncode, result.stdout) == (0, "built-in defaults: ok\n")


def test_check_says_that_a_file_is_ok(tmp_path):
    path = write(tmp_path / "v.ini", "[server]\r\nworkers = 2\r\n")
    for args in (["check", "-c", path], ["-c", path, "check"], ["check", f"-c{path}"]):
        result = run(*args)
        assert (result.returncode, result.stdout, result.stderr) == (0, f"{path}: ok\n", "")


def test_check_prints_every_error_with_its_place(tmp_path):
    write(tmp_path / "v.ini", "include = d/*.ini\n[server]\nworkers = none\n[listen a]\n")
    (tmp_path / "d").mkdir()
    write(tmp_path / "d" / "x.ini", "[timeouts]\nheadr = 5s\n")
    result = run("check", "-c", "v.ini", "-o", "dns.family=ipx", cwd=tmp_path)
    assert result.returncode == 78
    assert result.stdout.splitlines() == [
        "d/x.ini:2: timeouts.headr: unknown key; did you mean header?",
        "v.ini:3: server.workers = none: expected a number from 1 to 1024, or auto",
        "v.ini:4: [listen a]: address is missing",
        "-o 1: dns.family = ipx: expected any, ipv4 or ipv6",
    ]


MIXED = """[access]
a = allow from any to any
b = alow
[server]
nmae = x
[access]
c = deny hosts ads
d = deny prot 9
[auth]
users = users
"""


def test_messages_are_in_the_order_of_the_files(tmp_path):
    """Whatever found them: the reader, the rules, the lists, the users."""
    write(tmp_path / "ads", "".join(f"a{n} b {n}\n" for n in range(1, 13)) + "good.example\n")
    write(tmp_path / "users", "x\nalice:plain\n")
    path = write(tmp_path / "v.ini", MIXED)
    result = run("check", "-c", path)
    assert result.returncode == 78
    places = [line.split(": ")[0].rpartition("/")[2] for line in result.stdout.splitlines()]
    lines = {}
    for place in places:
        name, _, line = place.partition(":")
        lines.setdefault(name, []).append(int(line or 1000))
    assert places == sorted(places, key=lambda p: list(lines).index(p.partition(":")[0]))
    assert lines["v.ini"] == [3, 5, 8]
    assert lines["users"] == [1, 2]
    assert lines["ads"] == sorted(lines["ads"]) and lines["ads"][-1] == 1000


def test_a_file_that_is_something_else_is_told_of_in_1000_lines(tmp_path):
    """Each line of it is wrong. A daemon that is told to reload it must not hold them all."""
    path = write(tmp_path / "v.ini", "[server]\n" + "nmae = x\n" * 5000)
    result = run("check", "-c", path)
    lines = result.stdout.splitlines()
    assert (result.returncode, len(lines)) == (78, 1001)
    assert lines[999].startswith(f"{path}:1001: server.nmae: unknown key")
    assert lines[1000] == f"{path}:1002: there are more errors; the first 1000 are told"


def test_check_prints_warnings_and_is_content(tmp_path):
    path = write(tmp_path / "v.ini", "[pool]\nidle_total = 1\n")
    result = run("check", "-c", path)
    assert result.returncode == 0
    warning, ok = result.stdout.splitlines()
    assert warning.startswith(f"{path}:2: warning: ")
    assert ok == f"{path}: ok"


@pytest.mark.parametrize("negated", ["", "not "])
def test_check_warns_of_methods_that_do_not_exist(tmp_path, negated):
    rules = f"[access]\na = deny {negated}method DELETE, M-SEARCH, DELTE\nb = deny method GETT\n"
    path = write(tmp_path / "v.ini", rules)
    result = run("check", "-c", path)
    assert result.returncode == 0
    *warnings, _ = result.stdout.splitlines()
    assert [warning.split(",")[0] for warning in warnings] == [
        f"{path}:2: warning: access.a: no request comes this far with method DELTE",
        f"{path}:3: warning: access.b: no request comes this far with method GETT",
    ]


@pytest.mark.parametrize("command", ["check", "config", "serve"])
def test_a_file_that_cannot_be_read_is_a_wrong_configuration(command, tmp_path):
    result = run(command, "-c", tmp_path / "none.ini")
    assert result.returncode == 78
    assert (result.stdout + result.stderr ==
            f"{tmp_path}/none.ini: cannot be read: No such file or directory\n")


@pytest.mark.parametrize("command", [["config"], ["serve"], []])
def test_other_commands_tell_errors_on_stderr(command):
    result = run(*command, "-c", "/dev/null", "-o", "server.workers=0")
    assert (result.returncode, result.stdout) == (78, "")
    assert result.stderr.startswith("-o 1: server.workers = 0: ")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_an_include_directory_that_cannot_be_listed_is_an_error(tmp_path):
    path = write(tmp_path / "v.ini", "include = d/*.ini\n")
    (tmp_path / "d").mkdir(mode=0)
    result = run("check", "-c", path)
    assert (result.returncode, result.stdout) == (
        78, f"{path}:1: include d/*.ini: Permission denied\n")


# ---- config ----


def test_config_shows_effective_values_and_where_they_came_from(tmp_path):
    path = write(tmp_path / "v.ini", "[server]\nname = edge\n[listen lan]\naddress = *:3128\n")
    result = run("config", "-c", path, "-o", "timeouts.header=5s", "--show-secrets")
    assert (result.returncode, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    assert f"name = edge ; {path}:2" in lines
    assert f"address = *:3128 ; {path}:4" in lines
    assert "header = 5s ; -o 1" in lines
    assert "keep_alive = 60s ; built-in" in lines
    assert "[listen local]" not in lines


def test_config_reads_its_own_output(tmp_path):
    first = run("config", "-c", "/dev/null", "-o", "listen a.address=127.0.0.1:1, unix:a.sock",
                "-o", "log.destination=b.log", "-o", "dns.servers=::1", cwd=tmp_path)
    assert first.returncode == 0
    path = write(tmp_path / "again.ini", first.stdout)
    second = run("config", "-c", path)
    assert (second.returncode, second.stderr) == (0, "")
    assert values(second.stdout) == values(first.stdout)


def test_an_option_replaces_a_whole_list(tmp_path):
    path = write(tmp_path / "v.ini", "[listen a]\naddress = *:1\naddress = *:2\n")
    result = run("config", "-c", path, "-o", "listen a.address=*:3")
    assert [line for line in result.stdout.splitlines() if line.startswith("address")] == [
        "address = *:3 ; -o 1", "address = auto ; built-in"]


def test_output_that_cannot_be_written_is_a_failure():
    with open("/dev/full", "w", encoding="utf-8") as full:
        for args in (["config", "-c", "/dev/null"], ["check", "-c", "/dev/null"], ["--help"]):
            result = run(*args, stdout=full)
            assert result.returncode == 1
            assert "No space left" in result.stderr


def test_closed_standard_descriptors_do_no_harm():
    result = run("config", "-c", "/dev/null", preexec_fn=lambda: os.close(0))
    assert result.returncode == 0


# ---- the example file ----


def test_the_example_is_right_and_changes_nothing():
    assert run("check", "-c", EXAMPLE).stdout == f"{EXAMPLE}: ok\n"
    assert values(run("config", "-c", EXAMPLE).stdout) == values(
        run("config", "-c", "/dev/null").stdout)


def test_the_example_with_every_key_taken_in_is_the_default(tmp_path):
    text = EXAMPLE.read_text(encoding="utf-8")
    path = write(tmp_path / "v.ini", re.sub(r"^;", "", text, flags=re.MULTILINE))
    result = run("config", "-c", path)
    assert (result.returncode, result.stderr) == (0, "")
    shown = values(result.stdout)
    # A list is one line in the example and one line per item in the dump.
    assert shown == values(run("config", "-c", "/dev/null").stdout)
    assert "built-in" not in result.stdout
