# SPDX-License-Identifier: MIT
"""Takes the figures of one program at one row's work. A sample's `cost` is what a row is about."""

import json
import os
import re
import subprocess
import time

import meter
from lab import Failed, Load, Logins, run_wrk

GIB = 1 << 30
SETTLED_KIB = 4096  # "returned to where it was"
OPENING_AT_ONCE = 128


def port_of(peer, row):
    return peer.tunnel_port(row.echo) if row.tunnel else peer.http_port


def load_of(peer, row, **changes):
    """The row's options of load.c, as this program wants them."""
    options = {**row.load, **peer.load, **changes}
    if row.tunnel:
        options["tunnel"] = peer.tunnel
    return options


def steady_sample(lab, peer, row, seconds, rate=None):
    """One round: what the work cost, and what came out of it."""
    options = load_of(peer, row)
    if rate:
        options["rate"] = rate
    port = port_of(peer, row)
    spin_ns = lab.spin_ns(lab.proxy_cores[0])
    load = None if row.wrk and peer.wrk else Load(lab, port, {**options, "seconds": seconds})
    try:
        pids = peer.pids()
        meter.reset_peak(pids)
        cores, cpu = meter.Cores(peer.cores), meter.Cpu(pids)
        result = load.run() if load else run_wrk(lab, port, options, seconds)
        used = meter.Cpu(pids) - cpu
        cores_after = meter.Cores(peer.cores)
        peak = meter.peak_kib(pids)
    finally:
        if load:
            load.close()
    if not result["requests"]:
        raise Failed("no request was answered")
    wall = cores_after.at - cores.at
    done = result["bytes"] / GIB if row.per_gib else result["requests"]
    sample = {key: result[key] for key in ("p50_us", "p99_us", "p999_us", "max_us")}
    sample |= {
        "throughput": done / result["seconds"],
        "core_used": used / wall,
        "foreign": max(0.0, (cores_after.busy - cores.busy - used) / wall),
        "stolen": (cores_after.stolen - cores.stolen) / wall,
        "spin_ms": spin_ns / 1e6,
    }
    if pids:
        sample["cost"] = used / (1e9 if row.per_gib else 1e3) / done
        sample["peak_kib"] = peak
    return sample


def count_calls(lab, peer, row, requests):
    """System calls by name, and for how many requests, or GiB; in a round of its own."""
    options = load_of(peer, row, requests=requests)
    if options.get("rate") == "half":
        options["rate"] = 2000
    with Load(lab, port_of(peer, row), options) as load:
        strace = meter.Strace(peer.pids(), lab.scratch / "strace")
        try:
            result = load.run()
        finally:
            calls = strace.stop()
    if not calls:
        raise Failed("strace counted nothing")
    done = result["bytes"] / GIB if row.per_gib else result["requests"]
    return {"syscalls": sum(calls.values()) / done, "calls": calls, "calls_for": done}


def _hold(lab, peer, row, **changes):
    return Load(lab, port_of(peer, row), load_of(peer, row, **changes))


def quiet_figures(pids, seconds):
    """What programs do when nobody asks anything of them."""
    switches, cpu = meter.switches(pids), meter.Cpu(pids)
    time.sleep(seconds)
    return {
        "idle_switches": (meter.switches(pids) - switches) / seconds,
        "idle_cpu_ms": (meter.Cpu(pids) - cpu) / 1e6 / seconds,
    }


def idle_sample(lab, peer, row, connections, quiet_seconds):
    """Memory of a connection that does nothing; each held one has had one exchange."""
    with _hold(lab, peer, row, connections=64) as load:
        load.run()
    pids = peer.pids()
    before = meter.resident_kib(pids)
    with _hold(lab, peer, row, connections=connections) as load:
        load.run()
        pids = peer.pids()
        sample = {"cost": (meter.resident_kib(pids) - before) / connections}
        if quiet_seconds:
            time.sleep(1)
            sample |= quiet_figures(pids, quiet_seconds)
        return sample


def beside_sample(lab, peer, row, connections, seconds):
    """Active clients alone, and beside idle ones."""
    alone = steady_sample(lab, peer, row, seconds)
    idle = {"connections": connections, "inflight": OPENING_AT_ONCE}
    with Load(lab, peer.http_port, idle) as load:
        load.run()
        time.sleep(1)
        beside = steady_sample(lab, peer, row, seconds)
    keys = ("cost", "p50_us", "p99_us", "p999_us")
    return beside | {f"alone_{key}": alone[key] for key in keys}


def logins_sample(lab, peer, row, seconds):
    """Active clients alone, and beside others whose passwords have to be checked."""
    alone = steady_sample(lab, peer, row, seconds)
    with Logins(lab, peer.http_port) as logins:
        time.sleep(0.5)
        before, begun = logins.done.copy(), time.monotonic()
        beside = steady_sample(lab, peer, row, seconds)
        made, took = logins.done - before, time.monotonic() - begun
    if not made or set(made) - {"200", "407"}:
        raise Failed(f"logins: {dict(made) or 'none was answered'}")
    return beside | {
        "cost": beside["p99_us"] / alone["p99_us"],
        "logins": made.total() / took,
        **{f"alone_{key}": alone[key] for key in ("p50_us", "p99_us", "p999_us")},
    }


