# SPDX-License-Identifier: MIT
"""What the RFCs demand of a proxy, in tables: each row with a client and an origin of HTTP/1.0 and of
1.1, in all four combinations, byte for byte on both sides. What test_http.py says of one
combination in detail is not said again."""

import re

import pytest

import wire
from splits import Faults, exact, fill_in

COMBINATIONS = [(client, origin) for client in ("1.1", "1.0") for origin in ("1.1", "1.0")]

WEBSOCKET = b"Connection: Upgrade\r\nUpgrade: websocket\r\n"


class Request:
    """A row: what the client sends below its request line and Host, and what the origin gets below
    its own; <connection> and <via> stand for what the proxy adds."""

    def __init__(self, fields, sent, body=b"", sent_body=None, method=b"GET", sent_1_0=None,
                 path=b"/a?b", only=None):  # fmt: skip
        self.fields, self.body, self.method, self.path = fields, body, method, path
        self.sent = {"1.1": sent, "1.0": sent if sent_1_0 is None else sent_1_0}
        self.sent_body = body if sent_body is None else sent_body
        self.only = only  # the one client version of this row


REQUESTS = {
    "nothing": Request(b"", b""),
    "fields in their order": Request(
        b"B: 2\r\nA: 1\r\nb: 3\r\nCookie: x\r\nA:\r\nCookie: y\r\n",
        b"B: 2\r\nA: 1\r\nb: 3\r\nCookie: x\r\nA: \r\nCookie: y\r\n",
    ),
    "unknown fields": Request(
        b"X-Unknown: a\r\nDNT: 1\r\nPriority: u=1\r\nSec-Fetch-Site: none\r\nAuthorization: x\r\n"
        b"Pragma: no-cache\r\nRange: bytes=0-1\r\nIf-None-Match: *\r\nAccept-Encoding: gzip\r\n",
        b"X-Unknown: a\r\nDNT: 1\r\nPriority: u=1\r\nSec-Fetch-Site: none\r\nAuthorization: x\r\n"
        b"Pragma: no-cache\r\nRange: bytes=0-1\r\nIf-None-Match: *\r\nAccept-Encoding: gzip\r\n",
    ),
    "bytes that are not ASCII": Request(b"X: \xe9\xff\x80\r\n", b"X: \xe9\xff\x80\r\n"),
    "blanks around values": Request(b"X:  a \t b\t \r\n", b"X: a \t b\r\n"),
    "length": Request(
        b"A: 1\r\nContent-Length: 5\r\nB: 2\r\n",
        b"A: 1\r\nB: 2\r\nContent-Length: 5\r\n",
        b"hello",
        method=b"POST",
    ),
    "length 0": Request(b"Content-Length: 0\r\n", b"Content-Length: 0\r\n", method=b"PUT"),
    "length with GET": Request(b"Content-Length: 2\r\n", b"Content-Length: 2\r\n", b"hi"),
    "no length with POST": Request(b"", b"", method=b"POST"),
    "chunked": Request(
        b"Transfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"3;x=y\r\nabc\r\n002\r\nde\r\n0;z\r\n\r\n",
        b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
        method=b"POST",
        only="1.1",
    ),
    "chunked with trailers": Request(
        b"Transfer-Encoding: chunked\r\nTrailer: X-T\r\n",
        b"Trailer: X-T\r\nTransfer-Encoding: chunked\r\n",
        b"3\r\nabc\r\n0\r\nX-T: 1\r\nHost: evil\r\nContent-Type: x\r\nx-t: 2\r\n\r\n",
        b"3\r\nabc\r\n0\r\nX-T: 1\r\nx-t: 2\r\n\r\n",
        method=b"POST",
        only="1.1",
    ),
    "what Connection names": Request(
        b"Connection: A, b\r\nA: 1\r\nB: 2\r\nC: 3\r\nCONNECTION: c,keep-alive, ,\r\na: 4\r\nD: 5\r\n",
        b"D: 5\r\n",
    ),
    "what Connection names and is not there": Request(b"Connection: x, y\r\nA: 1\r\n", b"A: 1\r\n"),
    "Connection that names what it may not": Request(
        b"Connection: host, content-length, transfer-encoding, via\r\nContent-Length: 2\r\n",
        b"Content-Length: 2\r\n",
        b"hi",
        method=b"POST",
    ),
    "Connection that names itself": Request(b"Connection: connection\r\nA: 1\r\n", b"A: 1\r\n"),
    "hop by hop": Request(
        b"Keep-Alive: timeout=1\r\nProxy-Connection: A\r\nA: 1\r\nTE: gzip\r\nUpgrade: x\r\n"
        b"Proxy-Authorization: Basic eDp5\r\nproxy-authorization: Bearer z\r\n",
        b"A: 1\r\n",
    ),
    "TE": Request(
        b"TE: trailers;q=0.5, trailers\r\nConnection: te\r\n",
        b"Connection: TE\r\nTE: trailers\r\n",
        sent_1_0=b"",
    ),
    "Upgrade": Request(WEBSOCKET, WEBSOCKET, sent_1_0=b""),
    "Upgrade with a version and without h2c": Request(
        b"connection: upgrade\r\nUpgrade: h2c, Foo/1.0\r\nUpgrade: H2C\r\nUpgrade: bar\r\n",
        b"Connection: Upgrade\r\nUpgrade: Foo/1.0, bar\r\n",
        sent_1_0=b"",
    ),
    "Upgrade to h2c": Request(
        b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n", b""
    ),
    "Upgrade to h2c, its settings not named": Request(
        b"Connection: Upgrade\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n", b""
    ),
    "Upgrade and TE": Request(
        b"Connection: TE, Upgrade\r\nTE: trailers\r\nUpgrade: x\r\n",
        b"Connection: TE, Upgrade\r\nTE: trailers\r\nUpgrade: x\r\n",
        sent_1_0=b"",
    ),
    "Upgrade that Connection does not name": Request(b"Upgrade: websocket\r\n", b""),
    "Expect": Request(
        b"Expect: 100-continue\r\nContent-Length: 2\r\n",
        b"Expect: 100-continue\r\nContent-Length: 2\r\n",
        b"hi",
        method=b"POST",
        sent_1_0=b"Content-Length: 2\r\n",
    ),
    "Via": Request(
        b"Via: 1.0 a, 1.1 b (c, d)\r\nvia: 2 e\r\n", b"Via: 1.0 a, 1.1 b (c, d)\r\nvia: 2 e\r\n"
    ),
    "Max-Forwards of GET": Request(b"Max-Forwards: 0\r\n", b"Max-Forwards: 0\r\n"),
    "Max-Forwards of OPTIONS": Request(
        b"A: 1\r\nMAX-Forwards: 1\r\nB: 2\r\n",
        b"A: 1\r\nB: 2\r\nMax-Forwards: 0\r\n",
        method=b"OPTIONS",
    ),
    "Max-Forwards of TRACE": Request(
        b"Max-Forwards: 100\r\n", b"Max-Forwards: 99\r\n", method=b"TRACE"
    ),
    "Max-Forwards large": Request(
        b"Max-Forwards: 18446744073709551615\r\n",
        b"Max-Forwards: 18446744073709551614\r\n",
        method=b"OPTIONS",
    ),
    "OPTIONS of the origin": Request(b"", b"", method=b"OPTIONS", path=b""),
    "HEAD": Request(b"", b"", method=b"HEAD"),
    "the longest path": Request(b"", b"", path=b"/" + b"p" * 9000),
    "path byte for byte": Request(b"", b"", path=b"/%7e/./..//%zz?;=%00&\"<>[]{}|\\^`'"),
}


