# SPDX-License-Identifier: MIT
"""Shell completion: it knows every command and every option of `viaduct --help`, no others, and every
key."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

import viaduct_harness

HOME = viaduct_harness.ROOT / "completions"
BASH, ZSH = HOME / "viaduct.bash", HOME / "_viaduct"


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    """A directory with the binary as `viaduct`."""
    made = tmp_path_factory.mktemp("bin")
    (made / "viaduct").symlink_to(viaduct_harness.binary(release=True))
    return made


def viaduct(*words):
    command = [viaduct_harness.binary(release=True), *words]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def commands():
    found = set(re.findall(r"^  viaduct \[?([a-z]+)", viaduct("--help"), re.M))
    assert {"serve", "check", "explain", "reload"} <= found
    return found


def options():
    found = set(re.findall(r"(?<![\w-])--?[A-Za-z][a-z-]*", viaduct("--help")))
    assert {"-c", "-o", "-s", "--json", "--help", "-h"} <= found
    return found


def complete(directory, *words):
    """What bash offers for the last of these words."""
    script = 'source "$0"; compopt() { :; }; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _viaduct; '
    result = subprocess.run(
        ["bash", "-uc", script + 'printf "%s\\n" "${COMPREPLY[@]}"', BASH, "viaduct", *words],
        capture_output=True,
        text=True,
        env={**os.environ, "PATH": f"{directory}:/usr/bin:/bin"},
        check=True,
    )
    assert result.stderr == ""
    return set(result.stdout.split("\n")) - {""}


def test_bash_offers_all_commands_and_options(directory):
    at_first = complete(directory, "")
    offered = {word for word in at_first if word.startswith("-")}
    assert at_first - offered == commands()
    for command in commands():
        offered |= complete(directory, command, "-")
    assert offered == options()


def test_zsh_names_all_commands_and_options():
    text = ZSH.read_text()
    assert set(re.findall(r"^        '([a-z]+):", text, re.M)) == commands()
    given = set(re.findall(r"'(?:\([^)]*\))?\*?(--?[A-Za-z][a-z-]*)\[", text))
    for group in re.findall(r"\{([^}]*)\}'\[", text):
        given |= set(group.split(","))
    assert given == options()


def test_zsh_reads_it():
    if shutil.which("zsh") is None:
        pytest.skip("zsh is not installed")
    assert subprocess.run(["zsh", "-n", ZSH], check=False).returncode == 0


def zsh(script, *words):
    return subprocess.run(
        ["zsh", "-fc", script, *map(str, words)], capture_output=True, text=True, check=True
    ).stdout.split("\n")[:-1]


@pytest.mark.parametrize("prefix", ["/usr", "/usr/local"])
def test_it_is_installed_where_zsh_looks(tmp_path, prefix):
    """In a plain zsh's own path, and under a name by which it is loaded."""
    if shutil.which("zsh") is None or shutil.which("meson") is None:
        pytest.skip("zsh or meson is not installed")
    root, build = viaduct_harness.ROOT, tmp_path / "build"
    meson = ["meson", "setup", f"--prefix={prefix}", build, root]
    subprocess.run(meson, capture_output=True, check=True)
    plan = subprocess.run(["meson", "introspect", "--installed", build], capture_output=True, check=True)
    installed = Path(json.loads(plan.stdout)[str(ZSH)])
    assert installed.name == "_viaduct" and str(installed.parent) in zsh("print -l $fpath")
    script = "fpath=($0 $fpath); autoload -U compinit; compinit -uD; print $_comps[viaduct]"
    assert zsh(script, HOME) == ["_viaduct"]


def test_connections_that_run_are_offered_to_kill(lab, tmp_path):
    """As it asks the daemon: its configuration says where."""
    proxy = lab.fresh(f"admin.address=unix:{tmp_path}/admin")
    tunnel = lab.tunnel(proxy, lab.origin(lambda peer: peer.read_to_end()))
    wrapper = tmp_path / "bin" / "viaduct"
    wrapper.parent.mkdir()
    binary = viaduct_harness.binary(release=True)
    wrapper.write_text(f'#!/bin/sh\nexec {binary} "$@" -s unix:{tmp_path}/admin\n')
    wrapper.chmod(0o755)
    (offered,) = complete(wrapper.parent, "kill", "")
    assert re.fullmatch(r"[0-9a-f]+-\w+", offered)
    assert complete(wrapper.parent, "kill", "x") == set()
    tunnel.close()


def test_all_keys_are_offered(directory):
    section, keys = None, set()
    for line in viaduct("config", "-c", "/dev/null").splitlines():
        if line.startswith("["):
            section = line[1:-1]
        elif " = " in line and not line.startswith("#"):
            keys.add(f"{section}.{line.split(' = ')[0]}=".replace(" ", "\\ "))
    assert len(keys) > 50
    assert complete(directory, "-o", "") == keys
    assert complete(directory, "check", "-o", "server.n") == {"server.name="}
    assert complete(directory, "-o", "listen\\ local.add") == {"listen\\ local.address="}
    assert complete(directory, "explain", "--listener", "") == {"local"}
