# SPDX-License-Identifier: MIT
"""Rule tables of any length, the same in every run."""

# What decide.c asks: clients of this network, for names below one of these, that are found there.
CLIENT, PORT, ADDRESS = "10.1.2.0", 443, "198.51.100.7"
LISTED, UNLISTED = "listed.example", "unlisted.example"
LAST = f"allow from 10.1.2.0/24 host .{LISTED} port {PORT} to any"

# Lines as most tables have them.
USUAL = (
    "deny from 10.{a}.{b}.0/24 port 80,443",
    "deny host .r{n}.example port 443",
    "allow from 172.16.{b}.0/24 host h{n}.example port 443",
)
# One of each kind; several can be found by none of the values that lines are indexed by.
UNLIKE = (
    "deny from 10.{a}.{b}.0/24 method POST",
    "deny host r{n}.*.example",
    "deny port {port}",
    "deny method X{n}",
    "deny to 203.0.113.{b}",
    "deny time sun 03:00-04:00 method X{n}",
    "deny not from 10.0.0.0/8 method X{n}",
    "deny not host .example method X{n}",
    "allow from 10.1.2.0/24 not port 443 method X{n}",
    "report to private host .r{n}.example",
)


def table(shapes, count, last=LAST):
    """COUNT lines, of which only the last one is for those who ask."""
    lines = [
        shapes[n % len(shapes)].format(n=n, a=16 + n // 256 % 200, b=n % 256, port=10000 + n)
        for n in range(count - 1)
    ]
    return [f"r{n} = {line}" for n, line in enumerate([*lines, last])]


def file(path, lines):
    path.write_text("[access]\n" + "\n".join(lines) + "\n")
    return path
