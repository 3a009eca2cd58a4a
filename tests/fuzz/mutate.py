# SPDX-License-Identifier: MIT
"""Requests and responses that are almost right: built from their parts, then bent where parsers
differ from one another. All randomness comes from the random.Random handed in."""

LENGTHS = (
    "0 1 2 3 5 00 03 +3 -1 3, 3,3 3,4 3\t 0x3 3_ 1e1 3; 3.0 ٣ 18446744073709551616 "
    "18446744073709551619 9223372036854775808 99999999999999999999 \x0b3 3\x0c"
).split(" ") + ["", " ", "3 3", "3, 3"]
CODINGS = [
    "chunked",
    "Chunked",
    "chunked ",
    "\tchunked",
    "chunked, chunked",
    "gzip, chunked",
    "chunked, gzip",
    "identity",
    "chunked;q=1",
    "\x0bchunked",
    "chunked\x00",
    "x-chunked",
    "chunk",
    ",chunked",
    "chunked,",
    "",
    '"chunked"',
    "trailers, chunked",
    "identity, chunked",
]
LINE_ENDS = [b"\n", b"\r", b"\r\r\n", b"\n\r", b"\x00\r\n", b" \r\n", b"\r\n ", b"\x0b\r\n"]
VERSIONS = [
    "HTTP/1.0",
    "HTTP/1.2",
    "HTTP/2.0",
    "HTTP/0.9",
    "http/1.1",
    "HTTP/1.1 ",
    "HTTP/1.10",
    "HTTP/1,1",
    "HTTP/01.1",
    "HTTP/1.1\x00",
    "ICE/1.1",
    "",
]
METHODS = (
    "GET HEAD POST PUT DELETE OPTIONS TRACE PATCH PURGE get PRI G\x00T SOURCE M-SEARCH".split()
)
STATUSES = "200 200 200 200 204 304 100 101 103 199 206 404 500 999 000 20 2000 099 1e2".split()
FIELDS = [
    ("Connection", "close"),
    ("Connection", "keep-alive"),
    ("Connection", "X-Named, close"),
    ("Connection", "content-length"),
    ("Connection", "transfer-encoding"),
    ("Connection", "host"),
    ("X-Named", "1"),
    ("Proxy-Connection", "keep-alive"),
    ("Keep-Alive", "timeout=1"),
    ("TE", "trailers"),
    ("TE", "gzip;q=1"),
    ("Trailer", "X-Trailer"),
    ("Upgrade", "websocket"),
    ("Upgrade", "h2c"),
    ("Expect", "100-continue"),
    ("Expect", "200-ok"),
    ("Max-Forwards", "1"),
    ("Via", "1.1 other"),
    ("Proxy-Authorization", "Basic eDp5"),
    ("Cookie", "a=b"),
    ("X-Long", "v" * 3000),
    ("X-Latin", "\xe9\xff"),
    ("X-Empty", ""),
    ("Content-Type", "text/plain"),
    ("Content_Length", "9"),
    ("Content-Length\x00", "9"),
    ("Transfer-Encoding ", "chunked"),
    (" Content-Length", "9"),
    ("Date", "Sun, 06 Nov 1994 08:49:37 GMT"),
    ("X-A", "b\rContent-Length: 9"),
    ("X-A", "b\nTransfer-Encoding: chunked"),
    ("X-A", "b\r\n folded"),
    ("X-A", "b\r\n\tTransfer-Encoding: chunked"),
]
SIZES = "{0:x} {0:X} 0{0:x} 000000000000000000{0:x} +{0:x} 0x{0:x} {0:x}g {0:x}; {0:x};a=b".split()
SIZES += [
    "{0:x} ",
    " {0:x}",
    '{0:x};a="b;c"',
    "{0:x}\t",
    "{0:x};\n",
    "1000000000000000{0:x}",
    "-{0:x}",
]
SIZES += ["{0:x}\x00", "", "{0:x};" + "e" * 500, "{0:x} ;a", "{0:x}\r"]