def program_sample(lab, argv, cost):
    """What a program of the benchmark's own prints about a piece of viaduct."""
    program, *words = argv
    made = subprocess.run(
        [lab.binary_with_rooms(program), *map(str, words)],
        capture_output=True,
        text=True,
        preexec_fn=lambda: os.sched_setaffinity(0, lab.proxy_cores[:1]),
    )
    if made.returncode != 0:
        raise Failed(made.stderr)
    figures = json.loads(made.stdout)
    return {**figures, "cost": figures[cost]}


def peak_sample(lab, peer, row, connections):
    """Resident memory before a peak, and at its height. peak_settle() tells of the rest."""
    with _hold(lab, peer, row, connections=64, inflight=64, seconds=0.5) as load:
        load.run()
    pids = peer.pids()
    start = meter.resident_kib(pids)
    meter.reset_peak(pids)
    with _hold(lab, peer, row, connections=connections, inflight=connections, seconds=2) as load:
        load.run()
        peak = meter.peak_kib(pids)
    return {"start_kib": start, "peak_kib": peak, "ended": time.monotonic()}


def peak_settle(peer, sample, patience):
    """Completes the sample once memory is back, or after PATIENCE; False while it has to go on."""
    now = meter.resident_kib(peer.pids())
    waited = time.monotonic() - sample["ended"]
    settled = now <= sample["start_kib"] + SETTLED_KIB
    if not settled and waited < patience:
        return False
    del sample["ended"]
    sample |= {
        "cost": now - sample["start_kib"],
        "end_kib": now,
        "settle_s": waited,
        "settled": "yes" if settled else "no",
    }
    return True


def list_sample(lab, peer, row, seconds):
    """What a list costs to load, to hold, and for each request, beside the same without it."""
    refused, sample = peer.refused, {}
    for kind, path in (("without", None), ("with", refused)):
        peer.refused = path
        begun = time.monotonic()
        peer.start(patience=300)
        try:
            sample[f"start_s_{kind}"] = time.monotonic() - begun
            sample[f"kib_{kind}"] = meter.resident_kib(peer.pids())
            made = steady_sample(lab, peer, row, seconds)
        finally:
            peer.stop()
        sample[f"cost_{kind}"] = made["cost"]
    return {
        **made,
        "cost_without": sample["cost_without"],
        "load_s": sample["start_s_with"] - sample["start_s_without"],
        "list_kib": sample["kib_with"] - sample["kib_without"],
    }


CALLGRIND = ("valgrind", "--tool=callgrind", "--instr-atstart=no")
CALLGRIND_REQUESTS = (200, 1200)
FUNCTION = re.compile(r"\s*([\d,]+) \(\s*[\d.]+%\)\s+(?:.*/)?[^:\s]*:(\S+)(?:.*\[(.*)\])?")


def callgrind(lab, peer, row):
    """User instructions for each request, and the functions they are in.

    Both from the difference of two runs, so that the end is not among them. Start-up is not counted
    in the first place: reading a long list takes a little more or less each time.
    """
    few, many = (_instructions(lab, peer, row, requests) for requests in CALLGRIND_REQUESTS)
    requests = CALLGRIND_REQUESTS[1] - CALLGRIND_REQUESTS[0]
    per_request = {
        name: (count - few.get(name, 0)) / requests
        for name, count in many.items()
        if count > few.get(name, 0)
    }
    total = sum(per_request.values())
    top = sorted(per_request.items(), key=lambda item: -item[1])[:10]
    return {
        "instructions": total,
        "functions": [[100 * count / total, count, name] for name, count in top],
    }


def begin_counting(pid):
    argv = ["callgrind_control", "--instr=on", str(pid)]
    made = subprocess.run(argv, capture_output=True, text=True, timeout=30)
    if "OK." not in made.stdout:
        raise Failed(f"callgrind_control: {made.stdout[-100:]}{made.stderr[-100:]}")


def _instructions(lab, peer, row, requests):
    """{function: instructions of its own} of a whole run."""
    output = lab.scratch / "callgrind"
    peer.start(prefix=(*CALLGRIND, f"--callgrind-out-file={output}.%p"))
    try:
        for pid in peer.pids():
            begin_counting(pid)
        with Load(lab, port_of(peer, row), load_of(peer, row, requests=requests)) as load:
            load.run()
    finally:
        peer.stop()
    found = {}
    for path in lab.scratch.glob("callgrind.*"):
        made = subprocess.run(
            ["callgrind_annotate", "--auto=no", "--threshold=100", str(path)],
            capture_output=True,
            text=True,
        )
        path.unlink()
        for line in made.stdout.splitlines():
            match = FUNCTION.match(line)
            if match:
                name = match[2].split("'")[0]
                if name.startswith("0x"):  # a library without names for its own
                    name = f"{(match[3] or '?').split('/')[-1]}:{int(name, 16):#x}"
                found[name] = found.get(name, 0) + int(match[1].replace(",", ""))
    if not found:
        raise Failed("callgrind said nothing")
    return found
