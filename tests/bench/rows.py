# SPDX-License-Identifier: MIT
"""The work that is measured: one Row for each line of the report's tables."""

from dataclasses import dataclass, field

import rules

KIB, MIB = 1024, 1024 * 1024


@dataclass
class Goal:
    """At most `factor` times what `of` needs; without `of`, at most `factor`."""

    factor: float
    of: str = ""


@dataclass
class Row:
    name: str
    title: str
    load: dict  # options of load.c
    unit: str = "us/request"  # of the cost
    wrk: bool = False  # wrk makes the load
    goal: Goal = None
    calls_goal: Goal = None
    requests: int = 2000  # of viaduct under strace
    few: int = 500  # of the others under strace
    seconds: float = 1  # how long a round is, by the measure of --seconds
    rounds: int = 0  # other than --rounds
    peers: str = "all"  # or: workers, log, some, lists, viaduct, rules, login
    kind: str = "steady"  # or: idle, beside, peak, list, logins, program
    group: str = "main"  # the table it stands in
    point: str = ""  # its line in a table of a group of its own
    options: tuple = ()  # of viaduct, other than shipped
    quick: bool = True  # part of --quick
    instructions: bool = False  # of all its programs are counted, not only to decide a tie
    alone: bool = False  # the origin has no room for the connections of all programs at once
    extra: dict = field(default_factory=dict)  # what only its kind asks for

    @property
    def tunnel(self):
        return "tunnel" in self.load

    @property
    def echo(self):
        return self.load.get("unit") in ("ping", "none")

    @property
    def per_gib(self):
        return self.unit.endswith("GiB")


def steady(connections, **options):
    return {"connections": connections, "inflight": connections, **options}


def _scale(group, title, points, **options):
    for point in points:
        load = {key: point if value == "POINT" else value for key, value in options.items()}
        yield Row(
            f"{group}-{point}",
            title.format(f"{point:,}"),
            load,
            seconds=0.3,
            group=group,
            point=f"{point:,}",
            alone=point >= 5000,
            peers="some",
            quick=False,
            # As shipped nobody's pool is made for so many; the point after the last tells of that.
            options=("pool.idle_total=12000",) if group == "origins" else (),
        )


def _decide(name, title, shapes, count):
    """Two decisions, on the request and on the address: below one name the last line is a hit."""
    for suffix, asked, host in (("", "hit at the end", rules.LISTED), ("-none", "no hit", None)):
        yield Row(
            f"decide-{name}{suffix}",
            f"{title}, {asked}",
            {},
            "ns/decision",
            kind="program",
            group="policy",
            peers="viaduct",
            rounds=3,
            quick=False,
            extra={
                "table": (shapes, count),
                "argv": (rules.CLIENT, host or rules.UNLISTED, rules.PORT, rules.ADDRESS),
                "program": "decide",
                "cost": "request_ns",
            },
        )


