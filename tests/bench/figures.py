# SPDX-License-Identifier: MIT
"""How figures are read and written down, and what is made of a goal."""

from statistics import median

ENOUGH_ROUNDS = 9
TIE = 1.2
NOISY = 0.05  # of the proxy's core, taken by others
# Memory hardly differs from round to round; it needs no nine of them.
COUNTED = ("KiB",)


def values(cell, key):
    return [sample[key] for sample in cell["samples"] if sample.get(key) is not None]


def middle(cell, key="cost"):
    found = values(cell, key)
    return median(found) if found else None


def number(value):
    if value is None:
        return "-"
    if isinstance(value, str):
        return value
    size = abs(value)
    if size == 0:
        return "0"
    if size >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3f}" if size < 1 else f"{value:.2f}" if size < 10 else f"{value:.1f}"


def spread(cell, key):
    """Median [lowest-highest]."""
    found = values(cell, key)
    if not found:
        return "failed" if "fault" in cell else "-"
    if len(set(found)) == 1 or isinstance(found[0], str):
        return ", ".join(map(number, sorted(set(found))))
    return f"{number(median(found))} [{number(min(found))}-{number(max(found))}]"


def table(head, lines):
    rows = [head, ["---"] * len(head), *lines]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in rows) + "\n"


def names_of(rows):
    found = []
    for row in rows:
        found += [name for name in row["cells"] if name not in found]
    return found


def all_samples(document):
    """Of every round of every program, as one cell."""
    cells = [cell for row in document["rows"] for cell in row["cells"].values()]
    return {"samples": [sample for cell in cells for sample in cell["samples"]]}


# --- Goals ----------------------------------------------------------------------------------------


def limit_of(row, goal, key="cost"):
    """The goal as a number, or None where what it refers to was not measured."""
    if not goal["of"]:
        return goal["factor"]
    reference = row["cells"].get(goal["of"], {"samples": []})
    of = reference.get(key) if key != "cost" else middle(reference)
    return of and of * goal["factor"]


def goal_text(row, goal):
    limit = limit_of(row, goal)
    if not goal["of"]:
        return number(limit)
    return f"{goal['factor']:g} x {goal['of']} = {number(limit)}"


def judge(have, limit):
    if have is None or limit is None:
        return "not measured"
    return "met" if have <= limit else "tie" if have <= limit * TIE else "missed"


def outcome(row):
    """met, tie, missed, not measured; or nothing without a goal."""
    if not row["goal"] or "viaduct" not in row["cells"]:
        return ""
    return judge(middle(row["cells"]["viaduct"]), limit_of(row, row["goal"]))


def tie_break(row):
    """What decides a tie: calls and instructions, by the same factor. Both must agree."""
    goal, ours = row["goal"], row["cells"]["viaduct"]
    theirs = row["cells"].get(goal["of"], {})
    told, within = [], []
    for key, unit in (("syscalls", "calls"), ("instructions", "instructions")):
        if key in ours and key in theirs:
            told.append(f"{number(ours[key])} {unit} to {number(theirs[key])}")
            within.append(ours[key] <= goal["factor"] * theirs[key])
    if not told:
        return ""
    word = "decided met" if all(within) else "undecided" if any(within) else "decided missed"
    return f"{word}: {', '.join(told)}"


def verdict(row):
    """The outcome, what decides a tie, and whether it is said for good."""
    word = outcome(row)
    if word == "tie" and tie_break(row):
        word += f", {tie_break(row)}"
    if word == "missed":
        word += floor_text(row)
    rounds = len(values(row["cells"].get("viaduct", {"samples": []}), "cost"))
    if word not in ("", "not measured") and rounds < ENOUGH_ROUNDS and row["unit"] not in COUNTED:
        word += f" (of {rounds} round{'s' * (rounds != 1)} only)"
    return word


def floor_text(row):
    """That the floor is above the goal too, if the goal is missed."""
    floor, limit = middle(row["cells"].get("floor", {"samples": []})), limit_of(row, row["goal"])
    return f" (the floor needs {number(floor)})" if floor and limit and floor > limit else ""


def calls_verdict(row):
    have = row["cells"].get("viaduct", {}).get("syscalls")
    limit = limit_of(row, row["calls_goal"], "syscalls")
    return judge(have, limit)
