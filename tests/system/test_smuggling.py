# SPDX-License-Identifier: MIT
"""Requests that two readers could read in two ways. Each is sent whole over TCP, then cut in two at
a sample of places and one byte at a time; however it comes, the same must happen: the refusal as a
whole message, then the end of the connection; nothing of it reached an origin; what stands behind
it was never a request."""

import re
import socket
import threading

import pytest

import splits
import wire
from hostile import BAD_CHUNKS, CODINGS, LENGTHS, NOT_IN_NAMES, NOT_IN_VALUES
from splits import HOST, Faults, exact, fill_in, send_split, two_doors

BEHIND = b"GET http://{o}/smuggled HTTP/1.1\r\n" + HOST + b"\r\n"


@pytest.fixture(scope="module", autouse=True)
def clean_up():
    yield
    splits.remove_directory()


def request_line(line):
    return line + b"\r\n" + HOST + b"\r\n"


def post(fields, body=b""):
    return b"POST http://{o}/attack HTTP/1.1\r\n" + HOST + fields + b"\r\n" + body


CHUNKED_BODY = b"5\r\nhello\r\n0\r\n\r\n"

# --- Transfer-Encoding --------------------------------------------------------


def codings():
    rows = {
        repr(value): (post(b"Transfer-Encoding: " + value + b"\r\n", CHUNKED_BODY), status)
        for value, status in CODINGS.items()
    }
    for first, second, status in [
        (b"chunked", b"chunked", 400),
        (b"chunked", b"identity", 400),
        (b"chunked", b"x", 400),
        (b"", b"chunked", 400),
        (b"chunked", b"", 400),
        (b"identity", b"chunked", 501),
        (b"gzip", b"chunked", 501),
    ]:
        for name in (b"Transfer-Encoding", b"transfer-encoding"):
            fields = b"Transfer-Encoding: %s\r\n%s: %s\r\n" % (first, name, second)
            rows[f"two fields, {fields}"] = (post(fields, CHUNKED_BODY), status)
            fields = b"Transfer-Encoding: %s\r\nX: y\r\n%s: %s\r\n" % (first, name, second)
            rows[f"two fields apart, {fields}"] = (post(fields, CHUNKED_BODY), status)
    rows["in 1.0"] = (
        b"POST http://{o}/ HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n" + CHUNKED_BODY,
        400,
    )
    rows["in 1.0, unknown"] = (
        b"POST http://{o}/ HTTP/1.0\r\nTransfer-Encoding: identity\r\n\r\n" + CHUNKED_BODY,
        (400, 501),
    )
    rows["with GET"] = (
        b"GET http://{o}/ HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: x, chunked\r\n\r\n",
        501,
    )
    rows["with TRACE"] = (
        b"TRACE http://{o}/ HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n",
        400,
    )
    return rows


def both():
    """Content-Length and Transfer-Encoding in one message: refused whatever either says."""
    rows = {}
    for value in [*CODINGS, b"chunked", b"Chunked", b" chunked\t"]:
        coding = b"Transfer-Encoding: " + value + b"\r\n"
        rows[f"length first, {value}"] = (
            post(b"Content-Length: 6\r\n" + coding, b"0\r\n\r\nX"),
            400,
        )
        rows[f"coding first, {value}"] = (
            post(coding + b"Content-Length: 6\r\n", b"0\r\n\r\nX"),
            400,
        )
    for name in (b"tRANSFER-eNCODING", b"TRANSFER-ENCODING"):
        rows[f"{name}"] = (
            post(b"content-length: 3\r\n" + name + b":chunked\r\n", b"0\r\n\r\n"),
            400,
        )
    for version in (b"1.0", b"1.1"):
        rows[f"length 0, {version}"] = (
            b"POST http://{o}/ HTTP/%s\r\n" % version
            + HOST
            + b"Content-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            400,
        )
    return rows


# --- Content-Length -----------------------------------------------------------


def lengths():
    rows = {
        repr(value): (post(b"Content-Length: " + value + b"\r\n", b"hello"), 400)
        for value in LENGTHS
    }
    for first, second in [(b"5", b"5"), (b"5", b"6"), (b"6", b"5"), (b"0", b"5"), (b"5", b"")]:
        for name in (b"Content-Length", b"content-length"):
            for between in (b"", b"X: y\r\n"):
                fields = b"Content-Length: %s\r\n%s%s: %s\r\n" % (first, between, name, second)
                rows[f"{fields}"] = (post(fields, b"hello"), 400)
    rows["three"] = (post(b"Content-Length: 5\r\n" * 3, b"hello"), 400)
    rows["GET"] = (
        b"GET http://{o}/ HTTP/1.1\r\n"
        + HOST
        + b"Content-Length: 5\r\ncontent-length: 0\r\n\r\nhello",
        400,
    )
    rows["1.0"] = (b"POST http://{o}/ HTTP/1.0\r\nContent-Length: 5, 5\r\n\r\nhello", 400)
    rows["TRACE"] = (
        b"TRACE http://{o}/ HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\n\r\nhello",
        400,
    )
    return rows


