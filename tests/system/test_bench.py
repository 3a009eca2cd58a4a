# SPDX-License-Identifier: MIT
"""The benchmark runs and prints. What it prints is not judged: that takes a quiet machine."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

RUN = Path(__file__).parents[1] / "bench" / "run"
PATH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
WANTED = {"haproxy": "haproxy", "wrk": "wrk", "strace": "strace", "gcc": "gcc"}
ROWS = ["connect", "open-2000", "idle-client"]

pytestmark = [pytest.mark.serial, pytest.mark.notsan]


def test_quick_run_prints_every_row(tmp_path):
    missing = [package for name, package in WANTED.items() if not shutil.which(name, path=PATH)]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)} (./dev bench installs them)")
    default = Path(__file__).parents[2] / "build" / "viaduct"
    made = subprocess.run(
        [RUN, "--quick", "--rounds", "1", "--seconds", "0.3", "--only", ",".join(ROWS)]
        + ["--viaduct", os.environ.get("VIADUCT_RELEASE", default), "--out", tmp_path],
        capture_output=True,
        text=True,
        timeout=80,
    )
    assert made.returncode == 0, made.stderr
    result = json.loads((tmp_path / "result.json").read_text())
    assert [row["name"] for row in result["rows"]] == ROWS
    for row in result["rows"]:
        cell = row["cells"]["viaduct"]
        assert cell["samples"], f"{row['name']}: {cell.get('fault')}"
        assert cell["samples"][0]["cpu"] >= 0
        assert row["title"] in made.stdout
    assert result["rows"][0]["cells"]["viaduct"]["syscalls"] > 0
    assert "<svg" in (tmp_path / "chart.svg").read_text()
