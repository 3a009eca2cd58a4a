# SPDX-License-Identifier: MIT
"""What README.md says of a run, between its two markers."""

from pathlib import Path

import report
from chart import WORKS
from figures import calls_verdict, floor_text, judge, middle, names_of, number, outcome, table
from figures import tie_break, values

COMPARED = ("main", "names", "beside", "open", "origins", "peak", "list")
BEGIN = "<!-- figures: ./dev bench --readme writes what follows -->"
END = "<!-- end of figures -->"
TITLES = {"direct": "", "floor": "bare relay", "haproxy": "HAProxy", "squid": "Squid"}
TITLES |= {"trafficserver": "Traffic Server"}
LEFT = ("direct", "floor", "viaduct")
NOT_COMPARED = ("open-half",)  # each at a rate of its own


def line(title, row, names, key="cost", last=""):
    """One row's medians, the lowest of the real proxies in bold."""
    found = {name: middle(row["cells"].get(name, {"samples": []}), key) for name in names}
    real = sorted(value for name, value in found.items() if name != "floor" and value is not None)
    told = [
        f"**{number(value)}**" if name != "floor" and value in real[:1] else number(value)
        for name, value in found.items()
    ]
    return [title, *told, last]


def judged(row):
    goal, word = row["goal"], outcome(row)
    if not word:
        return ""
    text = f"{number(goal['factor'])} KiB" if not goal["of"] else (
        f"{goal['factor']:g} x {TITLES.get(goal['of'], goal['of'])}"
    )
    if word == "tie" and tie_break(row):
        word += f", {tie_break(row)}"
    if word == "missed":
        word += floor_text(row)
    return f"{text}: {word}"


def from_to(title, rows, names, keys=("cost", "cost")):
    """The first row's figure and the last one's, or two figures of one row."""
    cells = [row["cells"] for row in (rows[0], rows[-1])]
    told = []
    for name in names:
        pair = [middle(by.get(name, {"samples": []}), key) for by, key in zip(cells, keys)]
        told.append("-" if None in pair else f"{number(pair[0])} to {number(pair[1])}")
    return [title, *told, ""]


def lines_of_row(row, names):
    unit = row["unit"].replace("CPU ", "")
    yield line(f"{row['title']}, {unit}", row, names, last=judged(row))
    if row["calls_goal"]:
        calls = [number(row["cells"].get(name, {}).get("syscalls")) for name in names]
        factor = row["calls_goal"]["factor"]
        yield ["the same, system calls", *calls, f"{factor:g}: {calls_verdict(row)}"]
    if row["name"].startswith("open-"):
        yield line("the same, p99 of a request's time, us", row, names, "p99_us")


def lines_of_scale(title, rows, names):
    """The ends of a scale whose points are numbers."""
    points = [row for row in rows if row["name"].rsplit("-", 1)[1].isdigit()]
    if len(points) > 1:
        ends = f"{points[0]['point']} to {points[-1]['point']}"
        yield from_to(f"keep-alive GET, 1 KiB, {ends} {title}, us/request", points, names)


def in_turn(title, figures, names, last=""):
    """A line about viaduct alone."""
    told = " to ".join("-" if value is None else number(value) for value in figures)
    return [title, *(told if name == "viaduct" else "-" for name in names), last]


def lines_alone(groups, names):
    """What rules and logins cost: rows that have cells of their own."""
    for row in groups.get("rules", []):
        title = f"by host name: without rules to 1,000 rules to 1,000,000 names, {row['unit']}"
        yield in_turn(title, [middle(cell) for cell in row["cells"].values()], names)
    for row in groups.get("login", []):
        title = f"2,000 requests/s, without to with credentials that are known, {row['unit']}"
        yield in_turn(title, [middle(cell) for cell in row["cells"].values()], names)
    for row in groups.get("logins", []):
        figures = [middle(row["cells"]["viaduct"], key) for key in ("alone_p99_us", "p99_us")]
        times = middle(row["cells"]["viaduct"])
        verdict = f"{row['goal']['factor']:g} times: {judge(times, row['goal']['factor'])}"
        title = "2,000 requests/s, p99 alone to p99 beside logins by bcrypt, us"
        yield in_turn(title, figures, names, verdict)


def by_group(rows):
    groups = {}
    for row in rows:
        groups.setdefault(row["group"], []).append(row)
    return groups


def all_lines(rows, names):
    groups = by_group(rows)
    for row in groups.get("main", []):
        yield from lines_of_row(row, names)
    for row in groups.get("names", []):
        yield line(f"by host name: {row['title']}, {row['unit']}", row, names)
    yield from lines_of_scale("open connections", groups.get("open", []), names)
    yield from lines_of_scale("origins in turn", groups.get("origins", []), names)
    for row in groups.get("beside", []):
        title = "2,000 requests/s, p99 alone to p99 beside 9,000 idle clients, us"
        yield from_to(title, [row], names, ("alone_p99_us", "p99_us"))
    for row in groups.get("peak", []):
        yield line("memory kept a minute after a peak of 9,000 clients, KiB", row, names)
    for row in groups.get("list", []):
        keys = ("cost_without", "cost")
        yield from_to("without to with a list of 1,000,000 names, us/request", [row], names, keys)
        yield line("the same list, seconds to load", row, names, "load_s")
        yield line("the same list, KiB", row, names, "list_kib")


def losses(rows, names):
    """Every row in which some real proxy needs less."""
    told = []
    for row in rows:
        found = {name: middle(row["cells"].get(name, {"samples": []})) for name in names}
        ours = found.get("viaduct")
        better = [
            (value, name)
            for name, value in found.items()
            if name not in LEFT and value is not None and ours is not None and value < ours
        ]
        if better and row["name"] not in NOT_COMPARED:
            value, name = min(better)
            other = f"{TITLES.get(name, name)} {number(value)}"
            told.append(f"{row['title']} ({other}, viaduct {number(ours)})")
    if not told:
        return "In none of these rows does another proxy need less than viaduct.\n"
    return f"Another proxy needs less than viaduct in: {'; '.join(told)}.\n"


def section(document, chart_path):
    rows = [row for row in document["rows"] if row["group"] in COMPARED]
    names = [name for name in names_of(rows) if name != "direct"]
    steady = [row["cells"]["viaduct"] for row in rows if row["kind"] == "steady"]
    rounds = sorted({len(values(cell, "cost")) for cell in steady})
    told = " to ".join(str(count) for count in sorted({rounds[0], rounds[-1]})) if rounds else "no"
    parts = []
    if any(row["name"] in WORKS for row in rows):
        parts.append(f"![Processor time of other proxies by viaduct's]({chart_path})\n")
    lines = list(all_lines(rows, names)) + list(lines_alone(by_group(document["rows"]), names))
    parts += [
        f"Measured on {document['date'][:10]}: {report.about(document)} Medians of {told} rounds "
        "in turn; the best of the real proxies in bold; where a goal was set, what became of it.\n",
        table(["", *(TITLES.get(name, name) for name in names), "goal"], lines),
        losses(rows, names),
        report.noise(document),
    ]
    return "\n".join(part for part in parts if part)


def put(readme, document, chart_path):
    """Replaces what stands between the markers of the file README."""
    readme = Path(readme)
    text = readme.read_text()
    if text.count(BEGIN) != 1 or text.count(END) != 1:
        raise SystemExit(f"bench: {readme} has no place for figures: {BEGIN} ... {END}")
    before, rest = text.split(BEGIN)
    after = rest.split(END)[1]
    readme.write_text(f"{before}{BEGIN}\n\n{section(document, chart_path)}\n{END}{after}")