# --- Fields -------------------------------------------------------------------


def framing_names():
    """The name of a framing field, decorated so that one reader knows it and another does not."""
    rows = {}
    for name, value in [(b"Content-Length", b"5"), (b"Transfer-Encoding", b"chunked")]:
        first, second = name.split(b"-")
        for line in [
            name + b" : " + value,
            name + b"\t: " + value,
            name + b" \t : " + value,
            name + b"\x00: " + value,
            name + b"\x0b: " + value,
            name + b"\x0c: " + value,
            name + b"\x7f: " + value,
            name + b"\xa0: " + value,
            name + b"\r: " + value,
            name + b"\n: " + value,
            name + b"\r\n: " + value,
            b" " + name + b": " + value,
            b"\t" + name + b": " + value,
            b"\x00" + name + b": " + value,
            b"\x0b" + name + b": " + value,
            b"\xef\xbb\xbf" + name + b": " + value,
            first + b" " + second + b": " + value,
            first + b"\x00-" + second + b": " + value,
            first + b"\xe2\x80\x90" + second + b": " + value,
            name + b" " + value,
            name + b"=" + value,
            name,
            b'"' + name + b'": ' + value,
            b"X: y\r" + name + b": " + value,
            b"X: y\n" + name + b": " + value,
            b"X: y\r\r\n" + name + b": " + value,
            b"X: y\n\r\n" + name + b": " + value,
            b"X: y\0\r\n" + name + b": " + value,
            b"X: y\r\n " + name + b": " + value,
            b"X: y\r\n\t" + name + b": " + value,
            b"X: y\x0b\x0c" + name + b": " + value,
        ]:
            rows[f"{line}"] = (post(line + b"\r\n", CHUNKED_BODY), 400)
    return rows


def names():
    rows = {
        f"{byte:#04x} {where}": (post(fields), 400)
        for byte in NOT_IN_NAMES
        for where, fields in [
            ("first", bytes([byte]) + b"Name: x\r\n"),
            ("inside", b"Na" + bytes([byte]) + b"me: x\r\n"),
            ("last", b"Name" + bytes([byte]) + b": x\r\n"),
        ]
    }
    for line in [b":", b": x", b" : x", b"\t: x", b"::", b"Name", b"Name x", b"N:x\r\n:y"]:
        rows[f"{line}"] = (post(line + b"\r\n"), 400)
        rows[f"{line} at the top"] = (
            b"GET http://{o}/ HTTP/1.1\r\n" + line + b"\r\n" + HOST + b"\r\n",
            400,
        )
    return rows


def values():
    rows = {}
    for byte in NOT_IN_VALUES:
        char = bytes([byte])
        for where, value in [("alone", char), ("first", char + b"b"), ("inside", b"a" + char + b"b"),
                             ("last", b"a" + char)]:  # fmt: skip
            rows[f"{byte:#04x} {where}"] = (post(b"X: " + value + b"\r\n"), 400)
    for fold in (b"\r\n ", b"\r\n\t", b"\r\n \r\n ", b"\r\n  \t", b"\n ", b"\r "):
        rows[f"folded with {fold}"] = (post(b"X: a" + fold + b"b\r\n"), 400)
        rows[f"folded before the value with {fold}"] = (post(b"X:" + fold + b"b\r\n"), 400)
        rows[f"last folded with {fold}"] = (post(b"X: a" + fold + b"\r\n"), 400)
        rows[f"folded right below the request line with {fold}"] = (
            b"GET http://{o}/ HTTP/1.1" + fold + b"X: y\r\n" + HOST + b"\r\n",
            400,
        )
    return rows


HOSTS = [
    b"", b" ", b"{o}, {o}", b"{o} {o}", b"{o},evil", b"{o}/", b"{o}/path", b"{o}?x", b"{o}#x",
    b"user@{o}", b"user:password@{o}", b"http://{o}", b"{o}\\evil", b"{o}\x00", b"{o}\xe9",
    b"[::1", b"::1", b"[::1]x", b"[127.0.0.1]", b"a:65536", b"a:0", b"a:-1", b"a:+80", b"a:80:80",
    b"a:b", b"a: 80", b"a..b", b".a", b"a%00b", b"a%2eb", b"a*b", b"a;b", b"a\tb", b"[::1%25lo]",
    b"x" * 64 + b".example", b"x." * 130 + b"x",
]  # fmt: skip


def hosts():
    rows = {
        f"{value}": (b"GET http://{o}/ HTTP/1.1\r\nHost: " + value + b"\r\n\r\n", 400)
        for value in HOSTS
    }
    rows["two"] = (b"GET http://{o}/ HTTP/1.1\r\n" + HOST + b"X: y\r\nhOST: {o}\r\n\r\n", 400)
    rows["two, 1.0"] = (b"GET http://{o}/ HTTP/1.0\r\n" + HOST + HOST + b"\r\n", 400)
    rows["bad, 1.0"] = (b"GET http://{o}/ HTTP/1.0\r\nHost: a b\r\n\r\n", 400)
    rows["none"] = (b"GET http://{o}/ HTTP/1.1\r\nX-Host: {o}\r\n\r\n", 400)
    rows["folded"] = (b"GET http://{o}/ HTTP/1.1\r\nHost: a\r\n b\r\n\r\n", 400)
    return rows


