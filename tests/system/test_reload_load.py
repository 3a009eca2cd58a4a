# SPDX-License-Identifier: MIT
"""Reloads under load: nobody notices, nothing is left behind."""

import contextlib
import os
import re
import signal
import socket
import statistics
import time

import pytest

import wire
from faults import faults  # pylint: disable=unused-import
from viaduct_harness import parse_logfmt
from wire import DEADLINE, wait_until

pytestmark = pytest.mark.serial

MIB = 1 << 20
BCRYPT_SECRET = "$2y$04$Bnys2ozyscDjHYw.yV4FA.8NAi0FdPMw70nHhjD1bp2eWHc8WJnZy"


class Site:
    """A daemon whose log goes to a file: there is too much of it to be read line by line here."""

    def __init__(self, lab, config, release, **how):
        self.log = open(lab.directory / "log", "w+b")
        lab.at_end(self.log.close)
        self.proxy = lab.fresh(config=config, release=release, stdout=self.log, **how)
        self.proxy.use_listening_port()
        self.path = self.proxy.config
        self.read = 0  # bytes of the log that were looked at
        self.ended = 0  # reloads

    def text(self):
        return (self.proxy.directory.parent / "log").read_bytes().decode()

    def ends(self):
        """The lines that end a reload, of those written since the last look."""
        with open(self.log.name, "rb") as file:
            file.seek(self.read)
            new = file.read()
        new = new[: new.rfind(b"\n") + 1]
        self.read += len(new)
        found = re.findall(rb"^.*event=reload .*generation=.*$", new, re.MULTILINE)
        return [{**parse_logfmt(line.decode()), "raw": line.decode()} for line in found]

    def write(self, text):
        new = self.path.with_suffix(".new")
        new.write_text(text)
        os.replace(new, self.path)

    def reload(self, text=None, every=0.005):
        """HUP, and the line that ends it, looked for every so many seconds."""
        if text is not None:
            self.write(text)
        self.proxy.signal(signal.SIGHUP)
        end = time.monotonic() + 3 * DEADLINE
        ends = []
        while not ends:
            assert time.monotonic() < end, "the reload does not end"
            time.sleep(every)
            ends = self.ends()
        assert len(ends) == 1, ends
        return ends[0]


# --- 100 in a row -------------------------------------------------------------------------------


class Story:
    """Configurations in turn, a third of them broken, that all let the same clients go on."""

    KEPT = "[server]\nworkers = 2\n[listen kept]\naddress = 127.0.0.1:0\n"
    BROKEN = (
        "[server]\nnmae = x\n",
        "[access]\nx = alow to any\n",
        "[listen x]\naddress = 127.0.0.9:0, 127.0.0.1:{taken}\n",
        "[access]\nx = deny hosts /nonexistent\n",
    )

    def __init__(self, directory, taken):
        self.socket = directory / "more.sock"
        self.names = directory / "names"
        self.taken = taken
        self.count = 0

    def next(self):
        """The text, and the level of the line that ends its reload."""
        turn, number = self.count % 3, self.count // 3
        self.count += 1
        if turn == 0:
            return self.KEPT + self.broken(number), "error"
        return self.KEPT + (self.more(number) if turn == 1 else self.less(number)), "notice"

    def broken(self, number):
        return self.BROKEN[number % len(self.BROKEN)].format(taken=self.taken)

    def more(self, number):
        self.names.write_text("".join(f"n{i}.of{number}.test\n" for i in range(1000)))
        return (
            f"[listen more]\naddress = 127.0.0.2:0, unix:{self.socket}, [::1]:0\n"
            "[listen late]\naddress = 127.0.0.3:0\nforwarded = rfc7239\n"
            f"[access]\nads = deny hosts {self.names}\n"
            f"mine{number % 7} = allow from loopback to any\n"
            "[timeouts]\nkeep_alive = 50s\nidle = 100s\n[limits]\nfields = 150\n"
            f"[dns]\nhosts = {self.names}\n[server]\nname = other\n"
        )

    def less(self, number):
        return (
            f"[listen late]\naddress = 127.0.0.3:0\n[access]\nall{number % 5} = allow to any\n"
            "[pool]\nidle_per_host = 20\n[log]\ntunnels = both\n"
        )


