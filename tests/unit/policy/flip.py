#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Flips each comparison of the policy's sources in turn, and wants each flip to turn a test red.

    flip.py [--jobs N] [FILE...]      FILE: a name in src/policy (all that decide, without one)

A comparison is flipped to its opposite (== to !=, < to >=), moved by one (< to <=), and && and || are
exchanged. Each flip is compiled with the sanitizers and linked to the tests; the first of them that
fails, crashes or hangs is red. What stays green has to be listed in CANNOT, with why.
"""

import argparse
import concurrent.futures
import pathlib
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[3]
SRC = ROOT / "src"

# Not machine_kernel.c: it would take a kernel that fails.
FILES = [
    "policy.c", "match.c", "table.c", "names.c", "nets.c", "lines.c", "rule.c", "rule_value.c",
    "rule_time.c", "compile.c", "cover.c", "warn.c", "explain.c", "local_time.c", "machine.c",
]
# In the order in which they are tried: the table of cases sees most.
TESTS = ["policy_table", "policy", "table", "lines", "machine", "local_time", "idn", "snapshot",
         "hits"]

CC = ["gcc", "-std=gnu17", "-D_GNU_SOURCE", '-DVIADUCT_VERSION="flip"', "-O1", "-g",
      "-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-w", f"-I{SRC}"]
LIBRARIES = ["-lcriterion", "-levent_core", "-linih", "-lcares", "-lllhttp", "-lidn2", "-lcrypt",
             "-lpthread"]
HANG_S = 30

FLIPS = {
    "==": ["!="], "!=": ["=="],
    "<": [">=", "<="], "<=": [">", "<"], ">": ["<=", ">="], ">=": ["<", ">"],
    "&&": ["||"], "||": ["&&"],
}
# What a C file is made of, as far as it matters here; longer tokens first.
TOKEN = re.compile(
    r"""/\*.*?\*/ | //[^\n]* | "(?:\\.|[^"\\])*" | '(?:\\.|[^'\\])*' | ^\#[^\n]*
      | -> | <<=? | >>=? | [<>=!]= | && | \|\| | [<>]""",
    re.X | re.S | re.M,
)

# Flips that no test can see: file, the line as it stands, the flip; and why.
BEHIND = "what is read behind the end is memory of the arena, and means nothing"
CANNOT = {
    ("lines.c", "ASSERT(hits->count < LINES_HITS_MAX);", "< to <="):
        "so many hits no name and no address has",
    ("compile.c",
     "while (at < rule->condition_count && rule->conditions[at].kind < RULE_TO) {", "< to <="):
        "no line that wants a `to` has one, and behind the end is memory of the arena",
    ("compile.c", "for (size_t i = 0; i < rule->condition_count; i++) {", "< to <="): BEHIND,
    ("compile.c", "for (size_t i = 0; i < line->rule.condition_count && !error; i++) {", "< to <="):
        BEHIND,
    ("cover.c", "bool are_plain = a->from < a->to && b->from < b->to;", "< to <="):
        "a span that ends when it begins is refused by the reader",
    ("cover.c", "for (size_t j = 0; j < b->files.count && !found && spend(cover); j++) {",
     "< to <="): BEHIND,
    ("explain.c", "for (uint32_t i = 0; i < policy->access.count; i++) {", "< to <="): BEHIND,
    ("explain.c", "return a->failed_count < b->failed_count;", "< to <="):
        "they are not the same here",
    ("match.c", "if (lines.count > 0) {", "> to >="):
        "a list without lines is let go at the first step",
    ("machine.c", "return order != 0 ? order : (x->bits > y->bits) - (x->bits < y->bits);",
     "> to >="): "of two that are the same either may stand first",
    ("machine.c", "return order != 0 ? order : (x->bits > y->bits) - (x->bits < y->bits);",
     "< to <="): "of two that are the same either may stand first",
    ("names.c", "if (order == 0) {", "== to !="):
        "another order, in which what is the same still stands together",
    ("names.c", "while (slot_count < 2 * names->key_count) {", "< to <="):
        "the hash table has more room than it needs",
    ("names.c", "if (found->hash == hash && str_eq(found->key, key)) {", "&& to ||"):
        "two names of one hash of 64 bits are not to be had",
    ("names.c", "if (name.len == 0 || names->key_count == 0) {", "|| to &&"):
        "no pattern matches an empty name, and an empty table hits nothing",
    ("names.c", "} else if (p < pattern.len && pattern.ptr[p] == text.ptr[t]) {", "< to <="):
        "the byte behind a label is looked at, and what follows cannot end at the pattern's end",
    ("names.c", "} else if (star < pattern.len) {", "< to <="):
        "without a star the text is gone through in vain",
    ("nets.c",
     "uint32_t parent = family->count > 0 ? (uint32_t)family->count - 1 : NO_PARENT;", "> to >="):
        "none less one is NO_PARENT as well",
    ("nets.c", "return low > 0 ? (uint32_t)low - 1 : NO_PARENT;", "> to >="):
        "none less one is NO_PARENT as well",
    ("match.c", "if (span->from < span->to) {", "< to <="):
        "a span that ends when it begins is refused by the reader",
    ("rule.c", "while (count < text.len && (text.ptr[count] == ' ' || text.ptr[count] == '\\t')) {",
     "< to <="): "behind the text is its NUL, which is no blank",
    ("rule.c", "while (len < text.len && text.ptr[len] != ' ' && text.ptr[len] != '\\t') {", "< to <="):
        "behind the text is its NUL, and str_head takes no more than there is",
    ("rule.c", "while (value.len > 0 &&", "> to >="): "no value is empty but at the end of the line",
    ("rule.c", "return word.len > 0 && word.ptr[0] >= '0' && word.ptr[0] <= '9';", "> to >="):
        "a word is empty at the end of the line alone, where the NUL is no digit",
    ("rule.c", "for (unsigned i = 0; i < RULE_KIND_COUNT; i++) {", "< to <="):
        "behind the last kind are zeros: a kind that was not seen",
    ("rule_value.c", "for (size_t i = 0; i < list.len; i++) {", "< to <="):
        "room for one item more than there are",
    ("rule_value.c", "count += list.ptr[i] == ',';", "== to !="):
        "every item has a byte that is no comma, so there is room enough",
    ("rule_value.c", "if (name.len > sizeof(buf)) {", "> to >="):
        "a name that just fits the buffer is too long, too",
    ("rule_value.c", "for (size_t i = 0; i < text.len; i++) {", "< to <="):
        "behind the text is a comma, a blank or a NUL",
    ("rule_value.c", "return (x->first > y->first) - (x->first < y->first);", "> to >="):
        "ranges that begin alike are joined, whichever comes first",
    ("rule_value.c", "return (x->first > y->first) - (x->first < y->first);", "< to <="):
        "ranges that begin alike are joined, whichever comes first",
    ("rule_value.c", "for (size_t i = 0; i < word.len; i++) {", "< to <="):
        "behind the word is a comma, a blank or a NUL",
    ("table.c", "return key == RULE_KIND_COUNT || (key == RULE_TO && line->action == LINE_ALLOW);",
     "&& to ||"):
        "more lines are looked at than need be, and found to be no or to say nothing",
    ("table.c", "for (size_t i = 0; i < rule->condition_count && !error; i++) {", "< to <="):
        BEHIND,
}


def flips_of(name, text):
    """[(line number, line, flip, mutated text)]"""
    found = []
    for token in TOKEN.finditer(text):
        for other in FLIPS.get(token.group(), []):
            number = text.count("\n", 0, token.start()) + 1
            line = text.splitlines()[number - 1].strip()
            mutant = text[: token.start()] + other + text[token.end() :]
            found.append((number, line, f"{token.group()} to {other}", mutant))
    return found


def run(command, **options):
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)


def must(command):
    result = run(command)
    if result.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}\n{result.stderr}")


class Bench:
    """Everything compiled once, but for the file that is flipped."""

    def __init__(self, directory, jobs):
        self.dir = pathlib.Path(directory)
        listed = re.findall(r"^  '([\w/]+\.c)',$", (SRC / "meson.build").read_text(), re.M)
        objects = {self.dir / "core" / (name.replace("/", "_")[:-2] + ".o"): SRC / name
                   for name in listed}
        for test in TESTS:
            objects[self.dir / f"test_{test}.o"] = ROOT / f"tests/unit/policy/test_{test}.c"
        (self.dir / "core").mkdir()
        with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
            list(pool.map(lambda pair: must([*CC, "-c", pair[1], "-o", pair[0]]), objects.items()))
        self.core = self.dir / "core.a"
        must(["ar", "rcs", self.core, *sorted((self.dir / "core").glob("*.o"))])

    def is_red(self, tag, name, text):
        """The test that sees it, or None."""
        source = self.dir / f"{tag}_{name}"
        mutant = source.with_suffix(".o")
        source.write_text(text)
        if run([*CC, "-c", source, "-o", mutant]).returncode != 0:
            return "the compiler"
        for test in TESTS:
            program = self.dir / f"{tag}_{test}"
            # What the mutant defines is not taken from the archive.
            must([*CC, self.dir / f"test_{test}.o", mutant, self.core, "-o", program, *LIBRARIES])
            try:
                status = run([program, "--timeout=20"], timeout=HANG_S).returncode
            except subprocess.TimeoutExpired:
                status = "hangs"
            program.unlink()
            if status != 0:
                return test
        return None


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("files", nargs="*", default=FILES)
    args = parser.parse_args()
    work = []
    for name in args.files:
        for flip in flips_of(name, (SRC / "policy" / name).read_text()):
            work.append((name, *flip))
    stale = {key for key in CANNOT if key[0] in args.files}
    with tempfile.TemporaryDirectory() as directory:
        bench = Bench(directory, args.jobs)
        assert bench.is_red("none", "lines.c", (SRC / "policy/lines.c").read_text()) is None, (
            "the tests are red already")

        def judge(number):
            name, _, _, _, text = work[number]
            return bench.is_red(str(number), name, text)

        with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
            results = list(pool.map(judge, range(len(work))))
    listed = green = 0
    for (name, number, line, flip, _), seen in zip(work, results):
        if seen:
            continue
        if (name, line, flip) in CANNOT:
            listed += 1
            stale.discard((name, line, flip))
        else:
            green += 1
            print(f"src/policy/{name}:{number}: {flip} turns no test red: {line}")
    for key in sorted(stale):
        print(f"listed, but there is no such flip or a test sees it: {key}")
    print(f"{len(work)} flips: {len(work) - listed - green} red, {listed} listed, {green} unseen")
    return 1 if green or stale else 0


if __name__ == "__main__":
    sys.exit(main())