# --- Lines --------------------------------------------------------------------


def line_ends():
    """Every line end of a head replaced in turn by what some reader takes for one."""
    rows = {}
    lines = [b"POST http://{o}/ HTTP/1.1", b"Host: {o}", b"Content-Length: 5", b"X: y", b""]
    for end in (b"\n", b"\r", b"\r\r\n", b"\n\r", b"\r\0\n", b"\0\r\n", b"\x0b", b"\x0c", b"\r \n",
                b"\xe2\x80\xa8", b"\x85", b"\n\n"):  # fmt: skip
        for number in range(len(lines)):
            head = b"".join(
                line + (end if index == number else b"\r\n") for index, line in enumerate(lines)
            )
            if number == 2 and end in (b"\x85", b"\xe2\x80\xa8"):
                pass  # Content-Length: 5\x85X: y
            elif number == 3 and end in (b"\x85", b"\xe2\x80\xa8"):
                continue  # bytes like others in a value
            elif number == 4 and end in (b"\x85", b"\xe2\x80\xa8", b"\x0b", b"\x0c"):
                head += b"\r\n"  # a field line without a colon
            elif number == 4 and end == b"\0\r\n":
                head += b"\r\n"
            rows[f"{end} behind {lines[number]}"] = (head + b"hello", 400)
    rows["all LF"] = (b"\n".join(lines) + b"\nhello", 400)
    rows["all CR"] = (b"\r".join(lines) + b"\rhello", 400)
    return rows


def before_the_line():
    good = request_line(b"GET http://{o}/ HTTP/1.1")
    return {
        f"{before}": (before + good, 400)
        for before in (b" ", b"\t", b"\n", b"\r", b"\r\r\n", b"\n\r\n", b"\r\n\n", b"\r\n \r\n",
                       b"\0", b"\r\n\0", b"\xef\xbb\xbf", b"\r\n" * 20, b"\r\n" * 5, b"\x0b",
                       b"X: y\r\n", b":", b"\r\n\r\n\r")  # fmt: skip
    }


TARGET = b"http://{o}/"


def request_lines():
    rows = {
        f"{line}": (request_line(line), 400)
        for line in [
            b" GET " + TARGET + b" HTTP/1.1",
            b"GET  " + TARGET + b" HTTP/1.1",
            b"GET " + TARGET + b"  HTTP/1.1",
            b"GET " + TARGET + b" HTTP/1.1 ",
            b"GET " + TARGET + b" HTTP/1.1\t",
            b"GET\t" + TARGET + b" HTTP/1.1",
            b"GET " + TARGET + b"\tHTTP/1.1",
            b"GET\x0b" + TARGET + b" HTTP/1.1",
            b"GET " + TARGET + b"\x0cHTTP/1.1",
            b"GET\x00 " + TARGET + b" HTTP/1.1",
            b"G\x00ET " + TARGET + b" HTTP/1.1",
            b"GET\xa0" + TARGET + b" HTTP/1.1",
            b"GET " + TARGET + b" x HTTP/1.1",
            b"GET " + TARGET + b" HTTP/1.1 HTTP/1.1",
            b"GET " + TARGET + b" HTTP/1.1x",
            b"GET " + TARGET + b" HTTP/1.1\x00",
            b"GET " + TARGET + b" HTTP/1.10",
            b"GET " + TARGET + b" HTTP/1.1.1",
            b"GET " + TARGET + b" HTTP/01.1",
            b"GET " + TARGET + b" HTTP/1.01",
            b"GET " + TARGET + b" HTTP/1",
            b"GET " + TARGET + b" HTTP/1.",
            b"GET " + TARGET + b" HTTP/.1",
            b"GET " + TARGET + b" HTTP/",
            b"GET " + TARGET + b" HTTP",
            b"GET " + TARGET + b" HTTP/11",
            b"GET " + TARGET + b" HTTP/1,1",
            b"GET " + TARGET + b" HTTP/1.x",
            b"GET " + TARGET + b" HTTP/x.1",
            b"GET " + TARGET + b" HTTP/+1.1",
            b"GET " + TARGET + b" HTTP/-1.1",
            b"GET " + TARGET + b" HTTP/1 .1",
            b"GET " + TARGET + b" HTTP/ 1.1",
            b"GET " + TARGET + b" HTTP /1.1",
            b"GET " + TARGET + b" HTTP/1.\x001",
            b"GET " + TARGET + b" HTTP/1.\xb1",
            b"GET " + TARGET + b" HTTP\\1.1",
            b"GET " + TARGET + b" http/1.1",
            b"GET " + TARGET + b" Http/1.1",
            b"GET " + TARGET + b" HTTPS/1.1",
            b"GET " + TARGET + b" XHTTP/1.1",
            b"GET " + TARGET + b" ICE/1.0",
            b"GET " + TARGET + b" RTSP/1.0",
            b"GET " + TARGET + b" SIP/2.0",
            b"GET " + TARGET + b" ",
            b"GET",
            b"GET ",
            b"G=T " + TARGET + b" HTTP/1.1",
            b"G(T " + TARGET + b" HTTP/1.1",
            b"G\x7fT " + TARGET + b" HTTP/1.1",
            b"G\xc9T " + TARGET + b" HTTP/1.1",
            b"GET: " + TARGET + b" HTTP/1.1",
            b'"GET" ' + TARGET + b" HTTP/1.1",
        ]
    }
    for line in [b"get", b"Get", b"GETT", b"GE", b"X", b"HTTP/1.1"[:4], b"CONNECTX", b"PRI"]:
        rows[f"method {line}"] = (request_line(line + b" " + TARGET + b" HTTP/1.1"), 501)
    return rows