SECONDS = 12
LOADS = {
    "kept": {"connections": 50, "rate": 1000, "strict": 1},
    "new": {"fresh": 1, "connections": 50, "rate": 200},
    "tunnels": {"unit": "ping", "tunnel": 1, "connections": 160, "rate": 1000, "strict": 1},
    "bulk tunnels": {
        "unit": "get",
        "tunnel": 1,
        "bytes": 300_000,
        "connections": 40,
        "rate": 100,
        "strict": 1,
    },
}


class Room:
    """Memory and descriptors after each reload."""

    def __init__(self, proxy):
        self.proxy = proxy
        self.seen = []

    def look(self):
        self.seen.append((self.proxy.resident_bytes(), self.proxy.descriptor_count()))

    def medians(self, part):
        return [statistics.median(column) for column in zip(*part)]


@pytest.mark.parametrize("release", [False, True], ids=["instrumented", "release"])
def test_nobody_notices(lab, bench, figure, release):
    """Keep-alive clients, new connections, 200 tunnels: no request fails, no connection ends."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        story = Story(lab.directory, taken.getsockname()[1])
        site = Site(lab, story.KEPT, release)
        rates = 1 if release else 4
        loads = {
            name: bench.load(
                lab,
                site.proxy.port,
                seconds=SECONDS,
                **{**options, "rate": options["rate"] // rates},
            )
            for name, options in LOADS.items()
        }
        for load in loads.values():
            load.begin()
        room = Room(site.proxy)
        begin = time.monotonic()
        while story.count < 102 or time.monotonic() - begin < SECONDS - 3:
            text, level = story.next()
            end = site.reload(text)
            assert end["level"] == level, end
            if story.count % 3 == 0:
                room.look()
        seconds = time.monotonic() - begin
    results = {name: load.result() for name, load in loads.items()}
    assert seconds < min(result["seconds"] for result in results.values()), "all under load"
    figure(f"{story.count} reloads in {seconds:.1f} s, a third of them broken:")
    for name, result in results.items():
        figure(
            f"   {name}: {result['requests']} requests, {result['errors']} failed,"
            f" p99 {result['p99_us'] / 1000:.1f} ms"
        )
        assert (result["errors"], result["error"]) == (0, ""), name
    done = sum(result["requests"] for name, result in results.items() if "tunnels" not in name)
    wait_until(lambda: site.text().count(" event=request ") >= done, "a line for each request")
    lines = [line for line in site.text().splitlines() if " event=request " in line]
    assert not [line for line in lines if " end=complete" not in line]
    assert not [line for line in lines if " method=CONNECT " in line], "a tunnel has ended"
    before, after = room.medians(room.seen[7:12]), room.medians(room.seen[-5:])
    figure(
        f"   resident memory after 20 and after {story.count} reloads:"
        f" {before[0] / MIB:.1f}, {after[0] / MIB:.1f} MiB; descriptors {before[1]:.0f}, {after[1]:.0f}"
    )
    assert after[1] <= before[1] + 20, "descriptors, of which new connections hold some"
    if release:
        assert after[0] <= before[0] * 1.1 + MIB
    for load in loads.values():
        load.close()


def test_nothing_is_left_of_a_configuration(lab, faults, figure):
    """Blocks of memory, counted: as many after 60 more reloads."""
    taken = socket.create_server(("127.0.0.1", 0))
    lab.at_end(taken.close)
    story = Story(lab.directory, taken.getsockname()[1])
    site = Site(lab, story.KEPT, False, env=faults.environment)

    def reloads(count):
        for _ in range(count):
            text, level = story.next()
            assert site.reload(text)["level"] == level
        assert site.reload(story.KEPT)["level"] == "notice"
        seen = []
        wait_until(lambda: is_steady(seen, faults), "blocks to be given back")
        return seen[-1], site.proxy.descriptor_count()

    reloads(3 * 7 * 5)  # every name has been there
    before = reloads(3)
    after = reloads(60)
    figure(f"blocks and descriptors before and after 61 reloads: {before}, {after}")
    assert after == before


def is_steady(seen, faults):
    seen.append(faults.blocks)
    return len(seen) > 10 and len(set(seen[-10:])) == 1


# --- A long list --------------------------------------------------------------------------------


NAMES = 1_000_000
ROUNDS = 5
ATTEMPTS = 2
SPELL = 2.0  # seconds
RATE = 2000


class Lists:
    """A list of a million names, another one each time it is asked to change."""

    def __init__(self, directory):
        self.path = directory / "names.list"
        self.stored = [directory / "first.list", directory / "second.list"]
        for number, path in enumerate(self.stored):
            path.write_text(
                "".join(f"n{i}.d{i % 200_000}.of{number}.test\n" for i in range(NAMES))
            )
        self.turn = 0
        self.change()

    def change(self):
        """A name of its own for the same bytes: another inode, another time."""
        new = self.path.with_suffix(".new")
        new.unlink(missing_ok=True)
        os.link(self.stored[self.turn % 2], new)
        os.utime(new)
        os.replace(new, self.path)
        self.turn += 1


@contextlib.contextmanager
def on_core(number):
    """What is started meanwhile runs on that core: the proxy has one for itself, if there is
    another for the load."""
    all_cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {sorted(all_cores)[number % len(all_cores)]})
    yield
    os.sched_setaffinity(0, all_cores)


def measure(lab, bench, site, before_each=None):
    """The p99 of a client at a fixed rate, in us, and how many reloads there were meanwhile;
    before_each: what is done before each of them, if there are to be any."""
    with on_core(1):  # this program, too
        load = bench.load(lab, site.proxy.port, connections=50, rate=RATE, seconds=SPELL, strict=1)
        load.begin()
        end = time.monotonic() + SPELL - 0.1
        count = 0
        while before_each and time.monotonic() < end:
            before_each()
            assert site.reload(every=0.02)["level"] == "notice"
            count += 1
        result = load.result()
    load.close()
    assert (result["errors"], result["error"]) == (0, "")
    return result["p99_us"], count


@pytest.mark.notsan
def test_a_long_list_does_not_hold_up_requests(lab, bench, figure):
    """Loaded anew each time, and, unchanged, shared by the old and the new configuration."""
    lists = Lists(lab.directory)
    kinds = {"none": None, "the list changed": lists.change, "the list unchanged": lambda: None}
    config = f"[listen a]\naddress = 127.0.0.1:0\n[access]\nads = deny hosts {lists.path}\n"
    config += "mine = allow from loopback to any\n[log]\naccess = off\n"
    with on_core(0):
        site = Site(lab, config, True)
    measure(lab, bench, site)
    for _ in range(ATTEMPTS):  # the machine may have other work in one of them
        ratios = compare(lab, bench, site, kinds, figure)
        if max(ratios.values()) <= 1.5:
            break
    assert max(ratios.values()) <= 1.5, ratios


def compare(lab, bench, site, kinds, figure):
    """{kind: p99 as a multiple of that without reloads}, of rounds that take turns."""
    found = {kind: [] for kind in kinds}
    for number in range(ROUNDS):
        for kind in list(kinds)[:: 1 if number % 2 else -1]:
            found[kind].append(measure(lab, bench, site, kinds[kind]))
    figure(f"{NAMES} names, {RATE} requests/s, {ROUNDS} rounds, medians (least to most):")
    usual = statistics.median(p99 for p99, _ in found["none"])
    ratios = {}
    for kind, rounds in found.items():
        p99 = sorted(p99 for p99, _ in rounds)
        ratios[kind] = statistics.median(p99) / usual
        figure(
            f"   reloads: {kind}: p99 {statistics.median(p99):.0f} us ({p99[0]:.0f} to {p99[-1]:.0f}),"
            f" {ratios[kind]:.2f} x; {sum(count for _, count in rounds)} reloads"
        )
    return ratios


# --- Memory that is out -------------------------------------------------------------------------


def test_every_allocation_of_a_reload_fails_once(lab, faults, figure):
    """The old configuration stays whole, or the new one is in force whole; nothing is left behind."""
    hosts = lab.directory / "hosts"
    hosts.write_text("127.0.0.1 name.test\n")
    users = lab.directory / "users"
    users.write_text(f"alice:{BCRYPT_SECRET}\n")
    old = Story.KEPT
    new = old + (
        f"[listen more]\naddress = 127.0.0.2:0, unix:{lab.directory}/more.sock\n"
        f"[dns]\nhosts = {hosts}\nservers = 127.0.0.1:9\n[auth]\nusers = {users}\n"
        f"[access]\nads = deny hosts {hosts}\nstaff = allow from loopback user * to any\n"
    )
    site = Site(lab, old, False, env=faults.environment)
    origin = lab.origin(wire.response_bytes(body=b"ok", fields=[("Connection", "close")]))

    def blocks():
        seen = []
        wait_until(lambda: is_steady(seen, faults), "blocks to be given back")
        return seen[-1], site.proxy.descriptor_count()

    def serves():
        """Without leaving anything in the pool."""
        with contextlib.closing(wire.connect(site.proxy.address)) as client:
            return client.get(origin.url(), [("Connection", "close")]).status

    for _ in range(3):
        for text in (new, old):
            assert site.reload(text)["level"] == "notice"
            serves()
    faults.watch(2)  # what is kept of a failure is kept once
    assert site.reload(new)["level"] == "error"
    faults.stop()
    assert site.reload(old)["level"] == "notice"
    assert serves() == 200
    # What a worker makes for its first client stays with it.
    workers = int(re.search(r"event=start .*workers=(\d+)", site.text()).group(1))
    wait_until(
        lambda: serves() == 200
        and len(set(re.findall(r"event=request id=(\w+)-", site.text()))) == workers,
        "every worker to have served",
    )
    before = blocks()
    faults.watch()
    assert site.reload(new)["level"] == "notice"
    count = faults.calls
    assert serves() == 407
    site.reload(old)
    done = 0
    for number in range(1, count + 1):
        faults.watch(number)
        end = site.reload(new)
        faults.stop()
        what = f"allocation {number} of {count} failed: {end['raw']}"
        assert serves() == (407 if end["level"] == "notice" else 200), what
        done += end["level"] == "notice"
        assert site.reload(old)["level"] == "notice", what
        wait_until(lambda: blocks() == before, f"{before}, now {blocks()}: {what}")
    assert " in part" not in site.text()
    figure(f"allocation faults, reload: {count} allocations; {done} times the new one came in force")


# --- The end in the middle ----------------------------------------------------------------------


@pytest.mark.parametrize("names", [10, 100_000], ids=["short", "long"])
def test_the_end_comes_in_any_phase_of_a_reload(lab, names):
    """TERM ever later after HUP: status 0, and no socket file is left."""
    path = lab.directory / "names"
    path.write_text("".join(f"n{i}.test\n" for i in range(names)))
    for number in range(30):
        config = Story.KEPT + f"[access]\nads = deny hosts {path}\nmine = allow to any\n"
        unix = lab.directory / f"{number}.sock"
        listen = f"[listen more]\naddress = 127.0.0.2:0, unix:{unix}\n"
        proxy = lab.fresh(config=config + (listen if number % 2 else ""))
        assert unix.exists() == bool(number % 2)
        proxy.config.write_text(config + ("" if number % 2 else listen) + "[dns]\nmax_ttl = 2h\n")
        os.utime(path)
        proxy.signal(signal.SIGHUP)
        time.sleep(number * (0.0005 if names < 100 else 0.01))  # where in it, is what varies
        proxy.signal(signal.SIGTERM)
        assert proxy.wait_exit() == 0
        assert not unix.exists()
