# SPDX-License-Identifier: MIT
"""Turns the figures into the report's tables, its verdicts and its chart."""

from html import escape
from statistics import median

ENOUGH_ROUNDS = 9
TIE = 1.2
NOISY = 0.05  # of the proxy's core, taken by others
# Figures that hardly differ from round to round; they need no nine of them.
COUNTED = ("KiB",)


def values(cell, key):
    return [sample[key] for sample in cell["samples"] if key in sample]


def middle(cell, key):
    found = values(cell, key)
    return median(found) if found else None


def number(value):
    if value is None:
        return "-"
    size = abs(value)
    if size >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3f}" if size < 1 else f"{value:.2f}" if size < 10 else f"{value:.1f}"


def spread(cell, key):
    """Median [min-max]."""
    found = values(cell, key)
    if not found:
        return "failed" if "fault" in cell else "-"
    if len(found) == 1:
        return number(found[0])
    return f"{number(median(found))} [{number(min(found))}-{number(max(found))}]"


def limit_of(row, goal, key="cpu"):
    """The goal as a number, or None where its measure is missing."""
    if not goal["of"]:
        return goal["factor"]
    reference = row["cells"].get(goal["of"])
    of = middle(reference, key) if reference else None
    return of and of * goal["factor"]


def goal_text(row, goal):
    limit = limit_of(row, goal)
    if not goal["of"]:
        return number(limit)
    return f"{goal['factor']:g} x {goal['of']} = {number(limit)}"


def judge(have, limit):
    if have is None or limit is None:
        return "not measured"
    return "met" if have <= limit else "tie" if have <= limit * TIE else "missed"


def verdict(row):
    """met, tie or missed; and why that is not yet said for good."""
    if not row["goal"] or "viaduct" not in row["cells"]:
        return ""
    cell, goal = row["cells"]["viaduct"], row["goal"]
    word = judge(middle(cell, "cpu"), limit_of(row, goal))
    if word == "tie":
        told = [f"{number(cell['syscalls'])} calls"] if "syscalls" in cell else []
        if "instructions" in cell:
            told.append(f"{cell['instructions']:,.0f} instructions")
        other = row["cells"].get(goal["of"], {})
        if "syscalls" in other:
            told.append(f"{goal['of']}: {number(other['syscalls'])} calls")
        if "instructions" in other:
            told.append(f"{other['instructions']:,.0f} instructions")
        if told:
            word += f" ({', '.join(told)})"
    rounds = len(values(cell, "cpu"))
    if word != "not measured" and rounds < ENOUGH_ROUNDS and row["unit"] not in COUNTED:
        word += f", of {rounds} round{'s' * (rounds != 1)} only"
    return word


def table(head, lines):
    rows = [head, ["---"] * len(head), *lines]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in rows) + "\n"


def names_of(rows):
    found = []
    for row in rows:
        found += [name for name in row["cells"] if name not in found]
    return found


def matrix(rows, key, titles=None, skip=()):
    """A line for each row, a column for each peer."""
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
            spread(row["cells"][name], "cpu") if name in row["cells"] else "-" for name in names
        ]
        goal = goal_text(row, row["goal"]) if row["goal"] else "-"
        lines.append([f"{row['title']}, {row['unit']}", *cells, goal, verdict(row) or "-"])
        if row["calls_goal"]:
            goal = row["calls_goal"]
            calls = [row["cells"].get(name, {}).get("syscalls") for name in names]
            have = row["cells"].get("viaduct", {}).get("syscalls")
            word = judge(have, limit_of(row, goal, "syscalls"))
            lines.append(
                ["the same, system calls/request", *map(number, calls), number(goal["factor"]), word]
            )
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


def calls_by_name(rows):
    lines = []
    for row in rows:
        by_name = row["cells"].get("viaduct", {}).get("by_name", {})
        ordered = sorted(by_name.items(), key=lambda item: -item[1])
        told = ", ".join(f"{name} {number(count)}" for name, count in ordered if count >= 0.005)
        if told:
            lines.append([row["title"], told])
    return table(["", "viaduct's calls"], lines)


def latency_table(rows):
    lines = []
    for row in rows:
        for name, cell in row["cells"].items():
            if values(cell, "p50_us"):
                told = [spread(cell, key) for key in ("throughput", "p50_us", "p99_us", "p999_us")]
                lines.append([row["title"], name, *told])
    return table(["", "", "requests/s", "p50 us", "p99 us", "p99.9 us"], lines)