def versions():
    rows = {}
    for version in (b"0.0", b"0.9", b"1.2", b"1.9", b"2.0", b"2.1", b"3.0", b"9.9"):
        rows[f"{version}"] = (request_line(b"GET " + TARGET + b" HTTP/" + version), 505)
        rows[f"{version}, no fields"] = (b"GET " + TARGET + b" HTTP/" + version + b"\r\n\r\n", 505)
    rows["0.9 by its line"] = (b"GET " + TARGET + b"\r\n", 505)
    rows["0.9 with fields"] = (request_line(b"GET " + TARGET), 505)
    rows["0.9 with an empty line"] = (b"GET " + TARGET + b"\r\n\r\n", 505)
    rows["0.9 by a blank that is none"] = (request_line(b"GET " + TARGET + b"\xa0HTTP/1.1"), 505)
    rows["0.9 for POST"] = (b"POST " + TARGET + b"\r\nContent-Length: 5\r\n\r\nhello", 505)
    rows["0.9 ended by LF"] = (b"GET " + TARGET + b"\n", (400, 505))
    rows["0.9 of a path"] = (b"GET /\r\n", (400, 505))
    rows["0.9 ended by CR"] = (b"GET " + TARGET + b"\rX", 400)
    rows["preface of HTTP/2"] = (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505)
    rows["preface with a host"] = (b"PRI * HTTP/2.0\r\nHost: {o}\r\n\r\nSM\r\n\r\n", 505)
    rows["preface with settings"] = (
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0",
        505,
    )
    rows["preface of another version"] = (b"PRI * HTTP/1.1\r\n\r\nSM\r\n\r\n", (400, 501))
    rows["preface of another version, host"] = (
        b"PRI * HTTP/1.1\r\nHost: {o}\r\n\r\nSM\r\n\r\n",
        (400, 501),
    )
    rows["PRI with a URL"] = (b"PRI http://{o}/ HTTP/2.0\r\n\r\nSM\r\n\r\n", 505)
    return rows


def targets():
    rows = {}
    for byte in [*range(0x20), *range(0x7F, 0x100, 9), 0x7F, 0x80, 0xFF]:
        if byte == 0x0D:
            continue  # CR: line_ends() and versions()
        char = bytes([byte])
        rows[f"{byte:#04x} in the path"] = (
            request_line(b"GET http://{o}/a" + char + b"b HTTP/1.1"),
            400,
        )
        rows[f"{byte:#04x} in the host"] = (
            request_line(b"GET http://local" + char + b"host/ HTTP/1.1"),
            400,
        )
    rows["CR in the path"] = (request_line(b"GET http://{o}/a\rb HTTP/1.1"), 400)
    for target in [
        b"http://{o}\\@evil/", b"http://evil\\{o}/", b"http://a@{o}/", b"http://a:b@{o}/",
        b"http://{o}@evil/", b"http://{o}%40evil/", b"http://{o}%2fx/", b"http://{o}%00/",
        b"http://[::1]x/", b"http://[::1", b"http://::1/", b"http://[127.0.0.1]/",
        b"http://a:80:80/", b"http://a:b/", b"http://a:-1/", b"http://a:65616/", b"http://a:+80/",
        b"http://a: 80/", b"http://a:8_0/", b"http://a:0x50/", b"http://a:00000000000000065616/",
        b"http:/{o}/", b"http:{o}/", b"http//{o}/", b"http:///{o}/", b"http://?{o}/", b"//{o}/",
        b"/http://{o}/", b"://{o}/", b"+http://{o}/", b"1http://{o}/", b"*", b"*/", b"\\\\{o}\\",
        b"http://{o}/#x", b"http://{o}#x", b"http://a..b/", b"http://.a/", b"http://a%2eb/",
        b"http://a;b/", b"http://a,b/", b"http://a*b/", b"http://256.1.1.1/", b"http://0x/",
        b"http://1.2.3.4.5/", b"http://[fe80::1%25lo]/", b"http://[::1]:80x/", b"{o}", b"{o}/",
    ]:  # fmt: skip
        rows[f"{target}"] = (request_line(b"GET " + target + b" HTTP/1.1"), 400)
    return rows