def origin_script(received, version, to):
    def script(peer):
        request = peer.read_head()
        if request is None:
            return
        expected = to.get("body", b"")
        body = peer.read_exactly(len(expected))
        received.append(request.raw_head + body)
        peer.send(b"HTTP/%s 200 OK\r\nContent-Length: 0\r\n\r\n" % version.encode())
        rest = peer.read_to_end()
        if rest:
            received.append(rest)

    return script


@pytest.mark.parametrize("client_version, origin_version", COMBINATIONS)
def test_requests(lab, client_version, origin_version):
    """What the origin receives, byte for byte, always as HTTP/1.1."""
    proxy = lab.viaduct()
    faults = Faults()
    for name, row in REQUESTS.items():
        if row.only and row.only != client_version:
            continue
        with faults(name):
            received = []
            origin = lab.origin(origin_script(received, origin_version, {"body": row.sent_body}))
            client = lab.client(proxy)
            client.send(
                fill_in(
                    row.method + b" http://{o}" + row.path + b" HTTP/" + client_version.encode()
                    + b"\r\nHost: elsewhere.example\r\n" + row.fields + b"\r\n" + row.body,
                    origin,
                )
            )  # fmt: skip
            got = client.read_response(to=row.method.decode())
            assert got.status == 200, got
            client.close()
            path = row.path or (b"*" if row.method == b"OPTIONS" else b"/")
            want = (
                row.method + b" " + path + b" HTTP/1.1\r\nHost: {o}\r\n" + row.sent[client_version]
                + b"Via: " + client_version.encode() + b" <me>\r\n\r\n" + row.sent_body
            )  # fmt: skip
            assert exact(want, origin).fullmatch(received[0]), received[0]
            assert len(received) == 1
            origin.close()
    faults.check()


