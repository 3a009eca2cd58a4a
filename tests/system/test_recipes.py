# SPDX-License-Identifier: MIT
"""What viaduct-log(5) says to do with a log, done with the log of a real daemon."""

import base64
import json
import re
import subprocess

import pytest

from test_manual import LOG, samples, section
from wire import response_bytes

BODY = 1000 * b"x"
CONFIG = """\
[auth]
users = {users}
[access]
ads = deny host ads.example
staff = allow user * to any method POST
local = allow from loopback to any
"""
WRONG = "Basic " + base64.b64encode(b"alice:wrong").decode()
HASH = "$2b$04$UwMz2DX1VnvJ0M7Yr2lGl.d7bOtR1HhLdi8YHpStR3MR/G0Qq7j9m"  # of nothing that is sent


def recipe(beginning, **replaced):
    """The commands of the page that begin so, each in one line."""
    found = [
        "\n".join(lines)
        for lines in samples(section(LOG, "EXAMPLES"))
        if lines[0].startswith(beginning)
    ]
    assert found, beginning
    return found


@pytest.fixture
def logged(lab, tmp_path):
    """Makes tmp_path/access.log, in the given form, of five requests that went well, a tunnel, three
    refusals, one that asked for credentials, two wrong passwords and a malformed request."""

    def make(form):
        users, path = tmp_path / "users", tmp_path / "access.log"
        users.write_text(f"alice:{HASH}\n")
        config = CONFIG.format(users=users)
        proxy = lab.fresh(f"log.access={form}", config=config)
        origin = lab.origin(response_bytes(body=BODY))
        for number in range(5):
            assert lab.client(proxy).get(origin.url(f"/{number % 2}")).status == 200
        lab.tunnel(proxy, origin).close()
        for _ in range(3):
            assert lab.client(proxy).get("http://ads.example/").status == 403
        for fields in ([], [("Proxy-Authorization", WRONG)], [("Proxy-Authorization", WRONG)]):
            client = lab.client(proxy)
            client.request("POST", origin.url("/form"), fields, body=b"")
            assert client.read_response().status == 407
        client = lab.client(proxy)
        client.send(b"\x16\x03\x01\r\n\r\n")  # as of a client that speaks TLS to it
        assert client.read_response().status == 400
        proxy.stop()
        path.write_text("".join(line["raw"] + "\n" for line in proxy.lines))
        return origin

    return make


def shell(tmp_path, command):
    made = subprocess.run(
        ["sh", "-c", command], cwd=tmp_path, capture_output=True, text=True, timeout=30, check=False
    )
    assert made.returncode == 0, made.stderr
    return made.stdout


def test_jq(logged, tmp_path, program):
    program("jq")
    origin = logged("json")
    failed, clients, targets, times = (shell(tmp_path, command) for command in recipe("jq"))
    rows = [json.loads(line) for line in failed.splitlines()]
    ends = [row[4] for row in rows]
    assert ends.count("denied") == 6 and ends.count("error:malformed") == 1
    assert {row[1] for row in rows} == {"127.0.0.1"}
    assert re.fullmatch(r" *13 127\.0\.0\.1\n", clients)
    assert json.loads(targets)[0]["target"] == origin.url("/0")
    assert json.loads(targets)[0]["bytes"] > 3 * len(BODY)
    times = json.loads(times)
    assert times["n"] == 5 and times["p50"] <= times["p99"]


@pytest.mark.parametrize(("form", "counted"), [("combined", 13), ("squid", 12)])
def test_goaccess(logged, tmp_path, program, form, counted):
    program("goaccess")
    logged(form)
    for command in "\n".join(recipe("grep")).replace("\\\n", "").splitlines():
        if ("COMBINED" in command) == (form == "combined"):
            shell(tmp_path, f"{command} --no-global-config --output={form}.json")
    report = json.loads((tmp_path / f"{form}.json").read_text())["general"]
    assert (report["valid_requests"], report["total_requests"]) == (counted, 13), report


def matched(tmp_path, text):
    """The lines of the log that a filter of fail2ban matches."""
    filter_file = tmp_path / "viaduct.conf"
    filter_file.write_text(text)
    said = shell(tmp_path, f"fail2ban-regex --print-all-matched access.log {filter_file}")
    said = said.partition("Matched line(s)")[2].partition("Missed line(s)")[0]
    return re.findall(r"^\|  (time=.*)$", said, re.M)


def test_fail2ban(logged, tmp_path, program):
    program("fail2ban-regex")
    logged("logfmt")
    (passwords,) = recipe("[Definition]")
    (refusals,) = recipe(r"^\s*event=request")
    lines = matched(tmp_path, passwords + "\n")
    assert len(lines) == 2 and all(" event=auth " in line for line in lines)
    one_line = refusals.replace("\n", "")
    lines = matched(
        tmp_path, re.sub(r"failregex = .*", lambda _: f"failregex = {one_line}", passwords)
    )
    assert len(lines) == 4 and all(re.search(r" status=40[03] ", line) for line in lines)
