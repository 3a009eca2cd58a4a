# SPDX-License-Identifier: MIT
"""The log: five formats end to end, and destinations that fail, stall or move."""

import json
import os
import re
import signal
import socket
import subprocess

from wire import request_bytes, response_bytes, wait_until

TEXT = response_bytes(fields=[("Content-Type", "text/x; charset=utf-8")], body=b"hello")
FIELDS = [("User-Agent", 'agent "quoted"/1'), ("Referer", "http://from.example/")]


def one_request(lab, *options):
    proxy = lab.fresh(*options)
    origin = lab.origin(TEXT)
    response = lab.client(proxy).get(origin.url("/p?q"), FIELDS)
    size = len(response.raw_head) + len(response.body)
    return proxy, origin, size


def wait_raw(proxy, pattern):
    return proxy.wait_for_log(lambda line: re.fullmatch(pattern, line["raw"]))["raw"]


def test_logfmt_is_the_default(lab):
    proxy, origin, _ = one_request(lab)
    raw = proxy.wait_request(origin.url("/p?q"))["raw"]
    keys = re.findall(r"(?:^| )([a-z_]+)=", raw)
    wanted = [
        "time",
        "event",
        "id",
        "client",
        "user",
        "listener",
        "method",
        "target",
        "version",
        "status",
        "rule",
        "would_deny",
        "route",
        "upstream",
        "reused",
        "bytes_in",
        "bytes_out",
        "dns_ms",
        "connect_ms",
        "wait_ms",
        "total_ms",
        "end",
    ]
    assert [key for key in keys if key in wanted] == wanted


def test_json(lab):
    proxy, origin, size = one_request(lab, "log.access=json")
    line = json.loads(proxy.wait_for_log(lambda line: line.get("event") == "request")["raw"])
    assert (
        line["target"] == origin.url("/p?q") and line["status"] == 200 and line["bytes_out"] == size
    )
    assert line["reused"] is False and line["user"] is None and line["end"] == "complete"
    assert isinstance(line["total_ms"], int)
    for other in proxy.lines:
        json.loads(other["raw"])


def test_events_are_json_too(lab):
    proxy = lab.fresh("log.access=json")
    assert all(
        line["raw"].startswith("{") and "time" in line and "level" in line for line in proxy.lines
    )


TIME = r"\[\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d \+0000\]"


def test_common(lab):
    proxy, origin, _ = one_request(lab, "log.access=common")
    wait_raw(
        proxy, rf'127\.0\.0\.1 - - {TIME} "GET {re.escape(origin.url("/p?q"))} HTTP/1\.1" 200 5'
    )


def test_combined(lab):
    proxy, origin, _ = one_request(lab, "log.access=combined")
    wait_raw(
        proxy,
        rf'127\.0\.0\.1 - - {TIME} "GET {re.escape(origin.url("/p?q"))} HTTP/1\.1" 200 5 '
        r'"http://from\.example/" "agent \\"quoted\\"/1"',
    )


def test_squid(lab):
    proxy, origin, size = one_request(lab, "log.access=squid")
    wait_raw(
        proxy,
        rf"\d{{10}}\.\d{{3}} +\d+ 127\.0\.0\.1 TCP_MISS/200 {size} GET {re.escape(origin.url('/p?q'))} - "
        r"HIER_DIRECT/127\.0\.0\.1 text/x",
    )


def test_off_leaves_the_events(lab):
    proxy, origin, _ = one_request(lab, "log.access=off")
    proxy.signal(signal.SIGHUP)
    proxy.wait_for_log(level="notice", predicate=lambda line: "event" in line, count=1)
    assert not proxy.find_lines(event="request")
    assert not any(origin.authority in line["raw"] for line in proxy.lines)


def test_level(lab, tmp_path):
    """Events below log.level are left out; requests are not."""
    path = tmp_path / "log"
    proxy = silent(lab, None, "log.level=error", f"log.destination={path}")
    origin = lab.origin()
    assert lab.client(proxy).get(origin.url()).status == 200
    wait_until(lambda: origin.authority in path.read_text(), "the line")
    assert all("event=request" in line for line in path.read_text().splitlines())


# --- Destinations -------------------------------------------------------------


def serves(lab, proxy, count=3):
    origin = lab.origin()
    for _ in range(count):
        assert lab.client(proxy).get(origin.url()).status == 200


def silent(lab, stdout, *options, **how):
    """A daemon whose log we do not read; stdout None is /dev/null."""
    proxy = lab.fresh(*options, stdout=subprocess.DEVNULL if stdout is None else stdout, **how)
    proxy.use_listening_port()
    proxy.note_idle()
    return proxy


def test_stdout_closed(lab):
    proxy = silent(lab, None, wrapper=["sh", "-c", 'exec "$0" "$@" >&-'])
    serves(lab, proxy)