# --- Responses ----------------------------------------------------------------


class Response:
    """A row: what the origin sends below its status line, and what a client gets below its own: the
    fields kept, and those that the body needs, by the version of the client."""

    def __init__(self, fields, kept, body=b"", framed=None, status=b"200 OK", got_status=None,
                 method=b"GET", framing=b"", date=False, only=None, interim=b""):  # fmt: skip
        self.fields, self.kept, self.body, self.status = fields, kept, body, status
        self.got_status = got_status or status
        self.method, self.date, self.only, self.interim = method, date, only, interim
        # {client version: (framing field, body as it comes)}
        self.framed = framed or {"1.1": (framing, body), "1.0": (framing, body)}


def streamed(body, chunks):
    """A body of unknown length: chunks for 1.1, the end of the connection for 1.0."""
    return {"1.1": (b"Transfer-Encoding: chunked\r\n", chunks), "1.0": (b"", body)}


DATE = b"Date: Mon, 01 Jan 2024 00:00:00 GMT\r\n"

RESPONSES = {
    "length": Response(b"Content-Length: 2\r\nA: 1\r\n", b"A: 1\r\n", b"ok", framing=b"Content-Length: 2\r\n"),
    "length 0": Response(b"Content-Length: 0\r\n", b"", framing=b"Content-Length: 0\r\n"),
    "length in odd case": Response(b"cONTENT-lENGTH:002\r\n", b"", b"ok", framing=b"Content-Length: 2\r\n"),
    "until close": Response(
        b"A: 1\r\nConnection: close\r\n", b"A: 1\r\n", b"ok", streamed(b"ok", b"2\r\nok\r\n0\r\n\r\n")
    ),
    "until close, empty": Response(b"Connection: close\r\n", b"", b"", streamed(b"", b"0\r\n\r\n")),
    "chunked": Response(
        b"Transfer-Encoding: Chunked\r\n",
        b"",
        b"1;x\r\no\r\n01\r\nk\r\n00\r\n\r\n",
        streamed(b"ok", b"1\r\no\r\n1\r\nk\r\n0\r\n\r\n"),
        only="1.1",
    ),
    "chunked with trailers": Response(
        b"Transfer-Encoding: chunked\r\nTrailer: X-T\r\n",
        b"Trailer: X-T\r\n",
        b"2\r\nok\r\n0\r\nX-T: 1\r\nConnection: x\r\nSet-Cookie: x\r\nX-T: 2\r\n\r\n",
        streamed(b"ok", b"2\r\nok\r\n0\r\nX-T: 1\r\nX-T: 2\r\n\r\n"),
        only="1.1",
    ),
    "HEAD, length": Response(
        b"Content-Length: 7\r\n", b"", method=b"HEAD", framing=b"Content-Length: 7\r\n"
    ),
    "HEAD, nothing": Response(b"A: 1\r\n", b"A: 1\r\n", method=b"HEAD"),
    "204": Response(b"A: 1\r\n", b"A: 1\r\n", status=b"204 No Content"),
    "304": Response(b"ETag: x\r\n", b"ETag: x\r\n", status=b"304 Not Modified"),
    "304, length": Response(
        b"Content-Length: 7\r\n", b"", status=b"304 Not Modified", framing=b"Content-Length: 7\r\n"
    ),
    "what Connection names": Response(
        b"Connection: A, keep-alive\r\nA: 1\r\nB: 2\r\nconnection: C\r\nc: 3\r\nContent-Length: 0\r\n",
        b"B: 2\r\n",
        framing=b"Content-Length: 0\r\n",
    ),
    "Connection that names the length": Response(
        b"Connection: content-length\r\nContent-Length: 2\r\n", b"", b"ok", framing=b"Content-Length: 2\r\n"
    ),
    "hop by hop": Response(
        b"Keep-Alive: timeout=9\r\nProxy-Connection: x\r\nTE: trailers\r\nUpgrade: h2c, TLS/1.2\r\n"
        b"Proxy-Authenticate: Basic\r\nA: 1\r\nContent-Length: 0\r\n",
        b"A: 1\r\n",
        framing=b"Content-Length: 0\r\n",
    ),
    "fields in their order": Response(
        b"Set-Cookie: a=1\r\nA: 1\r\nSet-Cookie: b=2, c=3\r\na: 2\r\nVary:\r\nContent-Length: 0\r\n",
        b"Set-Cookie: a=1\r\nA: 1\r\nSet-Cookie: b=2, c=3\r\na: 2\r\nVary: \r\n",
        framing=b"Content-Length: 0\r\n",
    ),
    "Date": Response(DATE + b"Content-Length: 0\r\n", DATE, framing=b"Content-Length: 0\r\n", date=True),
    "Via": Response(
        b"Via: 1.1 cache (x)\r\nContent-Length: 0\r\n",
        b"Via: 1.1 cache (x)\r\n",
        framing=b"Content-Length: 0\r\n",
    ),
    "bytes that are not ASCII": Response(
        b"X: \xe9\xff\r\nContent-Length: 0\r\n",
        b"X: \xe9\xff\r\n",
        framing=b"Content-Length: 0\r\n",
        status=b"200 Tr\xe8s\tbien",
    ),
    "blanks before the colon": Response(
        b"A : 1\r\nB\t \t: 2\r\nContent-Length : 0\r\n",
        b"A: 1\r\nB: 2\r\n",
        framing=b"Content-Length: 0\r\n",
    ),
    "no reason": Response(
        b"Content-Length: 0\r\n", b"", framing=b"Content-Length: 0\r\n", status=b"200", got_status=b"200 "
    ),
    "407 of an origin": Response(
        b"Proxy-Authenticate: Basic realm=x\r\nContent-Length: 0\r\n",
        b"",
        framing=b"Content-Length: 0\r\n",
        status=b"407 Mine",
    ),
    "599": Response(b"Content-Length: 0\r\n", b"", framing=b"Content-Length: 0\r\n", status=b"599 X"),
    "205": Response(b"Content-Length: 0\r\n", b"", framing=b"Content-Length: 0\r\n", status=b"205 X"),
    "interim": Response(
        b"Content-Length: 2\r\n",
        b"",
        b"ok",
        framing=b"Content-Length: 2\r\n",
        only="1.1",
        interim=b"103 Early Hints\r\nLink: </a>\r\nConnection: X\r\nX: 1\r\nLink: </b>\r\n",
    ),
}  # fmt: skip


