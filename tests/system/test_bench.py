# SPDX-License-Identifier: MIT
"""The benchmark runs and prints. What it prints is not judged: that takes a quiet machine."""

import importlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

BENCH = Path(__file__).parents[1] / "bench"
RUN = BENCH / "run"
PATH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
ROWS = ["connect", "open-2000", "idle-client"]
DEFAULT = Path(__file__).parents[2] / "build" / "viaduct"


@pytest.fixture(scope="module")
def figures():
    sys.path.insert(0, str(BENCH))
    yield importlib.import_module("figures")
    sys.path.remove(str(BENCH))


def bench(out, *options):
    made = subprocess.run(
        [RUN, "--viaduct", os.environ.get("VIADUCT_RELEASE", DEFAULT), "--out", out, *options],
        capture_output=True,
        text=True,
        timeout=80,
    )
    assert made.returncode == 0, made.stderr
    return made.stdout


MISSING = [name for name in ("haproxy", "wrk", "strace", "gcc") if not shutil.which(name, path=PATH)]
needs_programs = pytest.mark.skipif(
    bool(MISSING), reason=f"not installed: {', '.join(MISSING)} (./dev test installs them)"
)


def result(out):
    return json.loads((out / "result.json").read_text())


@pytest.mark.serial
@pytest.mark.notsan
@needs_programs
def test_quick_run_prints_every_row(tmp_path):
    short = ("--quick", "--rounds", "1", "--seconds", "0.3", "--rows")
    printed = bench(tmp_path, *short, ",".join(ROWS))
    assert [row["name"] for row in result(tmp_path)["rows"]] == ROWS
    for row in result(tmp_path)["rows"]:
        cell = row["cells"]["viaduct"]
        assert cell["samples"], f"{row['name']}: {cell.get('fault')}"
        assert cell["samples"][0]["cost"] >= 0
        assert row["title"] in printed
    assert result(tmp_path)["rows"][0]["cells"]["viaduct"]["syscalls"] > 0
    ElementTree.fromstring((tmp_path / "chart.svg").read_text())

    # Another row joins those that are there; an old one is replaced.
    before = {row["name"]: row["cells"] for row in result(tmp_path)["rows"]}
    printed = bench(tmp_path, *short, "connect,name-1k", "--peers", "viaduct")
    after = {row["name"]: row["cells"] for row in result(tmp_path)["rows"]}
    assert list(after) == [*ROWS, "name-1k"]
    assert after["idle-client"] == before["idle-client"]
    assert list(after["connect"]) == ["viaduct"]
    assert "When each row was measured" in printed


@pytest.mark.serial
@pytest.mark.notsan
@needs_programs
def test_rules_and_logins_have_figures(tmp_path):
    short = ("--rounds", "1", "--seconds", "0.3", "--no-callgrind", "--rows")
    printed = bench(tmp_path, *short, "decide-10,decide-10-none,login")
    cells = {row["name"]: row["cells"] for row in result(tmp_path)["rows"]}
    assert cells["decide-10"]["viaduct"]["samples"][0]["address_by"] == "r9"
    assert cells["decide-10-none"]["viaduct"]["samples"][0]["request_by"] == "builtin:default"
    for name in ("viaduct, asks nobody", "viaduct"):
        assert cells["login"][name]["samples"], cells["login"][name].get("fault")
    assert "| 10 lines, hit at the end |" in printed


def cell(cost, rounds=9, **more):
    return {"samples": [{"cost": cost, "foreign": 0, "spin_ms": 1, "stolen": 0}] * rounds, **more}


def row(name="get-1k", goal=("haproxy", 0.75), unit="us/request", **cells):
    return {
        "name": name,
        "title": f"title of {name}",
        "unit": unit,
        "group": "main",
        "point": "",
        "kind": "steady",
        "goal": {"of": goal[0], "factor": goal[1]},
        "calls_goal": None,
        "time": "2026-01-01T00:00:00+00:00",
        "took_s": 1,
        "binary": "0",
        "rounds": 9,
        "seconds": 1,
        "cells": cells,
    }