CLASSES = {
    "codings": codings,
    "length and coding": both,
    "lengths": lengths,
    "names of framing fields": framing_names,
    "names": names,
    "values": values,
    "hosts": hosts,
    "line ends": line_ends,
    "before the line": before_the_line,
    "request lines": request_lines,
    "versions": versions,
    "targets": targets,
}


def check_refusal(answer, status):
    match = splits.REFUSAL.fullmatch(answer)
    assert match, f"not one whole refusal: {answer!r}"
    assert int(match[2]) == len(match[3]), f"length: {answer!r}"
    allowed = status if isinstance(status, tuple) else (status,)
    assert int(match[1]) in allowed, f"{match[1]} instead of {allowed}: {answer!r}"


class Asker:
    """Sends requests of a table and counts the connections."""

    def __init__(self, lab, proxy, origin):
        self.lab, self.proxy, self.origin = lab, proxy, origin
        self.count = 0

    def __call__(self, request, cuts=None):
        """All that comes back to one connection."""
        data = fill_in(request, self.origin)
        peer = wire.connect(self.proxy.address if cuts is None else splits.unix_path())
        self.count += 1
        try:
            send_split(peer, data, cuts or [])
            answer = peer.read_to_end()
            # How it ends for one that writes on is the matter of one test at the end.
        finally:
            peer.close()
        return answer


@pytest.mark.parametrize("kind", CLASSES)
def test_ambiguous_request_is_refused(lab, kind):
    proxy = two_doors(lab)
    origin = lab.origin()
    ask = Asker(lab, proxy, origin)
    faults = Faults()
    rows = CLASSES[kind]()
    few = len(rows) > 60  # tables of one byte in many places: fewer cuts for each
    for number, (name, (request, status)) in enumerate(rows.items()):
        data = fill_in(request + BEHIND, origin)
        with faults(name):
            whole = ask(data)
            check_refusal(whole, status)
            for cuts in splits.sample_cuts(data, 4 if few else 16, number):
                answer = ask(data, cuts)
                assert splits.without_date(answer) == splits.without_date(
                    whole
                ), f"{splits.told(cuts)}: {answer!r}"
            if number % (2 if few else 1) == 0:
                answer = ask(data, splits.every_byte(data))
                assert splits.without_date(answer) == splits.without_date(
                    whole
                ), f"byte by byte: {answer!r}"
        with faults(name):
            assert not origin.peers, "something connected to the origin"
    faults.check()
    # The same origin is reached by the next who behaves, and was by nobody before.
    assert lab.client(proxy).get(origin.url("/good")).status == 200
    assert [request.target for request in origin.requests] == ["/good"]
    assert len(origin.peers) == 1
    proxy.wait_request(origin.url("/good"))
    lines = proxy.find_lines(event="request")
    assert len(lines) == ask.count + 1
    for line in lines[:-1]:
        assert line["status"] in ("400", "501", "505") and line["rule"].startswith("proto:")
        assert line["upstream"] == "-" and line["end"].startswith("error:")


# --- What may be written in several ways and is read in one --------------------

ACCEPTED = {
    # (method, fields, body): what the origin gets behind Host
    "lengths": [
        (b"Content-Length: 5", b"hello", b"Content-Length: 5\r\n<via>\r\nhello"),
        (b"content-length:5", b"hello", b"Content-Length: 5\r\n<via>\r\nhello"),
        (b"CONTENT-LENGTH: \t 5  ", b"hello", b"Content-Length: 5\r\n<via>\r\nhello"),
        (b"Content-Length: 0", b"", b"Content-Length: 0\r\n<via>\r\n"),
    ],
    "codings": [
        (name + b":" + value, b"5\r\nhello\r\n0\r\n\r\n",
         b"Transfer-Encoding: chunked\r\n<via>\r\n5\r\nhello\r\n0\r\n\r\n")
        for name in (b"Transfer-Encoding", b"TRANSFER-encoding")
        for value in (b" chunked", b"Chunked", b" CHUNKED  ", b"\tchunked")
    ],
    "chunks": [
        (b"Transfer-Encoding: chunked", body, b"Transfer-Encoding: chunked\r\n<via>\r\n" + sent)
        for body, sent in [
            (b"005\r\nhello\r\n000\r\n\r\n", b"5\r\nhello\r\n0\r\n\r\n"),
            (b"A\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n",
             b"a\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n"),
            (b"5;a\r\nhello\r\n0;b\r\n\r\n", b"5\r\nhello\r\n0\r\n\r\n"),
            (b'5;a=b;c="d;\\"e"\r\nhello\r\n0\r\n\r\n', b"5\r\nhello\r\n0\r\n\r\n"),
            (b"5;0\r\nhello\r\n0;5\r\n\r\n", b"5\r\nhello\r\n0\r\n\r\n"),
            (b"0\r\n\r\n", b"0\r\n\r\n"),
            (b"0\r\nX-A: 1\r\nX-B:\r\nx-a: 2\r\n\r\n",
             b"0\r\nX-A: 1\r\nX-B: \r\nx-a: 2\r\n\r\n"),
            (b"1\r\n\r\r\n1\r\n\n\r\n0\r\n\r\n", b"1\r\n\r\r\n1\r\n\n\r\n0\r\n\r\n"),
        ]
    ],
    "fields": [
        (b"X:a\r\nY: \tb \t\r\nZ:", b"", b"X: a\r\nY: b\r\nZ: \r\n<via>\r\n"),
        (b"!#$%&'*+-.^_`|~09azAZ: x", b"", b"!#$%&'*+-.^_`|~09azAZ: x\r\n<via>\r\n"),
        (b"X: a\tb  c\x80\xff: ;,\"", b"", b"X: a\tb  c\x80\xff: ;,\"\r\n<via>\r\n"),
    ],
}  # fmt: skip