@pytest.mark.parametrize("client_version, origin_version", COMBINATIONS)
def test_responses(lab, client_version, origin_version):
    """What the client receives, byte for byte, always as HTTP/1.1; then a client of 1.1 asks again
    over the same connection, and that of a client of 1.0 ends."""
    proxy = lab.viaduct()
    faults = Faults()
    version = origin_version.encode()
    for name, row in RESPONSES.items():
        if row.only and row.only != origin_version:
            continue
        with faults(name):
            answer = b"HTTP/%s %s\r\n%s\r\n%s" % (version, row.status, row.fields, row.body)
            if row.interim:
                answer = b"HTTP/1.1 " + row.interim + b"\r\n" + answer
            origin = lab.origin(
                lambda peer, answer=answer: (peer.read_request(), peer.send(answer))
            )
            client = lab.client(proxy)
            request = wire.request_bytes(row.method.decode(), origin.url(), version=client_version)
            client.send(request)
            field, body = row.framed[client_version]
            want = b"HTTP/1.1 " + row.got_status + b"\r\n" + row.kept + field
            want += b"Connection: close\r\n" if client_version == "1.0" else b""
            want += b"" if row.date else b"Date: <date>\r\n"
            want += b"Via: " + version + b" <me>\r\n\r\n" + body
            if row.interim and client_version == "1.1":
                want = (
                    b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nLink: </b>\r\nVia: 1.1 <me>\r\n\r\n"
                    + want
                )
            if client_version == "1.1":
                # The next answer marks the end of this one.
                client.send(wire.request_bytes("GET", "ftp://next/", [("Connection", "close")]))
                got, mark, _ = client.read_to_end().partition(
                    b"HTTP/1.1 501 Not Implemented by rule proto:scheme\r\n"
                )
                assert mark, got
            else:
                got = client.read_to_end()
            assert client.ended == "fin"
            assert exact(want).fullmatch(got), got
            origin.close()
    faults.check()


