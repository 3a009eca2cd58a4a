#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""tally.py FILE...: adds up the results of a test run.

Reads meson's testlog.json (whose programs speak TAP) and pytest's JUnit XML. Prints why tests were
skipped, which failed, and last, alone on its line, the count. Fails if a test did, and if none ran.
"""

import collections
import json
import re
import sys
import xml.etree.ElementTree

TAP_RESULT = re.compile(
    r"^(?P<not>not )?ok\b[ \d]*(?:- )?(?P<name>.*?)(?: *\(\d[\d.]*s\))?\s*(?:#\s*SKIP\b\s*(?P<why>.*))?$"
)


class Tally:
    def __init__(self):
        self.passed = 0
        self.failed = []
        self.skipped = collections.Counter()

    def add_meson(self, path):
        with open(path, encoding="utf-8") as log:
            for program in map(json.loads, log):
                self.add_tap(program)

    def add_tap(self, program):
        failed_before = len(self.failed)
        for line in (program["stdout"] or "").splitlines():
            found = TAP_RESULT.match(line)
            if not found:
                continue
            if found["why"] is not None:
                self.skipped[found["why"] or "no reason given"] += 1
            elif found["not"]:
                self.failed.append(found["name"])
            else:
                self.passed += 1
        # A program that crashed or hung may have failed without a line that says so.
        if program["result"] not in ("OK", "SKIP") and len(self.failed) == failed_before:
            self.failed.append(f"{program['name']} ({program['result']})")

    def add_junit(self, path):
        # A test whose clean-up fails too stands there twice; it counts once, by the worst.
        outcomes = {}
        for case in xml.etree.ElementTree.parse(path).iter("testcase"):
            name = f"{case.get('classname')}::{case.get('name')}"
            skipped = case.find("skipped")
            if case.find("failure") is not None or case.find("error") is not None:
                outcomes[name] = "failed"
            elif skipped is not None:
                outcomes.setdefault(name, "skipped")
                self.skipped[skipped.get("message") or "no reason given"] += 1
            else:
                outcomes.setdefault(name, "passed")
        self.passed += list(outcomes.values()).count("passed")
        self.failed += [name for name, outcome in outcomes.items() if outcome == "failed"]


def main(paths):
    tally = Tally()
    for path in paths:
        try:
            tally.add_junit(path) if path.endswith(".xml") else tally.add_meson(path)
        except (OSError, ValueError, xml.etree.ElementTree.ParseError) as error:
            # A runner that died left no results, or half of them.
            tally.failed.append(f"{path}: {error}")

    for reason, count in tally.skipped.most_common():
        print(f"skipped: {count} x {reason}")
    for name in tally.failed:
        print(f"failed: {name}")
    skipped = sum(tally.skipped.values())
    print(f"{tally.passed} passed, {len(tally.failed)} failed" + f", {skipped} skipped" * bool(skipped))
    return 1 if tally.failed or not tally.passed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
