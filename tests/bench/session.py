# SPDX-License-Identifier: MIT
"""One run of the benchmark: which rows, which programs, in which order, and what is kept of it."""

import datetime
import hashlib
import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path

import measure
import peers
import report
import rules
from lab import PASSWORD, Failed, Lab, basic
from rows import ROWS

ROOT = Path(__file__).resolve().parents[2]
QUICK_PEERS = ("floor", "viaduct", "haproxy")
SOME_PEERS = ("floor", "viaduct", "haproxy", "nginx")
DIRECT_ROUNDS = 3  # only its throughput is told
FAULTS = (Failed, RuntimeError, OSError, subprocess.SubprocessError)


def say(text):
    print(text, file=sys.stderr, flush=True)


def machine():
    model = "unknown CPU"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
            break
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "memory_gib": round(memory, 1),
        "kernel": platform.release(),
    }


def now():
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")


class Session:
    def __init__(self, options):
        self.options = options
        self.lab = Lab(options.out, options.viaduct)
        self.left_out = {}
        self.capacity = {}
        self.results = {}
        self.functions = {}
        self.binary = hashlib.sha256(Path(options.viaduct).read_bytes()).hexdigest()[:12]

    # --- What is measured -------------------------------------------------------------------------

    def run(self):
        self.keep_earlier()
        self.lab.open()
        try:
            rows = list(self.rows())
            minutes = self.minutes(rows)
            say(f"bench: {len(rows)} rows, about {minutes:.0f} minutes on a quiet machine")
            for row in rows:
                say(f"bench: {datetime.datetime.now():%H:%M:%S} {row.name}: {row.title}")
                result = self.run_row(row)
                self.count_instructions(row, result)
                self.results[row.name] = result
                write(self.document(), self.options.out)  # a run that is cut short is not lost
        finally:
            self.lab.close()
        return self.document()

    def rows(self):
        for row in ROWS:
            if self.options.against and row.peers in ("workers", "log", "lists", "rules", "login"):
                continue
            if self.options.against and row.kind == "program":  # it is of this source
                continue
            if row.kind == "list" and not peers.Viaduct(self.lab).has_lists():
                self.left_out["the list of 1,000,000 names"] = "this build has no lists of names"
                continue
            if self.options.rows:
                if row.name in self.options.rows or row.group in self.options.rows:
                    yield row
            elif self.options.resume and self.is_done(row):
                say(f"bench: {row.name}: kept from {self.results[row.name]['time'][11:16]} UTC")
            elif row.quick or not self.options.quick:
                yield row

    def is_done(self, row):
        kept = self.results.get(row.name)
        return kept and kept["binary"] == self.binary and kept["rounds"] >= self.rounds_of(row)

    def keep_earlier(self):
        """With --rows or --resume the other rows stay, if they are of this machine and not a day old."""
        path = self.options.out / "result.json"
        if not (self.options.rows or self.options.resume) or not path.exists():
            return
        old = json.loads(path.read_text())
        same = {"machine": machine(), "against": self.options.against, "quick": self.options.quick}
        parse = datetime.datetime.fromisoformat
        age = parse(now()) - parse(old["date"])
        if any(old[key] != value for key, value in same.items()) or age.days >= 1:
            say(f"bench: {path} is of another machine or comparison, or too old: it is replaced")
            return
        self.results = {row["name"]: row for row in old["rows"]}
        self.functions = old["functions"]

    def peers_of(self, row):
        lab, kinds = self.lab, {kind.name: kind for kind in peers.REAL}
        made = [peers.Direct(lab), peers.Floor(lab), peers.Viaduct(lab, options=row.options)]
        made += [kind(lab) for kind in peers.REAL]
        if self.options.quick:
            made = [peer for peer in made if peer.name in QUICK_PEERS]
        if row.peers == "log":
            made = [
                peers.Viaduct(lab, f"viaduct, {kind}", options=(f"log.access={kind}",))
                for kind in ("logfmt", "json", "combined", "off")
            ]
        elif row.peers == "workers":
            made = []
            for workers in (1, 2):
                for kind in (peers.Viaduct, kinds["haproxy"], kinds["nginx"]):
                    peer = kind(lab, workers=workers)
                    peer.name = f"{peer.name}, {workers}"
                    made.append(peer)
        elif row.peers == "rules":
            lists = lab.names_list("{}", row.extra["names"])
            count = row.extra["lines"]  # only the last is for clients of this machine
            table = rules.table(rules.USUAL, count, "allow from loopback to any")
            made = [
                peers.Viaduct(lab, "viaduct, as shipped"),
                peers.Viaduct(lab, f"viaduct, {count:,} rules", table=table),
                peers.Viaduct(lab, f"viaduct, {row.extra['names']:,} names", refused=lists),
            ]
        elif row.peers == "login":
            made = [self.asks_who("viaduct")]
            if row.kind == "steady":
                made.insert(0, peers.Viaduct(lab, "viaduct, asks nobody"))
        elif row.peers == "some":
            made = [peer for peer in made if peer.name in SOME_PEERS]
        elif row.peers == "viaduct":
            made = [peer for peer in made if peer.name == "viaduct"]
        elif row.peers == "lists":
            made = [peer for peer in made if peer.lists]
        if self.options.against:
            binary = self.options.against_binary
            name = f"viaduct@{self.options.against}"
            made.insert(2, peers.Viaduct(lab, name, binary, options=row.options))
            made = [p for p in made if p.name in ("floor", "viaduct", name)]
        return [p for p in made if self.wanted(p) and self.takes_part(p, row)]

    def asks_who(self, name):
        """A user whose password it has seen makes the load."""
        options = (
            f"auth.users={self.lab.users_file()}",
            "auth.failures=1000000/m",
            "access.staff=allow from loopback user * to any",
        )
        load = {"auth": basic("u0", PASSWORD)}
        return peers.Viaduct(self.lab, name, options=options, load=load)

    def wanted(self, peer):
        """`viaduct` names viaduct's variants too."""
        names = self.options.peers
        return not names or peer.name.split(",")[0].split("@")[0] in names

    def takes_part(self, peer, row):
        if not peer.available():
            self.left_out[peer.name] = f"not installed (package {peer.package or peer.program})"
            return False
        if row.tunnel and peer.tunnel is None:
            return False
        if row.load.get("unit") == "none" and peer.tunnel != 1:
            return False
        if row.load.get("host") and not peer.names:
            return False
        if row.kind != "steady" and not peer.pids_matter:
            return False
        return row.kind in ("steady", "list") or row.tunnel or peer.keeps

    # --- How long it takes ------------------------------------------------------------------------

    def rounds_of(self, row):
        wanted = self.options.rounds
        return min(wanted, row.rounds) if row.rounds else wanted

    def seconds_of(self, row):
        seconds = self.options.seconds * row.seconds
        return max(1, round(seconds)) if row.wrk else seconds  # wrk knows whole seconds only

    def quiet_seconds(self, peer, number):
        """How long a program's idleness is looked at: in its first round."""
        if number > 0 or self.options.quick:
            return 0
        return 10 if isinstance(peer, peers.Viaduct) else 4

    def patience(self):
        """For memory to come back after a peak."""
        return 5 if self.options.quick else 60

    def minutes(self, rows):
        """A guess, from what starting, opening and counting took on the machine of README.md."""
        total = 0.0
        for row in rows:
            count, rounds = len(self.peers_of(row)), self.rounds_of(row)
            opened = max(row.load.get("connections", 0), row.load.get("origins", 0))
            opening = 0.15 + opened / 15000
            if row.kind == "steady":
                direct = any(not peer.pids_matter for peer in self.peers_of(row))
                steps = count * rounds - direct * max(0, rounds - DIRECT_ROUNDS)
                total += steps * (self.seconds_of(row) + opening) + 0.1 * count
                if row.group == "main":
                    many = 1.2 * count + row.requests / 1200
                    total += 0.4 * count if self.options.quick else many
            elif row.kind == "idle":
                total += count * (rounds * 3 * opening + (0 if self.options.quick else 5))
            elif row.kind == "beside":
                total += count * rounds * (2 * self.seconds_of(row) + 5)
            elif row.kind == "logins":
                total += count * rounds * (2 * self.seconds_of(row) + 2)
            elif row.kind == "program":
                total += rounds * 3
            elif row.kind == "peak":
                total += count * rounds * 6 + self.patience()
            else:
                total += count * rounds * 10
        callgrind = 0 if self.options.quick or self.options.no_callgrind else 60
        return (total + callgrind) / 60

    # --- Rows -------------------------------------------------------------------------------------

    def run_row(self, row):
        cells, began, clock = {}, now(), time.monotonic()
        work = {
            "steady": self.steady_row,
            "idle": self.fresh_row,
            "beside": self.fresh_row,
            "logins": self.fresh_row,
            "program": self.program_row,
            "peak": self.peak_row,
            "list": self.list_row,
        }[row.kind]
        work(row, cells)
        return {
            "name": row.name,
            "title": row.title,
            "unit": row.unit,
            "group": row.group,
            "point": row.point,
            "kind": row.kind,
            "goal": vars(row.goal) if row.goal else None,
            "calls_goal": vars(row.calls_goal) if row.calls_goal else None,
            "time": began,
            "took_s": round(time.monotonic() - clock, 1),
            "binary": self.binary,
            "rounds": self.rounds_of(row),
            "seconds": self.seconds_of(row),
            "cells": cells,
        }

    def attempt(self, cell, work):
        """One more sample of CELL, or why there is none."""
        if self.lab.origin.poll() is not None:
            sys.exit("bench: the origin has died; no figure after this would mean anything")
        try:
            cell["samples"].append(work())
        except FAULTS as fault:
            cell["fault"] = str(fault).strip().splitlines()[-1][:200] if str(fault) else repr(fault)
            say(f"bench:   {cell['peer']}: {cell['fault']}")

    def start(self, row, cells):
        running = []
        for peer in self.peers_of(row):
            cell = cells.setdefault(peer.name, {"peer": peer.name, "samples": []})
            try:
                peer.start()
                running.append(peer)
            except (RuntimeError, OSError) as fault:
                cell["fault"] = str(fault)
                say(f"bench:   {fault}")
        return running

    def steady_row(self, row, cells):
        if row.alone:
            self.fresh_row(row, cells)
            return
        running = self.start(row, cells)
        try:
            for number in range(self.rounds_of(row)):
                for peer in running if number % 2 == 0 else running[::-1]:
                    cell = cells[peer.name]
                    if "fault" not in cell and (peer.pids_matter or number < DIRECT_ROUNDS):
                        self.attempt(cell, lambda p=peer: self.one_round(p, row))
            for peer in running:
                if row.group == "main" and peer.pids() and peer.traced:
                    self.count_calls(row, peer, cells[peer.name])
        finally:
            for peer in running:
                peer.stop()
        if row.name == "get-1k":
            for name, cell in cells.items():
                self.capacity[name] = report.middle(cell, "throughput")

    def one_round(self, peer, row):
        rate = None
        if row.load.get("rate") == "half":
            if not self.capacity.get(peer.name):
                full = next(row for row in ROWS if row.name == "get-1k")
                sample = measure.steady_sample(self.lab, peer, full, 1)
                self.capacity[peer.name] = sample["throughput"]
            rate = max(1, round(self.capacity[peer.name] / 2))
        peer.pin()
        return measure.steady_sample(self.lab, peer, row, self.seconds_of(row), rate)

    def count_calls(self, row, peer, cell):
        """Of viaduct's many; the slower ones are slow indeed under strace, and few tell as much."""
        many = peer.name == "viaduct" and not self.options.quick
        if "fault" in cell:
            return
        try:
            cell |= measure.count_calls(self.lab, peer, row, row.requests if many else row.few)
        except FAULTS as fault:
            cell["calls_fault"] = str(fault)
            say(f"bench:   strace: {peer.name}: {fault}")

    def fresh_row(self, row, cells):
        """Rows whose figures want a program freshly started."""
        connections = row.extra.get("connections", row.load["connections"])
        if self.options.quick:
            connections = min(connections, 2000)
        for number in range(self.rounds_of(row)):
            made = self.peers_of(row)
            for peer in made if number % 2 == 0 else made[::-1]:
                cell = cells.setdefault(peer.name, {"peer": peer.name, "samples": []})
                if "fault" not in cell:
                    self.attempt(
                        cell, lambda p=peer, n=number: self.one_fresh(p, row, connections, n)
                    )

    def one_fresh(self, peer, row, connections, number):
        peer.start()
        try:
            if row.kind == "idle":
                quiet = self.quiet_seconds(peer, number)
                return measure.idle_sample(self.lab, peer, row, connections, quiet)
            if row.kind == "beside":
                return measure.beside_sample(self.lab, peer, row, connections, self.seconds_of(row))
            if row.kind == "logins":
                return measure.logins_sample(self.lab, peer, row, self.seconds_of(row))
            return self.one_round(peer, row)
        finally:
            peer.stop()

    def peak_row(self, row, cells):
        """One peak after the other; then the wait for the memory of all of them."""
        connections = min(row.load["connections"], 2000 if self.options.quick else 9000)
        for _ in range(self.rounds_of(row)):
            running = self.start(row, cells)
            try:
                for peer in running:
                    self.attempt(
                        cells[peer.name],
                        lambda p=peer: measure.peak_sample(self.lab, p, row, connections),
                    )
                waiting = [peer for peer in running if cells[peer.name]["samples"]]
                while waiting:
                    waiting = [
                        peer
                        for peer in waiting
                        if not measure.peak_settle(
                            peer, cells[peer.name]["samples"][-1], self.patience()
                        )
                    ]
                    time.sleep(0.5)
            finally:
                for peer in running:
                    peer.stop()

    def list_row(self, row, cells):
        for _ in range(self.rounds_of(row)):
            for peer in self.peers_of(row):
                peer.refused = self.lab.names_list(peer.list_line, row.extra["names"])
                cell = cells.setdefault(peer.name, {"peer": peer.name, "samples": []})
                if "fault" not in cell:
                    self.attempt(
                        cell,
                        lambda p=peer: measure.list_sample(self.lab, p, row, self.seconds_of(row)),
                    )

    def program_row(self, row, cells):
        argv = row.extra["argv"]
        if "table" in row.extra:
            table = rules.table(*row.extra["table"])
            argv = (rules.file(self.lab.scratch / f"{row.name}.ini", table), *argv)
        argv = (row.extra["program"], *argv)
        for peer in self.peers_of(row):
            cell = cells.setdefault(peer.name, {"peer": peer.name, "samples": []})
            for _ in range(self.rounds_of(row)):
                self.attempt(
                    cell, lambda: measure.program_sample(self.lab, argv, row.extra["cost"])
                )

    def count_instructions(self, row, result):
        """For viaduct's keep-alive GET, for ties, and where variants or builds are compared."""
        if self.options.no_callgrind or self.options.quick or not peers.find("valgrind"):
            return
        if row.kind != "steady" or row.per_gib or not (row.group == "main" or row.instructions):
            return
        tie = report.outcome(result) == "tie"
        if not (row.name == "get-1k" or row.instructions or tie or self.options.against):
            return
        for peer in self.peers_of(row):
            cell = result["cells"].get(peer.name)
            of = result["goal"]["of"] if result["goal"] else ""
            asked = peer.name == of or isinstance(peer, peers.Viaduct)
            if not cell or not peer.traced or not asked:
                continue
            say(f"bench:   callgrind: {peer.name}")
            try:
                found = measure.callgrind(self.lab, peer, row)
            except FAULTS as fault:
                say(f"bench:   {fault}")
                continue
            cell["instructions"] = found["instructions"]
            if peer.name == "viaduct":
                self.functions[row.name] = found["functions"]

    # --- What is kept -----------------------------------------------------------------------------

    def document(self):
        versions = {}
        for peer in [peers.Viaduct(self.lab), *(kind(self.lab) for kind in peers.REAL)]:
            if peer.available():
                versions[peer.name] = peer.version()
        return {
            "date": now(),
            "machine": machine(),
            "versions": versions,
            "left_out": self.left_out,
            "quick": self.options.quick,
            "against": self.options.against,
            "rows": [self.results[row.name] for row in ROWS if row.name in self.results],
            "functions": self.functions,
        }


def write(document, out):
    text = report.markdown(document)
    (out / "result.json").write_text(json.dumps(document, indent=1) + "\n")
    (out / "report.md").write_text(text)
    return text