@pytest.mark.parametrize("client_version, origin_version", COMBINATIONS)
def test_content_both_ways(lab, client_version, origin_version):
    """Every framing of the request with every framing of the response."""
    proxy = lab.viaduct()
    faults = Faults()
    uploads = ["none", "length"] + (["chunked"] if client_version == "1.1" else [])
    downloads = ["length", "close"] + (["chunked"] if origin_version == "1.1" else [])
    content = bytes(range(256)) * 400
    for upload in uploads:
        for download in downloads:
            with faults(f"{upload}, {download}"):
                answer = wire.response_bytes(body=content, framing=download, version=origin_version)
                origin = lab.origin(
                    lambda peer, answer=answer: (peer.read_request(), peer.send(answer))
                )
                client = lab.client(proxy)
                fields = [("Transfer-Encoding", "chunked")] if upload == "chunked" else []
                body = {"none": None, "length": content, "chunked": wire.chunked(content)}[upload]
                client.send(
                    wire.request_bytes("POST", origin.url(), fields, body, version=client_version)
                )
                got = client.read_response()
                assert got.body == content
                want = "close" if client_version == "1.0" else "chunked"
                assert got.framing == ("length" if download == "length" else want)
                sent = origin.wait_requests(1)[0]
                assert sent.framing == upload and sent.body == (
                    b"" if upload == "none" else content
                )
                client.close()
                origin.close()
    faults.check()


# --- TRACE, OPTIONS and Max-Forwards ------------------------------------------


@pytest.mark.parametrize("version", ["1.1", "1.0"])
def test_trace_is_echoed_without_credentials(lab, version):
    """RFC 9110 9.3.8: the request as it came, byte for byte, less what scripts must not see."""
    origin = lab.origin()
    client = lab.client(lab.viaduct())
    head = (
        b"TRACE http://{o}/x?y HTTP/" + version.encode() + b"\r\nHost: {o}\r\n<a>A: 1\r\n"
        b"Max-Forwards: 0\r\n<b>Connection: close, X\r\nX: 2\r\nVia: 1.0 fred\r\n\r\n"
    )
    secrets = [
        b"Authorization: Basic c2VjcmV0\r\n",
        b"authorization: Bearer c2VjcmV0\r\n",
        b"Proxy-Authorization: Basic c2VjcmV0\r\nPROXY-AUTHORIZATION: c2VjcmV0\r\n",
        b"Cookie: c2VjcmV0\r\ncookie: c2VjcmV0\r\n",
        b"Cookie2: c2VjcmV0\r\n",
    ]
    sent = head.replace(b"<a>", secrets[0] + secrets[2]).replace(
        b"<b>", secrets[1] + secrets[3] + secrets[4]
    )
    client.send(fill_in(sent, origin))
    got = client.read_response()
    client.expect_end("fin")
    assert (got.status, got.get("Content-Type")) == (200, "message/http")
    assert b"c2VjcmV0" not in got.body
    assert got.body == fill_in(head.replace(b"<a>", b"").replace(b"<b>", b""), origin)
    assert not origin.peers


