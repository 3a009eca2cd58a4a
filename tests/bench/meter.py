# SPDX-License-Identifier: MIT
"""What a program costs: processor time, memory, system calls, of all its processes and threads."""

import contextlib
import os
import re
import signal
import subprocess
import time
from pathlib import Path

TICK_NS = 10**9 // os.sysconf("SC_CLK_TCK")


def _stat(pid):
    """The fields of /proc/PID/stat from the third on."""
    text = Path(f"/proc/{pid}/stat").read_text()
    return text[text.rindex(")") + 2 :].split()


def family(root):
    """ROOT and all processes below it."""
    parents = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(OSError):
                parents.setdefault(int(_stat(entry)[1]), []).append(int(entry))
    found = [root]
    for pid in found:
        found += parents.get(pid, [])
    return found


class Cpu:
    """Processor time used so far; `after - before` is in nanoseconds.

    The scheduler's own count is exact but goes with its thread; the process's count stays, in ticks
    of 10 ms. The exact one is taken unless the other shows that threads have ended meanwhile.
    """

    def __init__(self, pids):
        self.exact = self.ticks = 0
        self.processes = len(pids)
        for pid in pids:
            with contextlib.suppress(OSError):
                self.ticks += sum(map(int, _stat(pid)[11:15]))  # utime stime cutime cstime
                for task in os.listdir(f"/proc/{pid}/task"):
                    with contextlib.suppress(OSError):
                        text = Path(f"/proc/{pid}/task/{task}/schedstat").read_text()
                        self.exact += int(text.split()[0])

    def __sub__(self, before):
        exact = self.exact - before.exact
        ticks = (self.ticks - before.ticks) * TICK_NS
        return ticks if ticks - exact > 2 * TICK_NS * self.processes else exact


def resident_kib(pids):
    """Memory of the processes together, pages that they share counted once (Pss)."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            text = Path(f"/proc/{pid}/smaps_rollup").read_text()
            total += int(re.search(r"^Pss:\s+(\d+)", text, re.M)[1])
    return total


def reset_peak(pids):
    for pid in pids:
        with contextlib.suppress(OSError):
            Path(f"/proc/{pid}/clear_refs").write_text("5")


def peak_kib(pids):
    """Sum of the processes' highest resident sizes since reset_peak()."""
    return sum(_status(pid, "VmHWM") for pid in pids)


def _status(pid, key):
    with contextlib.suppress(OSError):
        text = Path(f"/proc/{pid}/status").read_text()
        found = re.search(rf"^{key}:\s+(\d+)", text, re.M)
        return int(found[1]) if found else 0
    return 0


def switches(pids):
    """Times that the threads were switched to, of their own will or not."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            for task in os.listdir(f"/proc/{pid}/task"):
                for key in ("voluntary_ctxt_switches", "nonvoluntary_ctxt_switches"):
                    total += _status(f"{pid}/task/{task}", key)
    return total


class Cores:
    """Busy and stolen time of some cores so far, in ns."""

    def __init__(self, cores):
        self.busy = self.stolen = 0
        self.at = time.monotonic_ns()
        for line in Path("/proc/stat").read_text().splitlines():
            name, *fields = line.split()
            if name.startswith("cpu") and name[3:].isdigit() and int(name[3:]) in cores:
                user, nice, system, _, _, irq, softirq, steal = map(int, fields[:8])
                self.busy += (user + nice + system + irq + softirq) * TICK_NS
                self.stolen += steal * TICK_NS


class Strace:
    """Counts the system calls of running processes; `stop()` gives their number by name."""

    def __init__(self, pids, output):
        self.output = output
        argv = ["strace", "-f", "-c", "-U", "calls,name", "-o", output]
        for pid in pids:
            argv += ["-p", str(pid)]
        self.process = subprocess.Popen(
            argv, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        tasks = [f"{pid}/task/{task}" for pid in pids for task in os.listdir(f"/proc/{pid}/task")]
        deadline = time.monotonic() + 10
        while not all(_status(t, "TracerPid") for t in tasks if os.path.exists(f"/proc/{t}")):
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.process.kill()
                raise RuntimeError(f"strace: {self.process.stderr.read().strip()[-200:]}")
            time.sleep(0.01)

    def stop(self):
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.communicate(timeout=10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.communicate()
            return {}
        calls = {}
        for line in Path(self.output).read_text().splitlines():
            fields = line.split()
            if len(fields) == 2 and fields[0].isdigit() and fields[1] != "total":
                calls[fields[1]] = int(fields[0])
        return calls
