# SPDX-License-Identifier: MIT
"""report.md: every figure of a run, in tables."""

from figures import (
    NOISY,
    all_samples,
    calls_verdict,
    goal_text,
    limit_of,
    median,
    middle,
    names_of,
    number,
    outcome,
    spread,
    table,
    values,
    verdict,
)

__all__ = ["markdown", "middle", "outcome"]

GROUPS = {
    "names": "Processor time by host name",
    "open": "us/request by open connections, ten requests under way",
    "origins": "us/request by distinct origins, in turn",
    "beside": "2,000 requests/s beside 9,000 idle clients",
    "workers": "GET 1 KiB by number of workers",
    "log": "GET 1 KiB by kind of access log",
    "peak": "Memory after a peak of 9,000 clients",
    "list": "GET 1 KiB by host name, with a list of 1,000,000 refused names",
    "policy": "Rules and lists by themselves",
    "rules": "GET 1 KiB by host name, by length of the rule table",
    "login": "2,000 requests/s with credentials that are known",
    "logins": "2,000 requests/s beside logins by bcrypt of cost 10",
}


def matrix(rows, key, titles=None, skip=()):
    """A line for each row, a column for each program."""
    names = [name for name in names_of(rows) if name not in skip]
    lines = []
    for row in rows:
        cells = [spread(row["cells"][name], key) if name in row["cells"] else "-" for name in names]
        if any(cell != "-" for cell in cells):
            lines.append([titles(row) if titles else row["title"], *cells])
    return table(["", *names], lines)


def main_table(rows):
    names = [name for name in names_of(rows) if name != "direct"]
    lines = []
    for row in rows:
        cells = [
            spread(row["cells"][name], "cost") if name in row["cells"] else "-" for name in names
        ]
        goal = goal_text(row, row["goal"]) if row["goal"] else "-"
        lines.append([f"{row['title']}, {row['unit']}", *cells, goal, verdict(row) or "-"])
        if row["calls_goal"]:
            calls = [number(row["cells"].get(name, {}).get("syscalls")) for name in names]
            goal = number(limit_of(row, row["calls_goal"], "syscalls"))
            lines.append(["the same, system calls/request", *calls, goal, calls_verdict(row)])
    return table(["", *names, "goal", "verdict"], lines)


def calls_table(rows):
    names = [name for name in names_of(rows) if name != "direct"]
    lines = []
    for row in rows:
        calls = [row["cells"].get(name, {}).get("syscalls") for name in names]
        if any(calls):
            unit = row["unit"].split("/")[-1]
            lines.append([f"{row['title']}, per {unit}", *map(number, calls)])
    return table(["", *names], lines)


def amount(row, count):
    """How much was done while calls were counted."""
    return f"{count:.2f} GiB" if row["unit"].endswith("GiB") else f"{count:,.0f}"


def calls_by_name(rows):
    lines = []
    for row in rows:
        cell = row["cells"].get("viaduct", {})
        if "calls" not in cell:
            continue
        ordered = sorted(cell["calls"].items(), key=lambda item: -item[1])
        told = ", ".join(f"{name} {count:,}" for name, count in ordered)
        lines.append([row["title"], amount(row, cell["calls_for"]), told])
    return table(["viaduct's calls (strace -c)", "in", ""], lines) if lines else ""


def latency_table(rows):
    lines = []
    for row in rows:
        for name, cell in row["cells"].items():
            if values(cell, "p50_us"):
                told = [spread(cell, key) for key in ("throughput", "p50_us", "p99_us", "p999_us")]
                lines.append([row["title"], name, *told])
    return table(["", "", "requests/s", "p50 us", "p99 us", "p99.9 us"], lines)


def quiet_table(rows):
    lines = []
    for row in rows:
        for name, cell in row["cells"].items():
            if values(cell, "idle_switches"):
                told = [spread(cell, key) for key in ("idle_switches", "idle_cpu_ms")]
                lines.append([row["title"], name, *told])
    head = ["held, and nobody active", "", "context switches/s", "CPU ms/s"]
    return table(head, lines) if lines else ""