HOPS = {
    # value: what goes on, or None when the proxy answers
    b"0": None,
    b"00": None,
    b" \t0 ": None,
    b"1": b"0",
    b"010": b"9",
    b"4294967296": b"4294967295",
}


@pytest.mark.parametrize("method", [b"TRACE", b"OPTIONS"])
@pytest.mark.parametrize("version", [b"1.1", b"1.0"])
def test_max_forwards(lab, method, version):
    proxy = lab.viaduct()
    faults = Faults()
    for value, sent in HOPS.items():
        for path in (b"/x", b""):
            with faults(f"{value} {path}"):
                origin = lab.origin()
                client = lab.client(proxy)
                client.send(
                    fill_in(
                        method + b" http://{o}" + path + b" HTTP/" + version
                        + b"\r\nHost: {o}\r\nMax-Forwards:" + value + b"\r\n\r\n", origin,
                    )
                )  # fmt: skip
                got = client.read_response()
                assert got.status == 200
                if sent is None:
                    assert not origin.peers
                    assert method == b"TRACE" or got.body == b""
                else:
                    assert origin.requests[0].get("Max-Forwards").encode() == sent
                client.close()
                origin.close()
    faults.check()


@pytest.mark.parametrize("method", [b"TRACE", b"OPTIONS"])
def test_max_forwards_that_can_be_read_in_two_ways(lab, method):
    """Two values, or what is no number: whatever is done, nothing that some reader takes for 0 or for
    more hops than allowed goes on."""
    proxy = lab.viaduct()
    origin = lab.origin()
    faults = Faults()
    for fields in (
        b"Max-Forwards: 0\r\nMax-Forwards: 5\r\n",
        b"Max-Forwards: 5\r\nMax-Forwards: 0\r\n",
        b"Max-Forwards: 5, 0\r\n",
        b"Max-Forwards: 0, 5\r\n",
        b"Max-Forwards: -1\r\n",
        b"Max-Forwards: +0\r\n",
        b"Max-Forwards: 0x0\r\n",
        b"Max-Forwards: 1.5\r\n",
        b"Max-Forwards: none\r\n",
        b"Max-Forwards:\r\n",
        b"Max-Forwards: 99999999999999999999999\r\n",
    ):
        with faults(f"{fields}"):
            client = lab.client(proxy)
            client.send(
                fill_in(
                    method + b" http://{o}/x HTTP/1.1\r\nHost: {o}\r\n" + fields + b"\r\n", origin
                )
            )
            got = client.read_response()
            client.close()
            seen = origin.requests[:]
            origin.requests.clear()
            assert got.status in (200, 400) and not seen
    faults.check()


def test_trace_takes_no_content(lab):
    origin = lab.origin()
    for body in (b"Content-Length: 5\r\n\r\nhello", b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"):
        client = lab.client(lab.viaduct())
        client.send(fill_in(b"TRACE http://{o}/ HTTP/1.1\r\nHost: {o}\r\n", origin) + body)
        assert client.read_response().status == 400
        client.expect_end()
    assert not origin.peers


# --- Upgrade ------------------------------------------------------------------


def upgraded(protocol):
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: %s\r\n\r\n" % protocol
    )


ASKED = [("Connection", "Upgrade"), ("Upgrade", "websocket, foo/2")]

SWITCHES = {
    # the origin's Upgrade: whether it may go on
    b"websocket": True,
    b"WebSocket": True,
    b"foo/2": True,
    b"websocket, foo/2": True,
    b"foo": False,
    b"foo/1": False,
    b"websocket, h2c": False,
    b"h2c": False,
    b"web socket": False,
    b"websocket;x=y": False,
    b'"websocket"': False,
    b"": False,
    b",": False,
    b", ,": False,
    b"websocket\r\nUpgrade: h2c": False,
    b"h2c\r\nUpgrade: websocket": False,
}