ROWS = [
    Row(
        "get-1k",
        "keep-alive GET, 1 KiB",
        steady(32),
        wrk=True,
        goal=Goal(0.75, "haproxy"),
        calls_goal=Goal(4.2),
        requests=10000,
        few=1000,
    ),
    Row(
        "new-connection",
        "a new client connection for each request",
        steady(16, fresh=1),
        seconds=0.8,
        goal=Goal(0.85, "haproxy"),
    ),
    Row(
        "get-64k",
        "64 KiB body",
        steady(16, bytes=64 * KIB),
        wrk=True,
        goal=Goal(0.9, "haproxy"),
    ),
    Row(
        "get-10m",
        "10 MiB body",
        steady(4, bytes=10 * MIB),
        "CPU s/GiB",
        wrk=True,
        goal=Goal(1.1, "floor"),
        requests=40,
        few=4,
    ),
    Row(
        "connect",
        "CONNECT, set-up and close",
        steady(16, tunnel=1, unit="none", fresh=1, origins=200),
        "us/tunnel",
        seconds=0.8,
        goal=Goal(1.15, "floor"),
        requests=1000,
    ),
    Row(
        "tunnel-bulk",
        "tunnel, bulk",
        steady(4, tunnel=1, bytes=64 * MIB),
        "CPU s/GiB",
        seconds=0.8,
        goal=Goal(1.1, "floor"),
        requests=16,
        few=2,
    ),
    Row(
        "tunnel-ping",
        "tunnel, 64 bytes to and fro",
        steady(32, tunnel=1, unit="ping"),
        "us/message",
        seconds=0.8,
        goal=Goal(1.2, "floor"),
    ),
    Row(
        "open-2000",
        "2,000 requests/s, open loop",
        {"connections": 64, "rate": 2000},
        goal=Goal(0.6, "haproxy"),
    ),
    Row(
        "open-half",
        "half of its own capacity, open loop",
        {"connections": 64, "rate": "half"},
        seconds=0.8,
        quick=False,
    ),
    Row(
        "idle-client",
        "idle keep-alive connection",
        {"connections": 9000, "inflight": 128},
        "KiB",
        kind="idle",
        rounds=3,
        goal=Goal(0.5),
    ),
    Row(
        "idle-tunnel",
        "idle tunnel",
        {"connections": 8000, "inflight": 128, "tunnel": 1, "unit": "ping"},
        "KiB",
        kind="idle",
        rounds=3,
        goal=Goal(1.0),
    ),
    Row("name-1k", "keep-alive GET, 1 KiB", steady(32, host=1), wrk=True, group="names"),
    Row(
        "name-new",
        "a new client connection for each request",
        steady(16, fresh=1, host=1),
        seconds=0.6,
        group="names",
        quick=False,
    ),
    Row(
        "name-connect",
        "CONNECT, set-up and close, 200 names in turn",
        steady(16, tunnel=1, unit="none", fresh=1, origins=200, host=1),
        "us/tunnel",
        seconds=0.6,
        group="names",
        quick=False,
    ),
    Row(
        "beside-idle",
        "2,000 requests/s beside 9,000 idle clients",
        {"connections": 64, "rate": 2000},
        kind="beside",
        group="beside",
        seconds=1.5,
        rounds=3,
        peers="some",
        quick=False,
        extra={"connections": 9000},
    ),
    Row(
        "workers",
        "GET 1 KiB with 1 and with 2 workers",
        steady(64),
        wrk=True,
        peers="workers",
        group="workers",
        quick=False,
    ),
    Row(
        "log",
        "GET 1 KiB by kind of access log",
        steady(32),
        wrk=True,
        peers="log",
        group="log",
        quick=False,
    ),
    *_scale(
        "open",
        "GET 1 KiB round {} open connections",
        (10, 100, 1000, 9000),
        connections="POINT",
        inflight=10,
    ),
    *_scale(
        "origins",
        "GET 1 KiB round {} origins",
        (1, 100, 1000, 10000),
        connections=32,
        inflight=32,
        origins="POINT",
    ),
    Row(
        "origins-10000-shipped",
        "GET 1 KiB round 10,000 origins, pool as shipped",
        {"connections": 32, "inflight": 32, "origins": 10000},
        seconds=0.3,
        group="origins",
        point="10,000, pool as shipped",
        alone=True,
        peers="viaduct",
        quick=False,
    ),
    Row(
        "peak",
        "memory after a peak of 9,000 clients",
        {"connections": 9000, "inflight": 9000},
        "KiB",
        kind="peak",
        group="peak",
        rounds=1,
        peers="some",
        quick=False,
    ),
    Row(
        "list",
        "GET 1 KiB by host name, 1,000,000 names refused",
        steady(32, host=1),
        kind="list",
        group="list",
        rounds=3,
        peers="lists",
        quick=False,
        extra={"names": 1000000},
    ),
    *_decide("10", "10 lines", rules.USUAL, 10),
    *_decide("100", "100 lines", rules.USUAL, 100),
    *_decide("1000", "1,000 lines", rules.USUAL, 1000),
    *_decide("1000-unlike", "1,000 lines of ten kinds in turn", rules.UNLIKE, 1000),
    Row(
        "list-look-up",
        "a list of 1,000,000 names",
        {},
        "ns/look-up",
        kind="program",
        group="policy",
        peers="viaduct",
        rounds=3,
        quick=False,
        extra={"program": "lists", "argv": (1000000,), "cost": "hit_ns"},
    ),
    Row(
        "rules",
        "GET 1 KiB by host name, by length of the rule table",
        steady(32, host=1),
        wrk=True,
        peers="rules",
        group="rules",
        instructions=True,
        quick=False,
        extra={"lines": 1000, "names": 1000000},
    ),
    Row(
        "login",
        "2,000 requests/s with credentials that are known",
        {"connections": 64, "rate": 2000},
        peers="login",
        group="login",
        instructions=True,
        quick=False,
    ),
    Row(
        "login-beside",
        "2,000 requests/s beside logins by bcrypt",
        {"connections": 64, "rate": 2000},
        "x p99",
        kind="logins",
        peers="login",
        group="logins",
        quick=False,
        goal=Goal(2),
    ),
]