def beside_table(row):
    lines = []
    for name, cell in row["cells"].items():
        keys = ("cpu", "p50_us", "p99_us", "p999_us", "idle_switches", "idle_cpu_ms")
        lines.append([name, *(spread(cell, key) for key in keys)])
    head = ["", "us/request", "p50 us", "p99 us", "p99.9 us"]
    return table([*head, "switches/s, all idle", "CPU ms/s, all idle"], lines)


def peak_table(row):
    lines = []
    for name, cell in row["cells"].items():
        keys = ("start_kib", "peak_kib", "end_kib", "settle_s")
        back = values(cell, "settled")
        told = "-" if not back else "yes" if all(back) else "no"
        lines.append([name, *(spread(cell, key) for key in keys), told])
    head = ["", "start KiB", "peak KiB", "end KiB", "waited s"]
    return table([*head, "back within 4 MiB"], lines)


def noise(document):
    """Of every round: fixed work's time, and who else used the proxy's core."""
    samples = [
        sample
        for row in document["rows"]
        for cell in row["cells"].values()
        for sample in cell["samples"]
    ]
    all_of = {"samples": samples}
    foreign = values(all_of, "foreign")
    if not foreign:
        return ""
    text = (
        f"Noise: a fixed piece of work took {spread(all_of, 'spin_ms')} ms on the proxy's core; "
        f"others used {100 * median(foreign):.1f} % of it (at most {100 * max(foreign):.1f} %), "
        f"the host took {100 * median(values(all_of, 'stolen')):.1f} %.\n"
    )
    if median(foreign) > NOISY:
        text += "\n**The machine was not quiet: these figures try the bench out, no more.**\n"
    return text


def grouped(document):
    groups = {}
    for row in document["rows"]:
        groups.setdefault(row["group"], []).append(row)
    return groups


def markdown(document):
    machine, groups = document["machine"], grouped(document)
    versions = ", ".join(f"{name} {version}" for name, version in document["versions"].items())
    parts = [
        f"# viaduct beside others, {document['date'][:10]}\n",
        f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_gib']} GiB, Linux "
        f"{machine['kernel']}. {versions}. Everything on loopback, the proxy alone on one core, load "
        f"and origin on another; access log on, no cache. {document['rounds']} rounds of "
        f"{document['seconds']:g} s in turn; median [lowest-highest].\n",
        noise(document),
    ]
    parts += [f"Left out: {name}: {why}.\n" for name, why in document["left_out"].items()]
    main = groups.pop("main", [])
    if main:
        parts += ["## Processor time the proxy needs\n", main_table(main)]
        steady = [row for row in main if row["kind"] == "steady"]
        parts += ["## System calls\n", calls_table(steady), calls_by_name(steady)]
        parts += ["## Throughput\n", "Requests, tunnels, messages or GiB a second.\n"]
        parts += [matrix([row for row in steady if "open" not in row["name"]], "throughput")]
        opened = [row for row in steady if row["name"].startswith("open")]
        if opened:
            parts += ["## Time a request takes at a fixed rate\n", latency_table(opened)]
        parts += ["## Highest memory, KiB\n", matrix(steady, "peak_kib", skip=("direct",))]
    for group, rows in groups.items():
        title = GROUPS[group]
        parts.append(f"## {title}\n")
        if group == "beside":
            parts.append(beside_table(rows[0]))
        elif group == "peak":
            parts.append(peak_table(rows[0]))
        elif group in ("log", "workers"):
            lines = [
                [name, *(spread(cell, key) for key in ("cpu", "throughput", "p99_us"))]
                for name, cell in rows[0]["cells"].items()
            ]
            parts.append(table(["", "us/request", "requests/s", "p99 us"], lines))
        else:
            parts.append(matrix(rows, "cpu", lambda row: row["point"], skip=("direct",)))
    for name, functions in document["functions"].items():
        parts.append(f"## viaduct's costliest functions, {name} (callgrind, start-up included)\n")
        parts.append(table(["share", "function"], [[f"{s:.1f} %", f"`{f}`"] for s, f in functions]))
    faults = [
        f"- {row['name']}, {name}: {cell.get('fault') or cell.get('calls_fault')}\n"
        for row in document["rows"]
        for name, cell in row["cells"].items()
        if "fault" in cell or "calls_fault" in cell
    ]
    if faults:
        parts += ["## What failed\n", "".join(faults)]
    return "\n".join(part for part in parts if part)