def bend_bytes(rng, data):
    """One change that knows nothing of HTTP."""
    data = bytearray(data)
    at = rng.randrange(len(data) + 1)
    kind = rng.randrange(6)
    if kind == 0 and at < len(data):
        data[at] ^= 1 << rng.randrange(8)
    elif kind == 1:
        data[at:at] = bytes([rng.choice(b"\r\n\x00 \t:;,/%\x7f\x80\xff0")])
    elif kind == 2:
        del data[at : at + rng.choice((1, 1, 1, 2, 5, 40))]
    elif kind == 3:
        end = at + rng.randrange(1, 40)
        data[at:at] = data[at:end]
    elif kind == 4:
        data = data[:at]
    elif at < len(data):
        data[at] = rng.randrange(256)
    return bytes(data)


def body_of(rng, tag):
    return (tag * 40)[: rng.choice((0, 1, 2, 3, 5, 17, 100, 900))]


class Message:
    """A start line, fields and a body that may still be changed."""

    def __init__(self, start, fields, body, framing):
        self.start = start  # list of three words
        self.fields = list(fields)
        self.body = body
        self.framing = framing  # none, length, chunked, close
        self.blank = " "  # between the words of the start line
        self.end = b"\r\n"  # of one line, chosen when written
        self.bent_line = None
        self.sizes = ["{0:x}"]
        self.last = b"0\r\n\r\n"
        self.bent_bytes = 0
        if framing == "length":
            self.fields.append(("Content-Length", str(len(body))))
        elif framing == "chunked":
            self.fields.append(("Transfer-Encoding", "chunked"))

    def bend(self, rng):
        """One change to the structure."""
        kind = rng.randrange(13)
        fields = self.fields
        at = rng.randrange(len(fields) + 1)
        if kind == 0:
            fields.insert(at, ("Content-Length", rng.choice(LENGTHS)))
        elif kind == 1:
            fields.insert(at, ("Transfer-Encoding", rng.choice(CODINGS)))
        elif kind in (2, 3):
            fields.insert(at, rng.choice(FIELDS))
        elif kind == 4 and fields:
            fields.insert(at, rng.choice(fields))
        elif kind == 5 and fields:
            fields.pop(rng.randrange(len(fields)))
        elif kind == 6 and fields:
            name, value = fields.pop(rng.randrange(len(fields)))
            name = rng.choice(
                (name.upper(), name.lower(), name + " ", "\t" + name, name + "\x00", "")
            )
            fields.insert(at, (name, value))
        elif kind == 7:
            self.bent_line = rng.randrange(len(fields) + 2)
            self.end = rng.choice(LINE_ENDS)
        elif kind == 8:
            self.sizes = [rng.choice(SIZES), "{0:x}"]
            rng.shuffle(self.sizes)
        elif kind == 9:
            self.last = rng.choice(
                (
                    b"0\r\nX-Trailer: 1\r\n\r\n",
                    b"0\r\nContent-Length: 3\r\n\r\n",
                    b"0\r\nHost: b\r\nTransfer-Encoding: chunked\r\n\r\n",
                    b"0\r\nX : 1\r\n\r\n",
                    b"0\r\n X: 1\r\n\r\n",
                    b"0;e=f\r\n\r\n",
                    b"00\r\n\r\n",
                    b"0\n\n",
                    b"0\r\n",
                    b"",
                    b"0\r\n\n",
                    b"0\r\n\rX",
                )
            )
        elif kind == 10:
            self.bend_start(rng)
        elif kind == 11:
            self.blank = rng.choice(("  ", "\t", " \t", "\x0b", "\r", "\xa0"))
        else:
            self.bent_bytes += 1

    def bend_start(self, rng):
        raise NotImplementedError

    def write(self, rng):
        lines = [self.blank.join(self.start)]
        lines += [f"{name}: {value}" for name, value in self.fields]
        lines.append("")
        head = b""
        for number, line in enumerate(lines):
            head += line.encode("latin-1", "replace")
            head += self.end if number == self.bent_line else b"\r\n"
        if self.framing == "chunked":
            data = head + self.write_chunks(rng)
        else:
            data = head + self.body
        for _ in range(self.bent_bytes):
            data = bend_bytes(rng, data)
        return data

    def write_chunks(self, rng):
        out, rest, number = b"", self.body, 0
        while rest:
            size = rng.choice((1, 3, 10, 16, 255, 1000))
            chunk, rest = rest[:size], rest[size:]
            head = self.sizes[number % len(self.sizes)].format(len(chunk))
            out += head.encode() + b"\r\n" + chunk + b"\r\n"
            number += 1
        return out + self.last