def keyed_table(row, columns):
    """A line for each program, a column for each (title, key)."""
    lines = [
        [name, *(spread(cell, key) for _, key in columns)] for name, cell in row["cells"].items()
    ]
    return table(["", *(title for title, _ in columns)], lines)


def beside_table(rows):
    columns = [("us/request", "cost"), ("alone", "alone_cost")]
    for title, key in (("p50 us", "p50_us"), ("p99 us", "p99_us"), ("p99.9 us", "p999_us")):
        columns += [(title, key), ("alone", f"alone_{key}")]
    return keyed_table(rows[0], columns)


def peak_table(rows):
    columns = [("start KiB", "start_kib"), ("peak KiB", "peak_kib"), ("end KiB", "end_kib")]
    columns += [("waited s", "settle_s"), ("back within 4 MiB", "settled")]
    return keyed_table(rows[0], columns)


def list_table(rows):
    columns = [("us/request", "cost"), ("without the list", "cost_without")]
    columns += [("load s", "load_s"), ("list KiB", "list_kib")]
    return keyed_table(rows[0], columns)


DECISION = (
    ("ns before names are resolved", "request_ns"),
    ("decided by", "request_by"),
    ("ns on an address", "address_ns"),
    ("decided by", "address_by"),
    ("compile ms", "compile_ms"),
)
LOOK_UP = (
    ("load ms", "load_ms"),
    ("MiB", "memory_mib"),
    ("while loading", "peak_mib"),
    ("ns/hit", "hit_ns"),
    ("ns/miss", "miss_ns"),
    ("of five labels", "deep_miss_ns"),
    ("beside a listed one", "near_miss_ns"),
    ("ns/read of memory", "memory_ns"),
)


def policy_table(rows):
    """A line for each row, in a table for each kind of figures."""
    tables = []
    for columns in (DECISION, LOOK_UP):
        lines = [
            [row["title"], *(spread(cell, key) for _, key in columns)]
            for row in rows
            for cell in row["cells"].values()
            if values(cell, columns[0][1])
        ]
        if lines:
            tables.append(table(["", *(title for title, _ in columns)], lines))
    return "\n".join(tables)


def instructions_table(rows):
    columns = [("us/request", "cost"), ("requests/s", "throughput"), ("p99 us", "p99_us")]
    lines = [
        [name, *(spread(cell, key) for _, key in columns), number(cell.get("instructions"))]
        for name, cell in rows[0]["cells"].items()
    ]
    return table(["", *(title for title, _ in columns), "instructions/request"], lines)


def logins_table(rows):
    columns = [("logins/s", "logins"), ("p99, times that alone", "cost")]
    for title, key in (("p50 us", "p50_us"), ("p99 us", "p99_us"), ("p99.9 us", "p999_us")):
        columns += [(title, key), ("alone", f"alone_{key}")]
    text = keyed_table(rows[0], columns)
    return text + f"\nGoal: {goal_text(rows[0], rows[0]['goal'])} at most: {verdict(rows[0])}.\n"


def kinds_table(rows):
    columns = [("us/request", "cost"), ("requests/s", "throughput"), ("p99 us", "p99_us")]
    return keyed_table(rows[0], columns)


def points_table(rows):
    return matrix(rows, "cost", lambda row: row["point"], skip=("direct",))


def names_table(rows):
    return matrix(rows, "cost", lambda row: f"{row['title']}, {row['unit']}", skip=("direct",))


GROUP_TABLES = {
    "names": names_table,
    "beside": beside_table,
    "workers": kinds_table,
    "log": kinds_table,
    "peak": peak_table,
    "list": list_table,
    "policy": policy_table,
    "rules": instructions_table,
    "login": instructions_table,
    "logins": logins_table,
}


def against_table(document):
    """This build by that build: below one is better."""
    other = f"viaduct@{document['against']}"
    lines = []
    for row in document["rows"]:
        ours, theirs = (row["cells"].get(name, {"samples": []}) for name in ("viaduct", other))
        now, before = middle(ours), middle(theirs)
        if not now or not before:
            continue
        calls = [cell.get("syscalls") for cell in (ours, theirs)]
        told = [number(value) for value in (before, now, now / before)]
        told += [number(calls[1]), number(calls[0])]
        told += [number(cell.get("instructions")) for cell in (theirs, ours)]
        lines.append([f"{row['title']}, {row['unit']}", *told])
    head = [other, "viaduct", "ratio", "calls before", "now", "instructions before", "now"]
    return table(["", *head], lines)


