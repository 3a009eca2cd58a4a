# SPDX-License-Identifier: MIT
"""Crowds that mean no good, and one client that does: it is served throughout."""

import re
import resource
import subprocess
import time
from pathlib import Path

import pytest

import wire
from wire import wait_until

pytestmark = [pytest.mark.serial, pytest.mark.notsan]

SOURCE = Path(__file__).with_name("load") / "storm.c"
OK = wire.response_bytes(body=b"ok")
SECONDS = 3.0
CROWD = 4000


@pytest.fixture(scope="module")
def storm(tmp_path_factory):
    """The program that makes the load."""
    path = tmp_path_factory.mktemp("load") / "storm"
    subprocess.run(["gcc", "-std=c17", "-D_GNU_SOURCE", "-O2", "-o", path, SOURCE], check=True)
    return str(path)


@pytest.fixture
def descriptors():
    """As many as the system lets us have, for the load and for the daemon."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if hard < 2 * CROWD:
        pytest.skip(f"{hard} descriptors are too few")
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


class Measured:
    def __init__(self, seconds):
        self.count = len(seconds)
        ordered = sorted(seconds)
        self.p50 = 1000 * ordered[self.count // 2]
        self.p99 = 1000 * ordered[min(self.count - 1, self.count * 99 // 100)]
        self.most = 1000 * ordered[-1]

    def __str__(self):
        return (
            f"{self.count} requests, p50 {self.p50:.2f} ms, p99 {self.p99:.2f} ms,"
            f" slowest {self.most:.0f} ms"
        )


def be_good(lab, proxy, origin, goes_on):
    """A request every 5 ms, each second one on a new connection; every one must be answered."""
    seconds = []
    kept = lab.client(proxy)
    while goes_on():
        begin = time.monotonic()
        if len(seconds) % 2:
            client = wire.connect(proxy.address)
            assert client.get(origin.url()).status == 200
            client.close()
        else:
            try:
                assert kept.get(origin.url()).status == 200
            except (EOFError, ConnectionError):
                # Closed between two requests to make room: a client of HTTP asks again (RFC 9112 9.3.1).
                kept = lab.client(proxy)
                assert kept.get(origin.url()).status == 200
        seconds.append(time.monotonic() - begin)
        time.sleep(0.005)
    kept.close()
    return Measured(seconds)


def for_a_while(seconds):
    end = time.monotonic() + seconds
    return lambda: time.monotonic() < end


@pytest.mark.parametrize("kind, crowd", [("churn", 64), ("silent", CROWD), ("trickle", CROWD)])
def test_a_good_client_is_served_throughout(lab, figure, storm, descriptors, kind, crowd):
    proxy = lab.fresh(
        "timeouts.header=1s",
        "server.workers=2",
        "pool.idle=500ms",
        "log.access=off",
        release=True,
    )
    origin = lab.origin(OK)
    quiet = be_good(lab, proxy, origin, for_a_while(1.0))
    used, begin = proxy.cpu_seconds(), time.monotonic()
    with subprocess.Popen(
        [storm, kind, str(proxy.port), str(SECONDS), str(crowd)], stdout=subprocess.PIPE, text=True
    ) as load:
        if kind != "churn":
            assert load.stdout.readline() == "open\n"
        stormy = be_good(lab, proxy, origin, lambda: load.poll() is None)
        said = load.stdout.read()
    cpu = (proxy.cpu_seconds() - used) / (time.monotonic() - begin)
    opened, failed, dropped, lost, seconds = re.fullmatch(
        r"connections (\d+) failed (\d+) dropped (\d+) lost (\d+) seconds (\S+)\n", said
    ).groups()
    figure(
        f"storm, {kind}: {int(opened)} connections ({int(opened) / float(seconds):.0f}/s),"
        f" {failed} failed, {dropped} more not taken by the full queue, {lost} ended by the proxy;"
        f" {cpu:.2f} CPUs"
    )
    figure(f"   without: {quiet}")
    figure(f"   with:    {stormy}")
    assert int(opened) >= crowd and int(failed) <= int(opened) // 20
    if kind != "churn":
        assert int(lost) >= crowd // 2, "timeouts.header holds for each of them"
    assert stormy.p99 < 500 and stormy.most < 2000 * wire.SLOWNESS
    # It ends with the storm: nothing is left.
    wait_until(lambda: proxy.socket_count() <= proxy._idle_sockets, "all of them to be gone")
    assert be_good(lab, proxy, origin, for_a_while(0.3)).count > 10


def test_a_crowd_beyond_max_connections_does_not_lock_others_out(lab, figure, storm, descriptors):
    """All places are taken by clients that say nothing: who waits is served as their time ends."""
    proxy = lab.fresh(
        "timeouts.header=500ms",
        "server.max_connections=500",
        "server.workers=1",
        "pool.idle=500ms",
        release=True,
    )
    origin = lab.origin(OK)
    with subprocess.Popen(
        [storm, "silent", str(proxy.port), str(SECONDS), "2000"], stdout=subprocess.PIPE, text=True
    ) as load:
        assert load.stdout.readline() == "open\n"
        wait_until(lambda: proxy.socket_count() >= 500, "all places to be taken")
        measured = be_good(lab, proxy, origin, lambda: load.poll() is None)
    figure(f"storm, beyond max_connections: {measured}")
    assert measured.most < 5000 * wire.SLOWNESS