def rechunk(data):
    """The request with each run of chunks as one: cut input comes on in other chunks."""
    head, mark, body = data.partition(b"\r\n\r\n")
    if b"\r\nTransfer-Encoding: chunked\r\n" not in head + b"\r\n":
        return data
    content, position = b"", 0
    while True:
        end = body.index(b"\r\n", position)
        size = int(body[position:end], 16)
        assert re.fullmatch(rb"[0-9a-f]+", body[position:end]), data
        position = end + 2
        if size == 0:
            return head + mark + content + b"|" + body[position:]
        content += body[position : position + size]
        assert body[position + size : position + size + 2] == b"\r\n", data
        position += size + 2


@pytest.mark.parametrize("kind", ACCEPTED)
def test_what_is_accepted_goes_on_in_one_spelling(lab, kind):
    """Whole, the origin gets exactly these bytes; cut, the same content under the same head."""
    proxy = two_doors(lab)
    received = []
    origin = lab.origin(lambda peer: take_one(peer, received))
    ask = Asker(lab, proxy, origin)
    faults = Faults()
    for number, (fields, body, sent) in enumerate(ACCEPTED[kind]):
        template = b"POST /attack HTTP/1.1\r\nHost: {o}\r\n" + sent.replace(
            b"<via>", b"Via: 1.1 <me>\r\n"
        )
        request = fill_in(
            b"POST http://{o}/attack HTTP/1.1\r\n"
            + HOST
            + fields
            + b"\r\nConnection: close\r\n\r\n"
            + body,
            origin,
        )
        plain = rechunk(re.sub(rb"viaduct-[0-9a-f]{8}", b"<me>", fill_in(template, origin)))
        for cuts in [None, *splits.sample_cuts(request, 8, number), splits.every_byte(request)]:
            with faults(f"{fields} {body} {splits.told(cuts)}"):
                received.clear()
                answer = ask(request + fill_in(BEHIND, origin), cuts)
                assert answer.startswith(b"HTTP/1.1 200 OK\r\n"), answer
                origin.join()
                got = received[0]
                assert received[1:] == [b""], "more than one request"
                if cuts is None:
                    assert exact(template, origin).fullmatch(got), got
                assert re.sub(rb"viaduct-[0-9a-f]{8}", b"<me>", rechunk(got)) == plain, got
    faults.check()


def take_one(peer, received):
    """An origin that answers one request and ends."""
    received.append(raw_request(peer))
    peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    received.append(peer.read_to_end())


def raw_request(peer):
    """One request, byte for byte."""
    head = peer.read_until(b"\r\n\r\n")
    message = wire.Message(head)
    body = b""
    if message.has("Transfer-Encoding"):
        while True:
            line = peer.read_until(b"\r\n")
            body += line
            size = int(line, 16)
            if size == 0:
                break
            body += peer.read_exactly(size + 2)
        while (line := peer.read_until(b"\r\n")) != b"\r\n":
            body += line
        body += line
    elif message.has("Content-Length"):
        body = peer.read_exactly(int(message.get("Content-Length")))
    return head + body


# --- Chunks -------------------------------------------------------------------

CHUNKED_HEAD = b"POST http://{o}/attack HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n"
CHUNKED_SENT = (
    b"POST /attack HTTP/1.1\r\nHost: {o}\r\nTransfer-Encoding: chunked\r\nVia: 1.1 <me>\r\n\r\n"
)


