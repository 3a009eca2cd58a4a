# SPDX-License-Identifier: MIT
"""chart.svg: what the other programs need, as a multiple of viaduct's need for the same work."""

from html import escape
from math import log10

from figures import middle

WORKS = {
    "get-1k": "Small page, kept connection",
    "new-connection": "Small page, new connection",
    "get-64k": "64 KiB page",
    "get-10m": "10 MiB file",
    "connect": "A tunnel, opened and closed",
    "tunnel-bulk": "Data in a tunnel",
    "tunnel-ping": "Small messages in a tunnel",
    "open-2000": "2,000 requests a second",
    "idle-client": "Memory of an idle client",
    "idle-tunnel": "Memory of an idle tunnel",
}
NAMES = {
    "floor": "bare relay",
    "haproxy": "HAProxy",
    "squid": "Squid",
    "trafficserver": "Traffic Server",
}
WIDTH, LEFT, RIGHT = 840, 330, 100  # of the page; of what stands beside the scale
TOP, LANE, GAP, MARGIN = 122, 17, 12, 16
LETTER = 6.4  # about the width of one, to keep labels apart
TICKS = (0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200)
STYLE = """
text { font: 12px system-ui, sans-serif; fill: #24292f }
.title { font-size: 16px; font-weight: 600 } .work { font-weight: 600 } .small { fill: #57606a }
.page { fill: #ffffff } .band { fill: #f6f8fa } .tick { stroke: #d8dee4 }
.ours { stroke: #0969da; stroke-width: 2 } .ours-text { fill: #0969da; font-weight: 600 }
.more { fill: #57606a } .less { fill: #cf222e } .floor { fill: none; stroke: #57606a }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 } .small { fill: #8d96a0 } .page { fill: #0d1117 } .band { fill: #161b22 }
  .tick { stroke: #30363d } .ours { stroke: #4493f8 } .ours-text { fill: #4493f8 }
  .more { fill: #8d96a0 } .less { fill: #f85149 } .floor { stroke: #8d96a0 }
}
"""


def ratios_of(row):
    """[(name, times what viaduct needs)], the least first."""
    ours = middle(row["cells"].get("viaduct", {"samples": []}))
    if not ours or ours <= 0:
        return []
    found = []
    for name, cell in row["cells"].items():
        value = middle(cell)
        if name == "floor" and row["unit"] == "KiB":
            continue  # a few pointers: nothing to compare with
        if name not in ("viaduct", "direct") and value and value > 0:
            found.append((name, value / ours))
    return sorted(found, key=lambda item: item[1])


class Scale:
    """Ratios on a logarithmic scale, from a tick below them all to one above."""

    def __init__(self, ratios):
        low, high = min([0.5, *ratios]), max([2, *ratios])
        self.low = max((tick for tick in TICKS if tick <= low), default=TICKS[0])
        self.high = min((tick for tick in TICKS if tick >= high), default=TICKS[-1])
        self.ticks = [tick for tick in TICKS if self.low <= tick <= self.high]

    def x(self, ratio):
        part = log10(ratio / self.low) / log10(self.high / self.low)
        return LEFT + min(1, max(0, part)) * (WIDTH - LEFT - RIGHT)


def told(name, ratio):
    digits = 2 if ratio < 0.995 else 1 if ratio < 9.95 else 0
    return f"{NAMES.get(name, name)} {ratio:.{digits}f}"


def lanes_of(ratios, scale):
    """Each dot on the first lane where its label meets no other; those below one have it before."""
    placed, lanes = [], []
    for name, ratio in ratios:
        x, text = scale.x(ratio), told(name, ratio)
        width = 12 + LETTER * len(text)
        left, right = (x - width, x + 4) if ratio < 1 else (x - 4, x + width)
        lane = next(
            (i for i, taken in enumerate(lanes) if all(right < a or left > b for a, b in taken)),
            len(lanes),
        )
        if lane == len(lanes):
            lanes.append([])
        lanes[lane].append((left - 6, right + 6))
        placed.append((lane, x, name, ratio, text))
    return placed, len(lanes)


def works_part(rows, scale):
    out, y = [], TOP
    for index, row in enumerate(rows):
        placed, lanes = lanes_of(ratios_of(row), scale)
        height = lanes * LANE + GAP
        if index % 2 == 0:
            out.append(f'<rect class="band" x="0" y="{y}" width="{WIDTH}" height="{height}"/>')
        work, middle_y = escape(WORKS[row["name"]]), y + height / 2 + 4
        out.append(f'<text class="work" x="{MARGIN}" y="{middle_y}">{work}</text>')
        for lane, x, name, ratio, text in placed:
            at = y + GAP / 2 + lane * LANE + LANE / 2
            kind = "floor" if name == "floor" else "less" if ratio < 1 else "more"
            out.append(f'<circle class="{kind}" cx="{x:.1f}" cy="{at:.1f}" r="4"/>')
            side, anchor = (x - 8, "end") if ratio < 1 else (x + 8, "start")
            out.append(
                f'<text class="small" x="{side:.1f}" y="{at + 4:.1f}" text-anchor="{anchor}">'
                f"{escape(text)}</text>"
            )
        y += height
    return out, y


def grid_part(scale, bottom):
    out = []
    for tick in scale.ticks:
        x, kind = scale.x(tick), "ours" if tick == 1 else "tick"
        out.append(f'<line class="{kind}" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP - 8}" y2="{bottom}"/>')
        text, kind = ("viaduct", "ours-text") if tick == 1 else (f"{tick:g} x", "small")
        place = f'x="{x:.1f}" y="{TOP - 14}" text-anchor="middle"'
        out.append(f'<text class="{kind}" {place}>{text}</text>')
    return out


def chart(document):
    """An SVG picture of the main rows; empty when there are none with figures."""
    rows = [row for row in document["rows"] if row["name"] in WORKS and ratios_of(row)]
    scale = Scale([ratio for row in rows for _, ratio in ratios_of(row)])
    works, bottom = works_part(rows, scale)
    grid = grid_part(scale, bottom)
    bands = [line for line in works if line.startswith('<rect class="band"')]
    marks = [line for line in works if not line.startswith('<rect class="band"')]
    machine, height = document["machine"], bottom + MARGIN
    title = "Processor time and memory that other programs need, as a multiple of viaduct's"
    notes = (
        "Right of the line: needs more than viaduct. Left of it: needs less. Logarithmic scale.",
        f"One core of {machine['cores']}, {machine['cpu']}, {document['date'][:10]}. The bare "
        "relay copies bytes and understands nothing.",
        "In the rows about tunnels HAProxy is a TCP relay to one fixed target.",
    )
    head = [
        '<svg xmlns="http://www.w3.org/2000/svg" '
        f'viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" '
        f'height="{height}" role="img">',
        f"<title>{title}</title>",
        f"<style>{STYLE}</style>",
        f'<rect class="page" width="{WIDTH}" height="{height}"/>',
        f'<text class="title" x="{MARGIN}" y="26">{title}</text>',
        *(
            f'<text class="small" x="{MARGIN}" y="{46 + 17 * index}">{escape(note)}</text>'
            for index, note in enumerate(notes)
        ),
    ]
    return "\n".join([*head, *bands, *grid, *marks, "</svg>"]) + "\n"
