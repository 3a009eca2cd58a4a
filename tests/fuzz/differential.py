#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Does everybody see the same messages? Bent request streams go through the real daemon to an
origin that only records, bent response streams to a client that does. What the bytes behind the
daemon mean to h11 and to Node's parser must be what the daemon believed: as many messages as it
logged, with the same targets, statuses and ends; and the same bodies as the two readers find in the
bytes before the daemon. Anything else is a way to smuggle.

A finding names its batch; --seed N --batches 1 plays that one again. Run by tests/fuzz/run; VIADUCT
names the daemon."""

import collections
import random
import re

import campaign  # first: it sets the path for the others
import engine
import mutate
import readers

CASES = 200  # of one batch; a half of them bends requests, the other responses
OPTIONS = (
    "server.workers=1",
    "log.access=json",
    "timeouts.header=1s",
    "timeouts.response=300ms",
    "timeouts.idle=600ms",
    "timeouts.keep_alive=600ms",
    "pool.idle=200ms",
)
SECOND = b"the second answer"


def plain_response(method, body):
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body)
    return head if method == "HEAD" else head + body


class Case:
    """One client connection. Its origin has an address of its own, and so has the client: the log
    tells by them what belongs to it."""

    def __init__(self, number, rng, port):
        # One bent digit does not make another case's address of it.
        high, low = divmod(number, 150)
        place = f"{20 + high}.{101 + low}.{101 + (7 * low + 31 * high) % 150}"
        self.source, self.destination = f"127.1{place}", f"127.{place}"
        self.authority = f"{self.destination}:{port}"
        self.upstream = self.authority
        self.tag = f"c{number}"
        self.bends_responses = number % 2 == 1
        self.lines = []  # of the log, in order
        self.origins = []
        self.methods = []
        self.response, self.response_end = b"", None
        if self.bends_responses:
            self._bent_response(rng)
        else:
            self._bent_requests(rng)
        self.client = engine.Client(mutate.pieces(rng, self.sent), "fin", self.source)

    def _bent_requests(self, rng):
        self.sent = b""
        for number in range(rng.choice((1, 2, 3))):
            bends = rng.choice((0, 1, 1, 2))
            self.sent += mutate.request(rng, self.authority, f"{self.tag}n{number}", bends)

    def _bent_response(self, rng):
        self.methods = [rng.choice(("GET", "GET", "GET", "HEAD")), "GET"]
        self.sent = b"".join(
            f"{method} http://{self.authority}/{name} HTTP/1.1\r\nHost: {self.authority}\r\n\r\n".encode()
            for method, name in zip(self.methods, ("first", "second"))
        )
        self.response = mutate.response(rng, self.tag, rng.choice((0, 1, 1, 2)))
        self.response_pieces = mutate.pieces(rng, self.response)
        self.response_end = rng.choice(("fin", "close", None))
        if b"ontent-" not in self.response and b"chunked" not in self.response:
            self.response_end = "close"

    def describe(self):
        text = f"sent      {self.sent!r}\n"
        for origin in self.origins:
            text += f"origin    {bytes(origin.received)!r}\n"
        if self.bends_responses:
            text += f"answered  {self.response!r} then {self.response_end}\n"
        text += f"client    {bytes(self.client.received)!r} {self.client.ended}\n"
        return text + "".join(f"log       {line['raw']}\n" for line in self.lines)


class RecordingOrigin(engine.Origin):
    """Answers each whole request, as h11 reads them."""

    cases = {}

    def __init__(self, address):
        super().__init__(address)
        self.answered = 0
        self.broken = False

    def feed(self, data):
        case = RecordingOrigin.cases.get(self.address)
        if case is None or self.broken:
            return b"", "close"
        reading = readers.h11_requests(bytes(self.received), eof=False)
        whole = [message for message in reading.messages if message.complete]
        out, then = [], None
        for message in whole[self.answered :]:
            self.answered += 1
            if not case.bends_responses:
                out.append(plain_response(message.method, b"ok"))
            elif message.target == "/first":
                out += case.response_pieces
                then = case.response_end
            else:
                out.append(plain_response(message.method, SECOND))
        if reading.error:
            self.broken, then = True, "close"
        return out, then


class Finding(AssertionError):
    pass


def must(condition, text):
    if not condition:
        raise Finding(text)


notes = collections.Counter()


def same_messages(a, b, where):
    """Both readers agree on what viaduct wrote."""
    seen = [m.what() for m in a.messages], [m.what() for m in b.messages]
    must(seen[0] == seen[1], f"{where}: h11 reads {a}, Node reads {b}")
    for one, other in zip(a.messages, b.messages):
        must(
            sorted(one.headers) == sorted(other.headers),
            f"{where}: h11 has {one.headers}, Node {other.headers}",
        )


def incomplete_only(reading):
    """No error, or the one that a stream that was cut short is."""
    return reading.error is None or (bool(reading.messages) and not reading.messages[-1].complete)


def path_of(target):
    """Of an absolute target: what its origin gets."""
    rest = target.partition("://")[2]
    at = min((rest.find(c) for c in "/?" if c in rest), default=len(rest))
    form = rest[at:]
    return form if form.startswith("/") else "/" + form


def check_requests(case, before, behind):
    """before: (h11, node) of the client's bytes; behind: the same for each connection at the
    origin."""
    arrived = []
    for a, b in behind:
        must(incomplete_only(a), f"h11 refuses what went on: {a}")
        must(incomplete_only(b), f"Node refuses what went on: {b}")
        same_messages(a, b, "behind viaduct")
        arrived += a.messages
    forwarded = [line for line in case.lines if line["upstream"] == case.upstream]
    must(
        len(arrived) <= len(forwarded), f"{len(arrived)} requests arrived, logged: {len(forwarded)}"
    )
    rest = iter(arrived)
    for line in forwarded:
        if line["end"] != "complete" and not any(
            m.target == path_of(line["target"]) for m in arrived
        ):
            continue  # the connection was there, the request never left
        message = next(rest, None)
        must(message is not None, f"logged and never arrived: {line['raw']}")
        wanted = "*" if message.target == "*" else path_of(line["target"])
        must(
            message.target == wanted and message.method == line["method"],
            f"{message} arrived, logged: {line['raw']}",
        )
        must(
            message.complete or line["end"] != "complete",
            f"{message} was cut, logged: {line['raw']}",
        )
        if line["end"] == "complete":
            notes["requests forwarded"] += 1
    must(next(rest, None) is None, f"arrived and never logged: {arrived}")
    check_before(case, before, arrived)


def check_before(case, before, arrived):
    """The n-th line of the log is the n-th message of the client's bytes, for both readers."""
    arrived = iter(arrived)
    for number, line in enumerate(case.lines):
        if line["upstream"] != case.upstream:
            continue
        message = next(arrived, None)
        if message is None:
            return
        for name, reading in zip(("h11", "Node"), before):
            if number >= len(reading.messages):
                # A reader that is stricter: it would have refused what was let through.
                notes[f"{name} alone refuses: {reading.error}"] += 1
                others = [r for r in before if number < len(r.messages)]
                must(others, f"let through, and both refuse it: {before} {message}")
                continue
            other = reading.messages[number]
            must(
                other.target == line["target"] and other.method == line["method"],
                f"before viaduct {name} reads {other} as number {number}, logged: {line['raw']}",
            )
            if message.complete:
                must(
                    other.body == message.body and other.complete,
                    f"before viaduct {name} reads {other}, behind it is {message}",
                )
            else:
                must(
                    other.body.startswith(message.body),
                    f"before viaduct {name} reads {other}, behind it is {message}",
                )