@pytest.mark.parametrize(
    ("ours", "rounds", "calls", "instructions", "said"),
    [
        (7.5, 9, None, None, "met"),
        (7.6, 9, None, None, "tie"),
        (9.0, 9, (4.0, 6.0), (70, 100), "tie, decided met: 4.00 calls to 6.00"),
        (9.0, 9, (4.6, 6.0), (80, 100), "tie, decided missed: 4.60 calls to 6.00"),
        (9.0, 9, (4.0, 6.0), (80, 100), "tie, undecided: 4.00 calls to 6.00"),
        (9.1, 9, (1.0, 6.0), (1, 100), "missed"),
        (7.5, 8, None, None, "met (of 8 rounds only)"),
    ],
)
def test_a_goal_is_judged_by_median_calls_and_instructions(
    figures, ours, rounds, calls, instructions, said
):
    counts = [{}, {}]
    for index in (0, 1):
        if calls:
            counts[index] |= {"syscalls": calls[index], "instructions": instructions[index]}
    made = row(viaduct=cell(ours, rounds, **counts[0]), haproxy=cell(10.0, rounds, **counts[1]))
    assert figures.verdict(made).split(", 70")[0].split(", 80")[0] == said


@pytest.mark.parametrize(
    ("floor", "said"), [(7.4, "missed"), (7.6, "missed (the floor needs 7.60)")]
)
def test_a_goal_that_the_floor_misses_too_is_told(figures, floor, said):
    made = row(floor=cell(floor), viaduct=cell(9.5), haproxy=cell(10.0))
    assert figures.verdict(made) == said


def document(*rows):
    return {
        "date": "2026-01-01T00:00:00+00:00",
        "machine": {"cpu": "a < CPU", "cores": 2, "memory_gib": 1, "kernel": "6"},
        "versions": {"viaduct": "1", "haproxy": "2"},
        "left_out": {},
        "quick": False,
        "against": None,
        "rows": list(rows),
        "functions": {},
    }


def put_in_readme(tmp_path, made):
    (tmp_path / "result.json").write_text(json.dumps(made))
    readme = tmp_path / "README.md"
    readme.write_text((BENCH.parents[1] / "README.md").read_text())
    bench(tmp_path, "--readme", readme)
    return readme


def test_readme_shows_losses_too_and_keeps_the_rest(tmp_path):
    won = row(viaduct=cell(7.0), haproxy=cell(10.0), floor=cell(5.0))
    lost = row("get-10m", ("floor", 1.1), viaduct=cell(0.5), haproxy=cell(0.25), floor=cell(0.2))
    readme = put_in_readme(tmp_path, document(won, lost))
    text = readme.read_text()
    assert "| title of get-1k, us/request | **7.00** | 10.0 | 5.00 | 0.75 x HAProxy: met |" in text
    assert "Another proxy needs less than viaduct in: title of get-10m (HAProxy 0.250" in text
    assert "HAProxy 0.50" in (tmp_path / "tests/bench/chart.svg").read_text()
    ElementTree.fromstring((tmp_path / "tests/bench/chart.svg").read_text())
    # Written again over itself it stays what it is: all around the markers is as before.
    bench(tmp_path, "--readme", readme)
    assert readme.read_text() == text
    before = (BENCH.parents[1] / "README.md").read_text()
    begin = before.index("<!-- figures:")
    end = before.index("<!-- end of figures -->")
    assert text.startswith(before[:begin]) and text.endswith(before[end:])


def test_render_writes_the_report_again(tmp_path):
    made = document(row(viaduct=cell(7.0), haproxy=cell(10.0)))
    (tmp_path / "result.json").write_text(json.dumps(made))
    printed = bench(tmp_path, "--render", tmp_path / "result.json")
    assert "0.75 x haproxy = 7.50 | met |" in printed
    assert (tmp_path / "report.md").read_text() in printed
