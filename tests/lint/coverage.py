#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""coverage.py BUILD: what the tests reached of src/, by room and by file, and what not of src/http.

BUILD is a meson build directory with b_coverage whose tests have run. Fails when a line of src/http
was never reached, or when fewer branches were than MIN_BRANCHES of a hundred.

Lines that hold an ASSERT are left out of the count of branches (not of that of lines): its other
branch is a fault of the program itself. Nothing else is left out. A branch is what gcc makes one:
each side of an `if`, `&&`, `?:` or loop, each `case`, and the way past all of them.
"""

import collections
import json
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
MIN_BRANCHES = 90
WHOLE = "src/http/"  # every line of it is to be reached
ROW = "{:<36}{:>7}/{:<6}{:>6.1f} %{:>8}/{:<6}{:>6.1f} %"


class Count:
    """Lines and branches: how many there are, and how many were reached."""

    def __init__(self):
        self.lines = self.lines_reached = self.branches = self.branches_reached = 0

    def __iadd__(self, other):
        for name, value in vars(other).items():
            setattr(self, name, getattr(self, name) + value)
        return self

    def percent_lines(self):
        return 100 * self.lines_reached / (self.lines or 1)

    def percent_branches(self):
        return 100 * self.branches_reached / (self.branches or 1)

    def row(self, name):
        return ROW.format(
            name,
            self.lines_reached,
            self.lines,
            self.percent_lines(),
            self.branches_reached,
            self.branches,
            self.percent_branches(),
        )


def measure(build):
    """gcovr's report."""
    with tempfile.TemporaryDirectory() as directory:
        report = pathlib.Path(directory) / "report.json"
        subprocess.run(
            [
                *("gcovr", "--root", ROOT, "--filter", f"{ROOT}/src/", "--json", report),
                *("--exclude-branches-by-pattern", r".*\bASSERT\(.*"),
                *("--object-directory", build, build),
            ],
            check=True,
        )
        return json.loads(report.read_text())


def read_file(entry):
    """The count of one file, its lines never reached, and those with a branch never taken."""
    count, missed, half = Count(), [], []
    lines = collections.defaultdict(list)
    for line in entry["lines"]:
        if not line.get("gcovr/noncode") and not line.get("gcovr/excluded"):
            lines[line["line_number"]].append(line)
    for number, same in sorted(lines.items()):
        branches = [b["count"] > 0 for line in same for b in line["branches"]]
        reached = any(line["count"] for line in same)
        count.lines += 1
        count.lines_reached += reached
        count.branches += len(branches)
        count.branches_reached += sum(branches)
        if not reached:
            missed.append(number)
        elif not all(branches):
            half.append(number)
    return count, missed, half


def print_lines(name, numbers):
    text = (ROOT / name).read_text(encoding="utf-8").splitlines()
    for number in numbers:
        print(f"  {name}:{number}: {text[number - 1].strip()}")


def main(build):
    rooms, total = collections.defaultdict(Count), Count()
    files, missed, half = {}, {}, {}
    for entry in measure(build)["files"]:
        name = entry["file"]
        files[name], missed[name], half[name] = read_file(entry)
        rooms[str(pathlib.Path(name).parent)] += files[name]
        total += files[name]

    print(f"{'':<36}{'lines reached':>16}{'':>6}{'branches taken':>17}")
    for room, count in sorted(rooms.items()):
        print(count.row(room))
    print(total.row("all"))
    print()
    for name, count in sorted(files.items()):
        print(count.row(name))
    print("\nleft out of the branches: lines with an ASSERT")

    whole = {name: lines for name, lines in missed.items() if name.startswith(WHOLE)}
    print(f"\nlines of {WHOLE} never reached: {sum(map(len, whole.values()))}")
    for name, numbers in sorted(whole.items()):
        print_lines(name, numbers)
    print(f"\nlines of {WHOLE} with a branch never taken:")
    for name, numbers in sorted(half.items()):
        if name.startswith(WHOLE):
            print_lines(name, numbers)
    enough = total.percent_branches() >= MIN_BRANCHES
    if not enough:
        print(f"\n{total.percent_branches():.1f} % of the branches; wanted are {MIN_BRANCHES} %")
    return 0 if enough and not any(whole.values()) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