def check_responses(case, before, behind):
    """before: of the origin's bytes; behind: of what the client got."""
    a, b = behind
    must(incomplete_only(a), f"h11 refuses what the client got: {a}")
    must(incomplete_only(b), f"Node refuses what the client got: {b}")
    same_messages(a, b, "behind viaduct")
    finals = a.finals()
    answered = [line for line in case.lines if line["status"]]
    must(
        [m.status for m in finals] == [line["status"] for line in answered],
        f"the client has {finals}, logged: {[line['raw'] for line in answered]}",
    )
    for message, line in zip(finals, answered):
        if line["end"] == "complete":
            must(message.complete, f"the client has {message}, logged: {line['raw']}")
            notes["responses forwarded"] += 1
        elif line["end"] in ("truncated", "upstream-closed") and line["status"] != 502:
            must(not message.complete, f"the client has {message}, logged: {line['raw']}")
    for message, line in zip(finals, answered):
        if line["end"] != "complete":
            continue
        if line["target"].endswith("/second"):
            # What the origin sends in pieces may come when the second request is with it already:
            # nobody can tell it from an answer then.
            if line["reused"] and len(case.response_pieces) > 1 and message.body != SECOND:
                notes["answers that came before the request"] += 1
            else:
                must(message.body == SECOND, f"the second answer is {message}")
            continue
        check_first(case, before, message)