def test_stdin_stdout_and_stderr_closed(lab):
    """No socket may take the place of a standard stream, where a stray message would end up in
    it."""
    proxy = silent(lab, None, wrapper=["sh", "-c", 'exec "$0" "$@" <&- >&- 2>&-'])
    serves(lab, proxy)
    for number in (0, 1, 2):
        assert not os.readlink(f"/proc/{proxy.pid}/fd/{number}").startswith("socket:")


def test_full_disk(lab):
    with open("/dev/full", "wb") as full:
        proxy = silent(lab, full)
    serves(lab, proxy)


def test_reader_that_is_gone(lab):
    reading, writing = os.pipe()
    proxy = silent(lab, writing)
    os.close(writing)
    os.close(reading)
    serves(lab, proxy)


def test_pipe_that_nobody_reads(lab):
    """The proxy goes on; what did not fit is dropped, counted, and a line says how many."""
    reading, writing = os.pipe()
    proxy = silent(lab, writing, "log.buffer=64K")
    os.close(writing)
    client = lab.client(proxy)
    origin = lab.origin()
    count = 400
    for number in range(count):
        assert client.get(origin.url(f"/{number}/" + "x" * 1000)).status == 200
    text = b""
    os.set_blocking(reading, False)

    def all_accounted_for():
        nonlocal text
        try:
            text += os.read(reading, 1 << 20)
        except BlockingIOError:
            pass
        written = len(re.findall(rb"event=request [^\n]*end=complete\n", text))
        dropped = sum(int(number) for number in re.findall(rb"dropped=(\d+)", text))
        assert written + dropped <= count
        return dropped > 0 and written + dropped == count

    wait_until(all_accounted_for, "every line, or a line that counts it as dropped")
    assert all(line.startswith(b"time=") for line in text.splitlines()), "a line was cut"
    os.close(reading)


def test_exit_does_not_wait_for_a_reader_that_stalls(lab):
    reading, writing = os.pipe()
    proxy = silent(lab, writing, "log.buffer=1M")
    os.close(writing)
    client = lab.client(proxy)
    origin = lab.origin()
    for _ in range(100):
        assert client.get(origin.url("/" + "x" * 1000)).status == 200
    client.close()
    proxy.signal(signal.SIGTERM)
    assert proxy.wait_exit(deadline=10) == 0
    assert re.search(r"\d+", proxy.stderr()), "what was lost is counted on stderr"
    os.close(reading)


def test_flags_of_stdout_are_left_alone(lab):
    """O_NONBLOCK would show up in the shell that started it."""
    ours, theirs = socket.socketpair()
    proxy = silent(lab, theirs.fileno())
    serves(lab, proxy)
    assert os.get_blocking(theirs.fileno())
    ours.close()
    theirs.close()


def test_file_and_usr1(lab, tmp_path):
    path, moved = tmp_path / "access.log", tmp_path / "access.log.1"
    proxy = silent(lab, subprocess.DEVNULL, f"log.destination={path}")
    origin = lab.origin()
    client = lab.client(proxy)
    assert client.get(origin.url("/before")).status == 200
    wait_until(lambda: "/before" in path.read_text(), "the line")
    path.rename(moved)
    proxy.signal(signal.SIGUSR1)
    wait_until(path.exists, "the new file")
    assert client.get(origin.url("/after")).status == 200
    wait_until(lambda: "/after" in path.read_text(), "the line in the new file")
    assert "/after" not in moved.read_text() and "/before" not in path.read_text()


def test_usr1_with_stdout_changes_nothing(lab):
    proxy = lab.fresh()
    proxy.signal(signal.SIGUSR1)
    serves(lab, proxy)


def test_hup_is_two_notices_and_serves_on(lab):
    """That it was asked for, and what came of it."""
    proxy = lab.fresh()
    before = len(proxy.lines)
    proxy.signal(signal.SIGHUP)
    wait_until(lambda: len(proxy.lines) > before + 1, "two notices")
    serves(lab, proxy, count=1)
    proxy.wait_for_log(event="request")
    added = [line for line in proxy.lines[before:] if line.get("event") != "request"]
    assert [(line["event"], line["level"]) for line in added] == [("reload", "notice")] * 2


def test_every_line_is_whole_under_load(lab):
    proxy = lab.fresh("server.workers=2")
    origin = lab.origin()
    clients = [lab.client(proxy) for _ in range(20)]
    for number in range(10):
        for index, client in enumerate(clients):
            client.send(request_bytes("GET", origin.url(f"/{index}/{number}")))
        for client in clients:
            assert client.read_response().status == 200
    proxy.wait_for_log(event="request", count=200)
    assert len({line["id"] for line in proxy.find_lines(event="request")}) == 200
    assert all("event" in line for line in proxy.lines)