def noise(document):
    """Of every round: what a fixed piece of work took, and who else used the proxy's core."""
    everything = all_samples(document)
    foreign, spins = values(everything, "foreign"), values(everything, "spin_ms")
    if not foreign:
        return ""
    wide = 100 * (max(spins) - min(spins)) / median(spins)
    text = (
        f"Noise: before each round a fixed piece of work took {spread(everything, 'spin_ms')} ms "
        f"on the proxy's core (they spread over {wide:.0f} % of the median); others used "
        f"{100 * median(foreign):.1f} % of that core (at most {100 * max(foreign):.1f} %), the "
        f"host took {100 * median(values(everything, 'stolen')):.1f} %.\n"
    )
    if median(foreign) > NOISY:
        text += "\n**The machine was not quiet: these figures try the bench out, no more.**\n"
    return text


def about(document):
    machine = document["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in document["versions"].items())
    return (
        f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_gib']} GiB, Linux "
        f"{machine['kernel']}. {versions}."
    )


def times_table(document):
    lines = [
        [
            row["name"],
            f"{row['time'][:10]} {row['time'][11:16]}",
            f"{row['took_s']:.0f}",
            f"{row['rounds']} x {row['seconds']:g} s",
            row["binary"],
        ]
        for row in document["rows"]
    ]
    return table(["row", "begun (UTC)", "took s", "rounds", "viaduct's SHA-256"], lines)


def main_part(rows):
    steady = [row for row in rows if row["kind"] == "steady"]
    opened = [row for row in steady if row["name"].startswith("open")]
    parts = ["## Processor time and memory the proxy needs\n", main_table(rows), quiet_table(rows)]
    if steady:
        parts += ["## System calls\n", calls_table(steady), calls_by_name(steady)]
        parts += ["## Throughput\n", "Requests, tunnels, messages or GiB a second.\n"]
        parts += [matrix([row for row in steady if row not in opened], "throughput")]
    if opened:
        parts += ["## Time a request takes at a fixed rate\n", latency_table(opened)]
    if steady:
        parts += ["## Highest memory, KiB\n", matrix(steady, "peak_kib", skip=("direct",))]
    return parts


def functions_part(document):
    parts = []
    for name, functions in document["functions"].items():
        parts.append(f"## viaduct's costliest functions, {name} (callgrind)\n")
        lines = [[f"{s:.1f} %", number(count), f"`{f}`"] for s, count, f in functions]
        parts.append(table(["share", "instructions/request", "function"], lines))
    return parts


def faults_part(document):
    faults = [
        f"- {row['name']}, {name}: {cell.get('fault') or cell.get('calls_fault')}\n"
        for row in document["rows"]
        for name, cell in row["cells"].items()
        if "fault" in cell or "calls_fault" in cell
    ]
    return ["## What failed\n", "".join(faults)] if faults else []


def markdown(document):
    groups = {}
    for row in document["rows"]:
        groups.setdefault(row["group"], []).append(row)
    parts = [
        f"# viaduct beside others, {document['date'][:10]}\n",
        f"{about(document)} Everything on loopback, the proxy alone on one core, load and origin "
        "on another; access log on, no cache. Rounds in turn; median [lowest-highest].\n",
        noise(document),
    ]
    parts += [f"Left out: {name}: {why}.\n" for name, why in document["left_out"].items()]
    if document["against"]:
        parts += ["## Side by side\n", against_table(document)]
    main = groups.pop("main", [])
    if main:
        parts += main_part(main)
    for group, rows in groups.items():
        parts += [f"## {GROUPS[group]}\n", GROUP_TABLES.get(group, points_table)(rows)]
    parts += functions_part(document) + faults_part(document)
    parts += ["## When each row was measured\n", times_table(document)]
    return "\n".join(part for part in parts if part)