def check_unfinished(received, origin):
    """What an origin got of a broken upload: nothing, or the head and whole or cut chunks of what
    was sent before the fault, and no last one."""
    if not received:
        return
    head, mark, body = received.partition(b"\r\n\r\n")
    assert exact(CHUNKED_SENT, origin).fullmatch(head + mark), received
    content, rest = b"", body
    while match := re.match(rb"([0-9a-f]+)\r\n", rest):
        size = int(match[1], 16)
        assert size > 0, f"a last chunk went out: {received!r}"
        piece = rest[match.end() : match.end() + size]
        content += piece
        rest = rest[match.end() + size :]
        if len(piece) < size or rest[:2] != b"\r\n":
            assert b"\r\n".startswith(rest), f"broken chunks went out: {received!r}"
            rest = b""
        rest = rest[2:]
    assert re.fullmatch(rb"[0-9a-f]*\r?", rest), f"broken chunks went out: {received!r}"
    good = (
        b"abcdefghi",
        b"abcd" + b"d" * 139,
        b"abcdef",
        b"abcd\r\n",
        b"abc\r\n0",
        b"abcde\r",
        b"abcde\r\n",
    )
    assert any(whole.startswith(content) for whole in good), f"content {content!r}"


@pytest.mark.parametrize("kind", BAD_CHUNKS)
def test_broken_chunks_end_the_request(lab, kind):
    """The head may be on its way by then. The origin must see a request cut short, the client a
    refusal and the end; what stands behind is no request."""
    proxy = two_doors(lab)
    received = []
    origin = lab.origin(lambda peer: received.append(peer.read_to_end()))
    ask = Asker(lab, proxy, origin)
    faults = Faults()
    for number, body in enumerate(BAD_CHUNKS[kind]):
        start = fill_in(CHUNKED_HEAD, origin) + b"3\r\nabc\r\n"
        attack = start + body + fill_in(BEHIND, origin)
        end = len(attack) - len(fill_in(BEHIND, origin))
        if len(attack) > 3000:
            places = [None, [len(start)], [len(start) + 1], [len(start) + 60_000]]
        else:
            places = [None, *([p] for p in range(len(start), end, 3)), splits.every_byte(attack)]
            places += [[len(start) + 1], [len(start) + 2]]
        with faults(f"{body[:60]!r} ({number})"):
            for cuts in places:
                received.clear()
                answer = ask(attack, cuts)
                try:
                    check_refusal(answer, (400, 431) if len(attack) > 1500 else 400)
                except AssertionError as error:
                    raise AssertionError(f"{splits.told(cuts)}: {error}") from None
        with faults(f"{body[:60]!r} ({number})"):
            origin.join()
            for got in received:
                check_unfinished(got, origin)
    faults.check()
    assert not [line for line in proxy.find_lines(event="request") if "smuggled" in line["target"]]
    proxy.wait_for_log(event="request", count=ask.count)
    for line in proxy.find_lines(event="request"):
        assert line["end"].startswith("error:") and line["status"] in ("400", "431")


# --- What stands behind -------------------------------------------------------


def answered_targets(peer):
    """An origin that says what it was asked."""
    while (request := peer.read_request()) is not None:
        peer.send(wire.response_bytes(body=request.target.encode()))