def test_101_only_for_what_was_offered(lab):
    proxy = lab.viaduct()
    faults = Faults()
    for protocol, fine in SWITCHES.items():
        with faults(f"{protocol}"):
            origin = lab.origin(
                lambda peer, answer=upgraded(protocol): (
                    peer.read_request(), peer.send(answer + b"hi"), peer.read_to_end()
                )
            )  # fmt: skip
            client = lab.client(proxy)
            got = client.get(origin.url("/ws"), ASKED)
            assert got.status == (101 if fine else 502), got
            if fine:
                assert got.get("Upgrade").encode() == protocol
                assert got.get("Connection").lower() == "upgrade"
                assert client.read_exactly(2) == b"hi"
            client.close()
            origin.join()
            origin.close()
    faults.check()


def test_101_byte_for_byte(lab):
    answer = (
        b"HTTP/1.1 101 Go\r\nA: 1\r\nConnection: upgrade, X\r\nX: 1\r\nKeep-Alive: 1\r\n"
        b"Content-Length: 5\r\nUpgrade: websocket\r\nB: 2\r\n\r\nfirst"
    )
    origin = lab.origin(lambda peer: (peer.read_request(), peer.send(answer), peer.finish()))
    client = lab.client(lab.viaduct())
    client.request("GET", origin.url(), ASKED)
    got = client.read_to_end()
    assert exact(
        b"HTTP/1.1 101 Go\r\nA: 1\r\nB: 2\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Via: 1.1 <me>\r\n\r\nfirst"
    ).fullmatch(got), got


def test_101_before_the_content_has_left(lab):
    """The rest of the content would be taken for the new protocol, or the other way round."""

    def script(peer):
        peer.read_head()
        peer.send(upgraded(b"websocket"))
        peer.read_to_end()

    origin = lab.origin(script)
    client = lab.client(lab.viaduct())
    client.request("POST", origin.url(), [*ASKED, ("Content-Length", "10")])
    client.send(b"half")
    assert client.read_response().status == 502
    client.expect_end()
    origin.join()


@pytest.mark.parametrize("version", ["1.1", "1.0"])
def test_h2c_is_never_forwarded(lab, version):
    proxy = lab.viaduct()
    origin = lab.origin()
    for fields in (
        [("Connection", "Upgrade, HTTP2-Settings"), ("Upgrade", "h2c"), ("HTTP2-Settings", "AAMA")],
        [("Connection", "Upgrade"), ("Upgrade", "H2C")],
        [("Connection", "Upgrade"), ("Upgrade", "websocket, h2c")],
        [("Connection", "Upgrade"), ("Upgrade", "h2c,websocket")],
        [("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Upgrade", "\th2c")],
        [("Connection", "Upgrade"), ("Upgrade", ",,h2c,")],
        [("Connection", "upgrade"), ("UPGRADE", "h2c"), ("HTTP2-Settings", "AAMA")],
        [("Upgrade", "h2c"), ("Connection", "x"), ("Connection", "UPGRADE")],
    ):
        client = lab.client(proxy)
        client.request("GET", origin.url(), fields, version=version)
        assert client.read_response().status == 200
        head = origin.requests[-1].raw_head.lower()
        assert b"h2c" not in head and b"http2-settings" not in head, head
        client.close()


def test_upgrade_answered_otherwise_leaves_http(lab):
    """200 or 426 to a request for an upgrade: its body is framed as ever, and what the origin says
    of Upgrade ends here."""
    for answer in (b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 426 Upgrade Required\r\n"):
        origin = lab.origin(
            answer + b"Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 2\r\n\r\nok"
        )
        client = lab.client(lab.viaduct())
        for _ in range(2):
            got = client.get(origin.url(), ASKED)
            assert got.body == b"ok" and not got.has("Upgrade") and not got.has("Connection")
        assert re.search(rb"\r\nUpgrade: websocket, foo/2\r\n", origin.requests[0].raw_head)
