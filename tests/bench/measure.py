# SPDX-License-Identifier: MIT
"""Takes the figures: rounds of every peer in turn, there and back, with the machine's noise."""

import re
import subprocess
import time

import meter
from lab import Failed, Load, run_wrk

GIB = 1 << 30
SETTLED_KIB = 4096  # "returned to where it was"


def steady_sample(lab, peer, row, seconds, rate=None):
    """One round: what the work cost, and what came out of it."""
    options = dict(row.load)
    if rate:
        options["rate"] = rate
    port = peer.tunnel_port(row.echo) if row.tunnel else peer.http_port
    if row.tunnel:
        options["tunnel"] = peer.tunnel
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
        sample["cpu"] = used / (1e9 if row.per_gib else 1e3) / done
        sample["peak_kib"] = peak
    return sample


def count_calls(lab, peer, row):
    """System calls by name for each request, or each GiB, in a round of its own."""
    # The slower ones are slow indeed under strace; a thousand requests tell as much.
    fast = peer.name.startswith("viaduct") or peer.name == "floor"
    options = {**row.load, "requests": row.requests if fast else min(row.requests, 1000)}
    if options.get("rate") == "half":
        options["rate"] = 2000
    if row.tunnel:
        options["tunnel"] = peer.tunnel
    port = peer.tunnel_port(row.echo) if row.tunnel else peer.http_port
    with Load(lab, port, options) as load:
        strace = meter.Strace(peer.pids(), lab.scratch / "strace")
        try:
            result = load.run()
        finally:
            calls = strace.stop()
    done = result["bytes"] / GIB if row.per_gib else result["requests"]
    by_name = {name: count / done for name, count in calls.items()}
    return {"syscalls": sum(by_name.values()), "by_name": by_name}


def _hold(lab, peer, options):
    options = dict(options)
    echo = options.get("unit") == "ping"
    tunnel = "tunnel" in options
    if tunnel:
        options["tunnel"] = peer.tunnel
    return Load(lab, peer.tunnel_port(echo) if tunnel else peer.http_port, options)


def idle_sample(lab, peer, row, connections):
    """Memory of a connection that does nothing; each held one has had one exchange."""
    with _hold(lab, peer, {**row.load, "connections": 64}) as load:
        load.run()
    pids = peer.pids()
    before = meter.resident_kib(pids)
    with _hold(lab, peer, {**row.load, "connections": connections}) as load:
        load.run()
        pids = peer.pids()
        return {"cpu": (meter.resident_kib(pids) - before) / connections}


def beside_sample(lab, peer, row, connections, seconds, quiet_seconds):
    """Active clients beside idle ones; and what the idle ones cost when nobody is active."""
    with _hold(lab, peer, {"connections": connections, "inflight": 128}) as load:
        load.run()
        pids = peer.pids()
        time.sleep(1)
        switches, cpu = meter.switches(pids), meter.Cpu(pids)
        time.sleep(quiet_seconds)
        quiet = {
            "idle_switches": (meter.switches(pids) - switches) / quiet_seconds,
            "idle_cpu_ms": (meter.Cpu(pids) - cpu) / 1e6 / quiet_seconds,
        }
        return steady_sample(lab, peer, row, seconds) | quiet


def peak_sample(lab, peer, row, connections, patience):
    """Resident memory before, at, and after a peak; and how long until it was back."""
    with _hold(lab, peer, {"connections": 64, "inflight": 64, "seconds": 0.5}) as load:
        load.run()
    pids = peer.pids()
    start = meter.resident_kib(pids)
    meter.reset_peak(pids)
    options = {**row.load, "connections": connections, "inflight": connections, "seconds": 2}
    with _hold(lab, peer, options) as load:
        load.run()
        peak = max(meter.resident_kib(pids), meter.peak_kib(pids) if len(pids) == 1 else 0)
    ended = time.monotonic()
    while True:
        now = meter.resident_kib(pids)
        waited = time.monotonic() - ended
        if now <= start + SETTLED_KIB or waited > patience:
            break
        time.sleep(0.5)
    return {
        "cpu": now - start,
        "start_kib": start,
        "peak_kib": peak,
        "end_kib": now,
        "settle_s": waited,
        "settled": now <= start + SETTLED_KIB,
    }


def callgrind(lab, peer, row):
    """User instructions for each request, from the difference of two runs; and its functions."""
    totals, output = [], lab.scratch / "callgrind"
    counts = (500, 2500)
    for requests in counts:
        peer.start(prefix=("valgrind", "--tool=callgrind", f"--callgrind-out-file={output}.%p"))
        try:
            options = {**row.load, "requests": requests}
            if row.tunnel:
                options["tunnel"] = peer.tunnel
            port = peer.tunnel_port(row.echo) if row.tunnel else peer.http_port
            with Load(lab, port, options) as load:
                load.run()
        finally:
            peer.stop()
        total = 0
        for path in lab.scratch.glob("callgrind.*"):
            found = re.search(r"^(?:totals|summary): (\d+)", path.read_text(), re.M)
            total += int(found[1]) if found else 0
            functions = costliest(path)
            path.unlink()
        totals.append(total)
    return {
        "instructions": (totals[1] - totals[0]) / (counts[1] - counts[0]),
        "functions": functions,
    }


def costliest(path, count=10):
    """[[share in %, function]] of a callgrind file, its own instructions only."""
    made = subprocess.run(
        ["callgrind_annotate", "--auto=no", str(path)], capture_output=True, text=True
    )
    found = []
    for line in made.stdout.splitlines():
        match = re.match(r"\s*[\d,]+ \(\s*([\d.]+)%\)\s+(?:.*/)?[^:]*:(\S+)", line)
        if match and "PROGRAM TOTALS" not in line:
            found.append([float(match[1]), match[2].split("'")[0]])
    return found[:count]