BAD_REQUESTS = {
    "length and coding": (
        post(b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\n"),
        400,
    ),
    "bare LF": (b"GET http://{o}/bad HTTP/1.1\n" + HOST + b"\r\n", 400),
    "version": (request_line(b"GET http://{o}/bad HTTP/2.0"), 505),
    "HTTP/0.9": (b"GET http://{o}/bad\r\n", 505),
    "garbage": (b"hello, this is no request\r\n\r\n", 400),
    "response": (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", (400, 501)),
    "preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    "bytes behind a body": (b"xx", (400, 501)),
}


@pytest.mark.parametrize("case", BAD_REQUESTS)
def test_pipeline_with_an_error_in_it(lab, case):
    """What came before is answered, in order; the fault is refused; nothing behind it is read."""
    bad, status = BAD_REQUESTS[case]
    proxy = two_doors(lab)
    origin = lab.origin(answered_targets)
    ask = Asker(lab, proxy, origin)
    faults = Faults()
    before = (
        b"GET http://{o}/1 HTTP/1.1\r\n" + HOST + b"\r\n"
        b"POST http://{o}/2 HTTP/1.1\r\n" + HOST + b"Content-Length: 2\r\n\r\nhi"
        b"POST http://{o}/3 HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    )
    data = fill_in(before + bad + BEHIND, origin)
    good = b"".join(
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nDate: <date>\r\nVia: 1.1 <me>\r\n\r\n/%d" % number
        for number in (1, 2, 3)
    )
    for cuts in [None, *splits.sample_cuts(data, 12), splits.every_byte(data)]:
        with faults(f"{splits.told(cuts)}"):
            origin.requests.clear()
            answer = ask(data, cuts)
            match = exact(good).match(answer)
            assert match, answer
            check_refusal(answer[match.end() :], status)
            assert [request.target for request in origin.requests] == ["/1", "/2", "/3"]
    faults.check()


def test_content_of_one_request_is_never_another(lab):
    """A whole request as the content of another, by length and in chunks, at every split."""
    proxy = two_doors(lab)
    origin = lab.origin(answered_targets)
    ask = Asker(lab, proxy, origin)
    inner = fill_in(BEHIND, origin)
    faults = Faults()
    for head, body in [
        (b"Content-Length: %d\r\n\r\n" % len(inner), inner),
        (b"Transfer-Encoding: chunked\r\n\r\n", wire.chunked(inner)),
        (b"Transfer-Encoding: chunked\r\n\r\n", wire.chunked(b"\r\n", b"0\r\n\r\n" + inner)),
        (b"Transfer-Encoding: chunked\r\n\r\n", b'3;a="GET /smuggled"\r\nabc\r\n0\r\n\r\n'),
    ]:
        data = fill_in(b"POST http://{o}/outer HTTP/1.1\r\n" + HOST, origin) + head + body
        data += fill_in(
            b"GET http://{o}/last HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n", origin
        )
        for cuts in [None, *splits.sample_cuts(data, 20), splits.every_byte(data)]:
            with faults(f"{head} {splits.told(cuts)}"):
                origin.requests.clear()
                answer = ask(data, cuts)
                assert answer.count(b"HTTP/1.1 200 OK\r\n") == 2, answer
                assert [r.target for r in origin.requests] == ["/outer", "/last"]
    faults.check()


def test_bytes_behind_a_get_without_length_are_the_next_request(lab):
    """No reader may take them for its content: RFC 9112 6.3 rule 7."""
    proxy = two_doors(lab)
    origin = lab.origin(answered_targets)
    ask = Asker(lab, proxy, origin)
    data = fill_in(b"GET http://{o}/1 HTTP/1.1\r\n" + HOST + b"\r\nhello\r\n\r\n" + BEHIND, origin)
    for cuts in [None, *splits.sample_cuts(data, 12), splits.every_byte(data)]:
        origin.requests.clear()
        answer = ask(data, cuts)
        first, _, rest = answer.partition(b"\r\n\r\n/1")
        assert first.startswith(b"HTTP/1.1 200 OK\r\n"), answer
        check_refusal(rest, 400)
        assert [request.target for request in origin.requests] == ["/1"]


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_bytes_behind_the_last_request_are_not_read(lab, version):
    """Behind close, and behind any request of a 1.0 client, at every split."""
    proxy = two_doors(lab)
    origin = lab.origin(answered_targets)
    ask = Asker(lab, proxy, origin)
    fields = b"Connection: keep-alive\r\n" if version == "1.0" else b"Connection: close\r\n"
    line = b"GET http://{o}/1 HTTP/%s\r\n" % version.encode()
    data = fill_in(line + HOST + fields + b"\r\n" + BEHIND, origin)
    for cuts in [None, *splits.sample_cuts(data, 12), splits.every_byte(data)]:
        origin.requests.clear()
        answer = ask(data, cuts)
        assert exact(
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\nDate: <date>\r\n"
            b"Via: 1.1 <me>\r\n\r\n/1"
        ).fullmatch(answer), answer
        assert [request.target for request in origin.requests] == ["/1"]


def test_a_refused_head_gets_no_100(lab):
    client = lab.client(lab.viaduct())
    client.send(post(b"Expect: 100-continue\r\nContent-Length: 5, 5\r\n"))
    check_refusal(client.read_to_end(), 400)


def test_a_broken_body_does_not_spoil_the_response_that_came_before(lab):
    """The origin answers early, then the upload breaks: the client has the response, then the end;
    the origin's connection is not used again."""
    answered = threading.Event()

    def script(peer):
        peer.read_head()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        answered.set()
        assert b"\r\n0\r\n" not in b"\r\n" + peer.read_to_end()

    proxy = lab.viaduct()
    origin = lab.origin(script)
    client = lab.client(proxy)
    client.send(fill_in(CHUNKED_HEAD, origin) + b"3\r\nabc\r\n")
    assert answered.wait(wire.DEADLINE)
    assert client.read_response().body == b"ok"
    client.send(b"zz\r\n" + fill_in(BEHIND, origin))
    client.expect_end()
    assert len(origin.peers) == 1


@pytest.mark.parametrize("status", [400, 200])
def test_client_that_writes_on_behind_the_last_answer_is_not_reset(lab, status):
    """RFC 9112 9.6: what it has in flight when we close would reset the connection under the answer,
    so our side is shut and the rest is read, whether or not some of it was here already."""
    origin = lab.origin()
    client = lab.client(lab.viaduct())
    if status == 200:  # some send an empty line behind content
        head = b"POST http://{o}/ HTTP/1.1\r\n" + HOST + b"Connection: close\r\nContent-Length: 1\r\n"
        client.send(fill_in(head + b"\r\nx", origin))
    else:
        client.send(fill_in(b"GET http://{o}/#x HTTP/1.1\r\n" + HOST + b"\r\n", origin))
    assert client.read_response().status == status
    client.send(fill_in(BEHIND, origin))
    wire.wait_until(lambda: is_reset(client) or splits.is_taken(client), "an acknowledgement")
    assert not is_reset(client)
    client.expect_end("fin")


def is_reset(peer):
    """Whether the connection has ended, both ways."""
    state = peer.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]
    return state == 7  # TCP_CLOSE