GROUPS = {
    "open": "us/request by open connections, ten requests under way",
    "origins": "us/request by distinct origins, in turn",
    "beside": "2,000 requests/s beside 9,000 idle clients",
    "workers": "GET 1 KiB by number of workers",
    "log": "GET 1 KiB by kind of access log",
    "peak": "Memory after a peak of 9,000 clients",
}

# --- The chart: a panel for each kind of work, a bar for each program -------------------------------

CHART_ROWS = {
    "get-1k": "Small page, kept connection",
    "new-connection": "Small page, new connection",
    "get-64k": "64 KiB page",
    "get-10m": "10 MiB file",
    "connect": "HTTPS tunnel, opened and closed",
    "tunnel-bulk": "Data through a tunnel",
}
WIDTH, PANEL, BAR, LABEL, MARGIN = 820, 400, 17, 96, 14
STYLE = """
text { font: 12px system-ui, sans-serif; fill: #24292f }
.title { font-size: 16px; font-weight: 600 } .name { font-weight: 600 } .small { fill: #57606a }
.page { fill: #ffffff } .peer { fill: #afb8c1 } .ours { fill: #0969da } .floor { fill: #d8dee4 }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 } .small { fill: #8d96a0 } .page { fill: #0d1117 }
  .peer { fill: #57606a } .ours { fill: #4493f8 } .floor { fill: #30363d }
}
"""


def chart_panel(row, x, y):
    """One panel's elements and its height."""
    bars = [
        (name, middle(cell, "cpu"))
        for name, cell in row["cells"].items()
        if name != "direct" and middle(cell, "cpu")
    ]
    bars.sort(key=lambda bar: (bar[0] != "floor", bar[1]))
    longest = max((value for _, value in bars), default=1)
    room = PANEL - LABEL - 70
    unit = "us" if row["unit"].startswith("us") else "s per GiB"
    out = [f'<text class="name" x="{x}" y="{y + 12}">{escape(CHART_ROWS[row["name"]])}</text>']
    for index, (name, value) in enumerate(bars):
        top = y + 22 + index * (BAR + 4)
        kind = "ours" if name == "viaduct" else "floor" if name == "floor" else "peer"
        shown = "bare relay" if name == "floor" else name
        length = max(1, room * value / longest)
        out.append(f'<text x="{x + LABEL - 6}" y="{top + 13}" text-anchor="end">{escape(shown)}</text>')
        out.append(
            f'<rect class="{kind}" x="{x + LABEL}" y="{top}" width="{length:.1f}" height="{BAR}" '
            f'rx="2"/>'
        )
        out.append(
            f'<text class="small" x="{x + LABEL + length + 5:.1f}" y="{top + 13}">'
            f"{number(value)} {unit}</text>"
        )
    return out, 30 + len(bars) * (BAR + 4)


def chart(document):
    """An SVG picture of the main rows; shorter bars are better."""
    rows = [row for row in document["rows"] if row["name"] in CHART_ROWS]
    body, y = [], 64
    for index in range(0, len(rows), 2):
        heights = []
        for column, row in enumerate(rows[index : index + 2]):
            panel, height = chart_panel(row, MARGIN + column * (PANEL + 4), y)
            body += panel
            heights.append(height)
        y += max(heights) + 14
    machine = document["machine"]
    about = (
        f"One core of {machine['cores']}, {machine['cpu']}, {document['date'][:10]}; the bare relay "
        "copies bytes and understands nothing."
    )
    title = "Processor time per request (shorter is better)"
    head = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y}" width="{WIDTH}" '
        f'height="{y}" role="img">',
        f"<title>{title}</title>",
        f"<style>{STYLE}</style>",
        f'<rect class="page" width="{WIDTH}" height="{y}"/>',
        f'<text class="title" x="{MARGIN}" y="26">{title}</text>',
        f'<text class="small" x="{MARGIN}" y="46">{escape(about)}</text>',
    ]
    return "\n".join([*head, *body, "</svg>"]) + "\n"