class Request(Message):
    def bend_start(self, rng):
        which = rng.randrange(4)
        if which == 0:
            self.start[0] = rng.choice(METHODS)
        elif which == 1:
            self.start[2] = rng.choice(VERSIONS)
        else:
            target = self.start[1]
            self.start[1] = rng.choice(
                (
                    target + "#f",
                    target + "\x00",
                    target + " x",
                    target + "\xe9",
                    target + "?" + "q" * 3000,
                    target + "%0d%0aX: y",
                    target + "/../\\",
                    target.replace("http", "HTTP"),
                    target.replace("http", "https"),
                    target.replace("//", "//u:p@"),
                    target.replace("://", ":///"),
                    "/" + target.split("/", 3)[-1],
                    "*",
                    "",
                )
            )


class Response(Message):
    def bend_start(self, rng):
        which = rng.randrange(3)
        if which == 0:
            self.start[0] = rng.choice(VERSIONS)
        elif which == 1:
            self.start[1] = rng.choice(STATUSES)
        else:
            self.start[2] = rng.choice(("", "OK\rX: y", "\xff\x80", "O\x00K", "x" * 3000, " OK "))


def request(rng, authority, tag, bends):
    """One request to http://AUTHORITY/, with so many bends."""
    method = rng.choice(("GET", "GET", "HEAD", "POST", "POST", "PUT", "DELETE", "OPTIONS"))
    framing = rng.choice(("none", "length", "chunked"))
    if framing != "none" and method == "GET" and rng.random() < 0.7:
        framing = "none"
    body = b"" if framing == "none" else body_of(rng, b"<" + tag.encode() + b">")
    version = "HTTP/1.0" if framing != "chunked" and rng.random() < 0.1 else "HTTP/1.1"
    target = f"http://{authority}/{tag}"
    message = Request([method, target, version], [("Host", authority)], body, framing)
    for name, value in rng.sample(FIELDS[:24], rng.choice((0, 0, 1, 2))):
        message.fields.insert(rng.randrange(len(message.fields) + 1), (name, value))
    for _ in range(bends):
        message.bend(rng)
    return message.write(rng)


def response(rng, tag, bends):
    framing = rng.choice(("length", "length", "chunked", "close"))
    body = body_of(rng, b"[" + tag.encode() + b"]")
    message = Response(["HTTP/1.1", rng.choice(("200", "200", "404")), "OK"], [], body, framing)
    for name, value in rng.sample(FIELDS[:24], rng.choice((0, 0, 1, 2))):
        message.fields.insert(rng.randrange(len(message.fields) + 1), (name, value))
    for _ in range(bends):
        message.bend(rng)
    data = message.write(rng)
    extra = rng.random()
    if bends and extra < 0.08:
        data = (
            rng.choice((b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 E\r\nLink: x\r\n\r\n"))
            + data
        )
    elif bends and extra < 0.16:
        data += rng.choice((b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil", b"x", b"\r\n"))
    return data


def pieces(rng, data):
    """data cut into a few pieces, or not at all."""
    cuts = rng.choice((0, 0, 1, 2, 3))
    places = sorted(rng.randrange(len(data) + 1) for _ in range(cuts))
    out = [data[a:b] for a, b in zip([0, *places], [*places, len(data)])]
    return [piece for piece in out if piece]