def check_first(case, before, message):
    """A reader may be stricter than viaduct, as long as the other one reads what viaduct does."""
    agree = 0
    for name, reading in zip(("h11", "Node"), before):
        first = next(iter(reading.finals()), None)
        if reading.error and not (first and first.complete):
            notes[f"{name} alone refuses: {reading.error}"] += 1
            continue
        must(
            first and (first.status, first.body) == (message.status, message.body) and first.complete,
            f"before viaduct {name} reads {first}, behind it is {message}",
        )
        agree += 1
    must(agree > 0, f"let through, and both refuse it: {before} {message}")


BLANK_BEFORE_COLON = re.compile(rb"(\r\n[!#$%&'*+.^_`|~0-9A-Za-z-]+)[ \t]+:")


def as_rfc_reads(data):
    """A response whose names have blanks behind them is to be read without (RFC 9112 5.1); the two
    readers refuse it instead. Heads and trailers alone: what bending has made a body of is not
    touched. Chunks here have no such lines."""
    read = b""
    while True:
        head, end, data = data.partition(b"\r\n\r\n")
        read += BLANK_BEFORE_COLON.sub(rb"\1:", head) + end
        if not re.match(rb"HTTP/1\.. 1", head):
            break
    if end and re.search(rb"(?i)\ntransfer-encoding[ \t]*:", head):
        return read[:-2] + BLANK_BEFORE_COLON.sub(rb"\1:", end[:2] + data)
    return read + data


def run_batch(daemon, bench, node, seed):
    rng = random.Random(seed)
    cases = [Case(number, rng, bench.port) for number in range(CASES)]
    RecordingOrigin.cases = {case.destination: case for case in cases}
    by_source = {case.source: case for case in cases}
    origins = bench.run(daemon.address, [case.client for case in cases], concurrency=40, patience=4)
    bench.close_origins()
    daemon.settle()
    mark = daemon.mark
    daemon.begin_test()  # a request of our own: what stands before it in the log is all there is
    for line in daemon.lines[mark : daemon.mark]:
        must(list(line) != ["raw"], f"not JSON: {line['raw']}")
        case = by_source.get(line.get("client"))
        if case and line.get("event") == "request":
            case.lines.append(line)
    for origin in origins:
        if origin.address in RecordingOrigin.cases:
            RecordingOrigin.cases[origin.address].origins.append(origin)
    jobs = []
    for case in cases:
        if case.bends_responses:
            jobs.append(("response", as_rfc_reads(case.response), case.methods[:1]))
            jobs.append(("response", bytes(case.client.received), case.methods))
        else:
            jobs.append(("request", case.sent, []))
            jobs += [("request", bytes(origin.received), []) for origin in case.origins]
    answers = iter(node.read(jobs))
    for case in cases:
        try:
            check_case(case, answers)
        except Finding as finding:
            raise Finding(f"{finding}\n{case.describe()}") from None


def check_case(case, answers):
    must(case.client.ended in ("fin", "reset"), f"the client's connection: {case.client.ended}")
    if case.bends_responses:
        seen = as_rfc_reads(case.response)
        before = readers.h11_responses(seen, case.methods[:1]), next(answers)
        behind = (
            readers.h11_responses(bytes(case.client.received), case.methods),
            next(answers),
        )
        check_responses(case, before, behind)
        return
    before = readers.h11_requests(case.sent), next(answers)
    behind = [(readers.h11_requests(bytes(o.received)), next(answers)) for o in case.origins]
    check_requests(case, before, behind)


def begin(daemon):
    bench, node = engine.Engine(RecordingOrigin), readers.Node()
    done = []

    def batch(seed):
        run_batch(daemon, bench, node, seed)
        done.append(seed)

    def report():
        node.close()
        counts = [f"{count:7} {text}" for text, count in notes.most_common(12)]
        return [f"{len(done) * CASES} connections", *counts]

    return batch, report


if __name__ == "__main__":
    campaign.run("differential", __doc__, OPTIONS, begin)
