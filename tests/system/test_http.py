# SPDX-License-Identifier: MIT
"""Plain HTTP: what the origin received and what the client received, byte for byte where it
counts."""

import json
import re
import threading

import pytest

import wire
from wire import chunked, request_bytes, response_bytes

VIA = re.compile(r"1\.[01] viaduct-[0-9a-f]{8}")

# Fields that the proxy makes itself; the order of all others must be kept.
MADE_HERE = {"via", "date", "connection", "content-length", "transfer-encoding"}


def relayed(message):
    return [(name, value) for name, value in message.fields if name.lower() not in MADE_HERE]


def exchange(
    lab, proxy, request, response=b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n", to="GET"
):
    """Sends request ({o} stands for the origin's authority) and returns (request at the origin,
    response)."""
    origin = lab.origin(response)
    client = lab.client(proxy)
    client.send(request.replace(b"{o}", origin.authority.encode()))
    answer = client.read_response(to=to)
    return origin.wait_requests(1)[0], answer


# --- Requests -----------------------------------------------------------------


def test_request_reaches_the_origin_byte_for_byte(lab):
    origin = lab.origin()
    client = lab.client(lab.viaduct())
    client.send(
        f"GET http://{origin.authority}/a/b?c=d HTTP/1.1\r\nAccept: */*\r\nHost: {origin.authority}\r\n"
        "X-Empty:\r\nx-lower:  blanks around \t\r\n\r\n".encode()
    )
    client.read_response()
    head = origin.wait_requests(1)[0].raw_head.decode()
    assert re.fullmatch(
        rf"GET /a/b\?c=d HTTP/1\.1\r\nHost: {re.escape(origin.authority)}\r\nAccept: \*/\*\r\n"
        r"X-Empty: ?\r\nx-lower: blanks around\r\nVia: 1\.1 viaduct-[0-9a-f]{8}\r\n\r\n",
        head,
    )


@pytest.mark.parametrize(
    "method, path, sent",
    [
        ("GET", "", "/"),
        ("GET", "/", "/"),
        ("GET", "?query", "/?query"),
        ("GET", "/?", "/?"),
        ("GET", "/a%2Fb/../c;x=1,2//?y=%zz&&=/?:@!$'()*", "/a%2Fb/../c;x=1,2//?y=%zz&&=/?:@!$'()*"),
        ("OPTIONS", "", "*"),
        ("OPTIONS", "/", "/"),
        ("OPTIONS", "?query", "/?query"),
        ("OPTIONS", "/path", "/path"),
    ],
)
def test_target_becomes_origin_form(lab, method, path, sent):
    origin = lab.origin()
    client = lab.client(lab.viaduct())
    client.request(method, f"http://{origin.authority}{path}")
    assert client.read_response().status == 200
    assert origin.requests[0].start == f"{method} {sent} HTTP/1.1"


@pytest.mark.parametrize("scheme", ["http", "HTTP", "hTTp"])
def test_scheme_in_any_case(lab, scheme):
    origin = lab.origin()
    client = lab.client(lab.viaduct())
    assert client.get(f"{scheme}://{origin.authority}/").status == 200


@pytest.mark.parametrize("received", ["elsewhere.example", "elsewhere.example:81", "127.0.0.1"])
def test_host_is_rebuilt_from_the_target(lab, received):
    origin = lab.origin()
    client = lab.client(lab.viaduct())
    assert client.get(origin.url(), [("Host", received)]).status == 200
    assert origin.requests[0].get("Host") == origin.authority
    assert origin.requests[0].names()[0] == "Host"


def test_host_by_name(lab):
    origin = lab.origin()
    client = lab.client(lab.viaduct())
    assert client.get(f"http://LocalHost:{origin.port}/").status == 200
    assert origin.requests[0].get("Host").lower() == f"localhost:{origin.port}"


def test_host_is_made_for_a_1_0_client_that_sends_none(lab):
    request, response = exchange(lab, lab.viaduct(), b"GET http://{o}/ HTTP/1.0\r\n\r\n")
    assert request.start == "GET / HTTP/1.1"
    assert request.get("Host").startswith("127.0.0.1:")
    assert response.status == 200


METHODS = """DELETE GET HEAD POST PUT OPTIONS TRACE COPY LOCK MKCOL MOVE PROPFIND PROPPATCH SEARCH UNLOCK BIND
    REBIND UNBIND ACL REPORT MKACTIVITY CHECKOUT MERGE M-SEARCH NOTIFY SUBSCRIBE UNSUBSCRIBE PATCH PURGE
    MKCALENDAR LINK UNLINK SOURCE QUERY""".split()


def test_every_method_that_the_parser_knows(lab):
    origin = lab.origin(lambda peer: echo_methods(peer))
    client = lab.client(lab.viaduct())
    for method in METHODS:
        body = b"body" if method not in ("GET", "HEAD", "TRACE") else None
        client.request(method, origin.url(f"/{method}"), body=body)
        response = client.read_response(to=method)
        assert (response.status, response.get("X-Method")) == (200, method)
        assert origin.requests[-1].body == (body or b"")


def echo_methods(peer):
    while (request := peer.read_request()) is not None:
        body = b"" if request.method == "HEAD" else b"hi"
        peer.send(response_bytes(fields=[("X-Method", request.method)], body=body))


def test_hop_by_hop_request_fields_end_here(lab):
    request, _ = exchange(
        lab,
        lab.viaduct(),
        b"GET http://{o}/ HTTP/1.1\r\nHost: {o}\r\nA: 1\r\n"
        b"Connection: X-Named, close\r\nConnection: x-also\r\nX-Named: n\r\nX-Also: n\r\n"
        b"Keep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\nUpgrade: h2c\r\n"
        b"Proxy-Authorization: Basic Zm9vOmJhcg==\r\nB: 2\r\n\r\n",
    )
    assert relayed(request)[1:] == [("A", "1"), ("B", "2")]
    assert not request.has("Connection")


def test_connection_cannot_name_host_or_framing_away(lab):
    request, _ = exchange(
        lab,
        lab.viaduct(),
        b"POST http://{o}/ HTTP/1.1\r\nHost: {o}\r\n"
        b"Connection: host, content-length, transfer-encoding\r\nContent-Length: 4\r\n\r\nbody",
    )
    assert request.get("Host") and request.body == b"body" and request.framing == "length"


def test_te_trailers_is_asked_for_anew(lab):
    request, _ = exchange(
        lab,
        lab.viaduct(),
        b"GET http://{o}/ HTTP/1.1\r\nHost: {o}\r\n"
        b"TE: trailers, deflate;q=0.5\r\nConnection: TE\r\n\r\n",
    )
    assert request.get("TE") == "trailers"
    assert request.get("Connection").lower() == "te"


def test_repeated_fields_stay_repeated_in_their_order(lab):
    fields = [
        ("X-R", "1"),
        ("Cookie", "a"),
        ("x-r", "2"),
        ("Cookie", "b"),
        ("X-R", ""),
        ("X-R", "1"),
    ]
    answers = [
        ("Set-Cookie", "a=1"),
        ("X-S", "1"),
        ("Set-Cookie", "b=2, c"),
        ("x-s", "2"),
        ("Set-Cookie", "a=1"),
    ]
    origin = lab.origin(response_bytes(fields=answers))
    response = lab.client(lab.viaduct()).get(origin.url(), fields)
    assert relayed(origin.requests[0])[1:] == fields
    assert relayed(response) == answers


def test_via_names_the_received_version_behind_what_is_there(lab):
    for version in ("1.0", "1.1"):
        request, response = exchange(
            lab,
            lab.viaduct(),
            f"GET http://{{o}}/ HTTP/{version}\r\nHost: {{o}}\r\nVia: 1.0 fred, 1.1 p\r\n\r\n".encode(),
            b"HTTP/1.0 200 OK\r\nVia: 1.1 cache\r\nContent-Length: 0\r\n\r\n",
        )
        entries = [entry.strip() for value in request.all("Via") for entry in value.split(",")]
        assert entries[:2] == ["1.0 fred", "1.1 p"] and len(entries) == 3
        assert re.fullmatch(rf"{re.escape(version)} viaduct-[0-9a-f]{{8}}", entries[2])
        entries = [entry.strip() for value in response.all("Via") for entry in value.split(",")]
        assert entries[0] == "1.1 cache" and re.fullmatch(r"1\.0 viaduct-[0-9a-f]{8}", entries[1])


def test_via_off(lab):
    request, response = exchange(
        lab, lab.viaduct("server.via=off"), b"GET http://{o}/ HTTP/1.1\r\nHost: {o}\r\n\r\n"
    )
    assert not request.has("Via") and not response.has("Via") and not response.has("Proxy-Status")


def test_name_stands_in_via(lab):
    proxy = lab.viaduct("server.name=edge")
    request, _ = exchange(lab, proxy, b"GET http://{o}/ HTTP/1.1\r\nHost: {o}\r\n\r\n")
    assert re.fullmatch(r"1\.1 edge-[0-9a-f]{8}", request.get("Via"))


def test_empty_lines_before_a_request_do_not_count(lab):
    _, response = exchange(
        lab, lab.viaduct(), b"\r\n\r\nGET http://{o}/ HTTP/1.1\r\nHost: {o}\r\n\r\n"
    )
    assert response.status == 200


def test_large_heads_pass(lab):
    fields = [(f"X-{i}", "v" * 3000) for i in range(18)]
    origin = lab.origin(response_bytes(fields=fields))
    response = lab.client(lab.viaduct()).get(origin.url("/" + "p" * 8000), fields)
    assert response.status == 200 and relayed(response) == fields
    assert relayed(origin.requests[0])[1:] == fields


@pytest.mark.parametrize(
    "option, field", [("rfc7239", "Forwarded"), ("x-forwarded-for", "X-Forwarded-For")]
)
def test_origin_is_told_the_client_when_asked(lab, option, field):
    proxy = lab.viaduct("listen test.address=127.0.0.1:0", f"listen test.forwarded={option}")
    request, _ = exchange(lab, proxy, b"GET http://{o}/ HTTP/1.1\r\nHost: {o}\r\n\r\n")
    assert "127.0.0.1" in request.get(field)
    request, _ = exchange(lab, lab.viaduct(), b"GET http://{o}/ HTTP/1.1\r\nHost: {o}\r\n\r\n")
    assert not request.has(field)


# --- Requests that are refused ------------------------------------------------

HOST = b"Host: {o}\r\n"

REFUSED = {
    # what is wrong: (request, status)
    "origin-form": (b"GET /path HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "asterisk-form": (b"OPTIONS * HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "authority-form for GET": (b"GET {o} HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "userinfo": (b"GET http://user:password@{o}/ HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "empty userinfo": (b"GET http://@{o}/ HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "fragment": (b"GET http://{o}/#top HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "empty host": (b"GET http:///path HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "empty host with port": (b"GET http://:80/path HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "port too large": (b"GET http://127.0.0.1:65536/ HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "port zero": (b"GET http://127.0.0.1:0/ HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "port with a sign": (b"GET http://127.0.0.1:+80/ HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "bad IPv6 literal": (b"GET http://[::1/ HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "https in the clear": (b"GET https://{o}/ HTTP/1.1\r\n" + HOST + b"\r\n", 501),
    "unknown scheme": (b"GET ftp://{o}/ HTTP/1.1\r\n" + HOST + b"\r\n", 501),
    "unknown method": (b"FROB http://{o}/ HTTP/1.1\r\n" + HOST + b"\r\n", 501),
    "method in lower case": (b"get http://{o}/ HTTP/1.1\r\n" + HOST + b"\r\n", 501),
    "method no token": (b"G@T http://{o}/ HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "HTTP/0.9": (b"GET http://{o}/\r\n\r\n", 505),
    "HTTP/2.0": (b"GET http://{o}/ HTTP/2.0\r\n" + HOST + b"\r\n", 505),
    "HTTP/1.2": (b"GET http://{o}/ HTTP/1.2\r\n" + HOST + b"\r\n", 505),
    "HTTP/2 preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    "no Host": (b"GET http://{o}/ HTTP/1.1\r\n\r\n", 400),
    "two Hosts": (b"GET http://{o}/ HTTP/1.1\r\n" + HOST + HOST + b"\r\n", 400),
    "invalid Host": (b"GET http://{o}/ HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
    "bare LF": (b"GET http://{o}/ HTTP/1.1\nHost: {o}\n\n", 400),
    "bare CR in a value": (b"GET http://{o}/ HTTP/1.1\r\n" + HOST + b"A: b\rc\r\n\r\n", 400),
    "NUL in a value": (b"GET http://{o}/ HTTP/1.1\r\n" + HOST + b"A: b\0c\r\n\r\n", 400),
    "folded field": (b"GET http://{o}/ HTTP/1.1\r\n" + HOST + b"A: b\r\n c\r\n\r\n", 400),
    "blank before the colon": (b"GET http://{o}/ HTTP/1.1\r\n" + HOST + b"A : b\r\n\r\n", 400),
    "blank before the first field": (
        b"GET http://{o}/ HTTP/1.1\r\n A: b\r\n" + HOST + b"\r\n",
        400,
    ),
    "field without colon": (b"GET http://{o}/ HTTP/1.1\r\n" + HOST + b"Field\r\n\r\n", 400),
    "field without name": (b"GET http://{o}/ HTTP/1.1\r\n" + HOST + b": b\r\n\r\n", 400),
    "two blanks in the request line": (b"GET  http://{o}/ HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "length and chunked": (
        b"POST http://{o}/ HTTP/1.1\r\n"
        + HOST
        + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    "two lengths": (
        b"POST http://{o}/ HTTP/1.1\r\n"
        + HOST
        + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
        400,
    ),
    "length with a sign": (
        b"POST http://{o}/ HTTP/1.1\r\n" + HOST + b"Content-Length: +5\r\n\r\nhello",
        400,
    ),
    "negative length": (
        b"POST http://{o}/ HTTP/1.1\r\n" + HOST + b"Content-Length: -1\r\n\r\nhello",
        400,
    ),
    "empty length": (b"POST http://{o}/ HTTP/1.1\r\n" + HOST + b"Content-Length:\r\n\r\n", 400),
    "length in hex": (
        b"POST http://{o}/ HTTP/1.1\r\n" + HOST + b"Content-Length: 0x5\r\n\r\nhello",
        400,
    ),
    "length that overflows": (
        b"POST http://{o}/ HTTP/1.1\r\n" + HOST + b"Content-Length: 18446744073709551617\r\n\r\nh",
        400,
    ),
    "unknown coding": (
        b"POST http://{o}/ HTTP/1.1\r\n"
        + HOST
        + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        501,
    ),
    "chunked not last": (
        b"POST http://{o}/ HTTP/1.1\r\n"
        + HOST
        + b"Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
        (400, 501),
    ),
    "chunked twice": (
        b"POST http://{o}/ HTTP/1.1\r\n"
        + HOST
        + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    "chunked in 1.0": (
        b"POST http://{o}/ HTTP/1.0\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    "TLS to the plain port": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 64, 400),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(lab, case):
    request, status = REFUSED[case]
    proxy = lab.viaduct()
    origin = lab.origin()
    client = lab.client(proxy)
    client.send(request.replace(b"{o}", origin.authority.encode()))
    response = client.read_response()
    assert response.status in (status if isinstance(status, tuple) else (status,))
    assert response.get("Connection") == "close"
    assert response.body
    client.expect_end()
    line = proxy.wait_for_log(event="request", status=str(response.status))
    assert (
        line["upstream"] == "-" and line["end"] != "complete" and line["rule"].startswith("proto:")
    )
    assert len(proxy.find_lines(event="request")) == 1
    assert not origin.peers


def test_refusal_of_origin_form_says_how_to_use_a_proxy(lab):
    client = lab.client(lab.viaduct())
    client.send(b"GET / HTTP/1.1\r\nHost: proxy\r\n\r\n")
    assert "proxy" in client.read_response().body.decode().lower()


BAD_CHUNKS = {
    "size no number": b"x\r\nabc\r\n0\r\n\r\n",
    "size with a sign": b"+3\r\nabc\r\n0\r\n\r\n",
    "size with 0x": b"0x3\r\nabc\r\n0\r\n\r\n",
    "size empty": b"\r\nabc\r\n0\r\n\r\n",
    "size overflows": b"10000000000000003\r\nabc\r\n0\r\n\r\n",
    "data too long": b"3\r\nabcd\r\n0\r\n\r\n",
    "LF behind the size": b"3\nabc\r\n0\r\n\r\n",
    "LF behind the data": b"3\r\nabc\n0\r\n\r\n",
    "LF behind a trailer": b"3\r\nabc\r\n0\r\nA: b\n\r\n",
}


@pytest.mark.parametrize("case", BAD_CHUNKS)
def test_broken_chunks_never_look_complete_to_the_origin(lab, case):
    heads = []
    origin = lab.origin(lambda peer: heads.append(read_until_cut(peer)))
    proxy = lab.viaduct()
    client = lab.client(proxy)
    client.send(
        request_bytes("POST", origin.url("/bad-chunks"), [("Transfer-Encoding", "chunked")])
        + BAD_CHUNKS[case]
    )
    response = client.read_response()
    assert response.status == 400 and response.get("Connection") == "close"
    assert proxy.wait_request(origin.url("/bad-chunks"))["status"] == "400"
    origin.join()
    assert all(cut for cut in heads), "the origin saw a whole request"


def read_until_cut(peer):
    """How the request was cut, or None when it was whole. True when nothing came."""
    request = peer.read_head()
    if request is None:
        return True
    peer.read_body(request, "chunked", may_be_cut=True)
    return request.cut


def test_limits_of_head_target_and_fields(lab):
    proxy = lab.viaduct("limits.head_bytes=4K", "limits.target_bytes=1K", "limits.fields=20")
    origin = lab.origin()
    for target, fields, status in [
        (origin.url("/" + "x" * 2000), [], 414),
        (origin.url(), [("X", "x" * 5000)], 431),
        (origin.url(), [("X", "x")] * 21, 431),
        (origin.url("/" + "x" * 900), [("X", "x" * 2000)], 200),
    ]:
        client = lab.client(proxy)
        client.request("GET", target, fields)
        response = client.read_response()
        assert response.status == status
        if status != 200:
            client.expect_end()
    assert len(origin.requests) == 1


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_limit_of_the_request_body(lab, framing):
    proxy = lab.viaduct("limits.body_bytes=1000")
    whole = []
    origin = lab.origin(lambda peer: limited_body(peer, whole))
    for size, status in [(1000, 200), (1001, 413)]:
        client = lab.client(proxy)
        if framing == "length":
            client.request("POST", origin.url(), body=b"x" * size)
        else:
            client.send(
                request_bytes("POST", origin.url(), [("Transfer-Encoding", "chunked")])
                + chunked(b"x" * 500, b"x" * (size - 500))
            )
        assert client.read_response().status == status
    assert whole == [1000]


def limited_body(peer, whole):
    request = peer.read_head()
    if request is None:
        return
    peer.read_body(request, peer._request_framing(request), may_be_cut=True)
    if not request.cut:
        whole.append(len(request.body))
        peer.send(response_bytes())


@pytest.mark.parametrize(
    "accept, kind",
    [
        (None, "text/plain"),
        ("*/*", "text/plain"),
        ("text/html,application/xhtml+xml,*/*;q=0.8", "text/html"),
        ("application/json", "application/json"),
        ("text/html;q=0.2, application/json;q=0.9", "application/json"),
    ],
)
def test_own_answers_come_in_the_form_that_accept_prefers(lab, accept, kind):
    client = lab.client(lab.viaduct())
    response = client.get("ftp://host/<b>", [("Accept", accept)] if accept else [])
    assert response.status == 501
    assert response.get("Content-Type").startswith(kind)
    assert "viaduct" in response.get("Proxy-Status")
    assert response.get("Date") and response.get("Cache-Control") == "no-store"
    assert b"<b>" not in response.body or kind != "text/html"
    if kind == "application/json":
        json.loads(response.body)


def test_own_answer_to_head_has_no_body(lab):
    client = lab.client(lab.viaduct())
    client.request("HEAD", "ftp://host/")
    response = client.read_response(to="HEAD")
    assert response.status == 501
    client.finish()
    client.expect_end()


def test_a_request_to_the_proxy_itself_is_a_loop(lab):
    proxy = lab.viaduct("dns.family=ipv4")
    for host in ("127.0.0.1", "localhost"):
        url = f"http://{host}:{proxy.port}/"
        response = lab.client(proxy).get(url)
        assert response.status == 403 and "builtin:loop" in response.reason
        assert "error=proxy_loop_detected" in response.get("Proxy-Status")
        line = proxy.wait_request(url)
        assert (line["status"], line["rule"], line["end"]) == ("403", "builtin:loop", "denied")


def test_own_via_is_a_loop_and_that_of_another_is_none(lab):
    proxy = lab.viaduct()
    origin = lab.origin()
    lab.client(proxy).get(origin.url())
    own = origin.requests[0].get("Via")
    assert lab.client(proxy).get(origin.url(), [("Via", f"1.1 other, {own}")]).status == 403
    assert lab.client(proxy).get(origin.url(), [("Via", "1.1 viaduct-00000000")]).status == 200
    assert len(origin.requests) == 2


@pytest.mark.parametrize("method", ["TRACE", "OPTIONS"])
def test_max_forwards(lab, method):
    proxy = lab.viaduct()
    origin = lab.origin()
    client = lab.client(proxy)
    client.request(method, origin.url("/x"), [("Max-Forwards", "0")])
    response = client.read_response()
    assert response.status == 200 and not origin.requests
    client.request(method, origin.url("/x"), [("Max-Forwards", "3")])
    assert client.read_response().status == 200
    assert origin.requests[0].get("Max-Forwards") == "2"


# --- Responses ----------------------------------------------------------------


def test_response_reaches_the_client_as_the_origin_sent_it(lab):
    answer = (
        b"HTTP/1.1 299 Quite  Fine \xe9\r\nServer: origin\r\ndate: Mon, 01 Jan 2024 00:00:00 GMT\r\n"
        b'X-Empty:\r\nContent-Length: 5\r\nETag: "x"\r\n\r\nhello'
    )
    _, response = exchange(
        lab, lab.viaduct(), b"GET http://{o}/ HTTP/1.1\r\nHost: {o}\r\n\r\n", answer
    )
    assert response.start == "HTTP/1.1 299 Quite  Fine \xe9"
    assert relayed(response) == [("Server", "origin"), ("X-Empty", ""), ("ETag", '"x"')]
    assert response.get("Date") == "Mon, 01 Jan 2024 00:00:00 GMT"
    assert VIA.fullmatch(response.get("Via"))
    assert response.body == b"hello" and response.framing == "length"
    assert not response.has("Connection") and not response.has("Keep-Alive")


def test_date_is_added_to_a_response_without_one(lab):
    _, response = exchange(lab, lab.viaduct(), b"GET http://{o}/ HTTP/1.1\r\nHost: {o}\r\n\r\n")
    assert re.fullmatch(
        r"[A-Z][a-z]{2}, \d{2} [A-Z][a-z]{2} \d{4} \d{2}:\d{2}:\d{2} GMT", response.get("Date")
    )


def test_hop_by_hop_response_fields_end_here(lab):
    answer = (
        b"HTTP/1.1 200 OK\r\nA: 1\r\nConnection: X-Named, keep-alive\r\nX-Named: n\r\nKeep-Alive: timeout=9\r\n"
        b"Proxy-Connection: keep-alive\r\nProxy-Authenticate: Basic realm=x\r\nUpgrade: h2c\r\nB: 2\r\n"
        b"Content-Length: 0\r\n\r\n"
    )
    _, response = exchange(
        lab, lab.viaduct(), b"GET http://{o}/ HTTP/1.1\r\nHost: {o}\r\n\r\n", answer
    )
    assert relayed(response) == [("A", "1"), ("B", "2")]


def test_blank_before_the_colon_of_a_response_field_is_stripped(lab):
    _, response = exchange(
        lab,
        lab.viaduct(),
        b"GET http://{o}/ HTTP/1.1\r\nHost: {o}\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA : 1\r\nContent-Length : 2\r\n\r\nhi",
    )
    assert response.get("A") == "1" and response.body == b"hi"


SIZES = [0, 1, 100, 70_000, 1_500_000]


ORIGINS = [
    ("length", "1.0"),
    ("length", "1.1"),
    ("chunked", "1.1"),
    ("close", "1.0"),
    ("close", "1.1"),
]


@pytest.mark.parametrize("client_version", ["1.0", "1.1"])
@pytest.mark.parametrize("framing, origin_version", ORIGINS)
def test_response_bodies(lab, framing, origin_version, client_version):
    proxy = lab.viaduct()

    def script(peer):
        size = int(peer.read_request().target[1:])
        peer.send(
            response_bytes(
                body=bytes(i % 251 for i in range(size)), framing=framing, version=origin_version
            )
        )

    origin = lab.origin(script)
    for size in SIZES:
        client = lab.client(proxy)
        client.request("GET", origin.url(f"/{size}"), version=client_version)
        response = client.read_response()
        assert response.version == "HTTP/1.1"
        assert response.body == bytes(i % 251 for i in range(size))
        if client_version == "1.0":
            assert response.framing != "chunked"
            client.expect_end("fin")
        line = proxy.wait_request(origin.url(f"/{size}"))
        assert (line["status"], line["end"], line["version"]) == (
            "200",
            "complete",
            f"HTTP/{client_version}",
        )


def test_1_0_client_is_not_kept(lab):
    client = lab.client(lab.viaduct())
    origin = lab.origin()
    client.request("GET", origin.url(), [("Connection", "keep-alive")], version="1.0")
    response = client.read_response()
    assert response.body == b"ok\n" and response.get("Connection") in (None, "close")
    client.expect_end("fin")


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_request_bodies(lab, framing, size):
    body = bytes(i % 253 for i in range(size))
    origin = lab.origin()
    client = lab.client(lab.viaduct())
    if framing == "length":
        client.request("PUT", origin.url(), body=body)
    else:
        client.send(
            request_bytes("PUT", origin.url(), [("Transfer-Encoding", "chunked")])
            + chunked(body[:7], body[7:])
        )
    assert client.read_response().status == 200
    assert origin.requests[0].body == body and origin.requests[0].framing == framing


def test_chunk_extensions_end_here(lab):
    origin = lab.origin()
    client = lab.client(lab.viaduct())
    client.send(
        request_bytes("PUT", origin.url(), [("Transfer-Encoding", "chunked")])
        + b'5;a=b;c="d e"\r\nhello\r\n0;last\r\n\r\n'
    )
    assert client.read_response().status == 200
    assert origin.requests[0].body == b"hello"


def test_get_with_a_body_and_post_without(lab):
    origin = lab.origin()
    client = lab.client(lab.viaduct())
    client.request("GET", origin.url(), body=b"query")
    client.read_response()
    client.request("POST", origin.url())
    client.read_response()
    client.request("POST", origin.url(), body=b"")
    client.read_response()
    assert [request.body for request in origin.requests] == [b"query", b"", b""]
    assert origin.requests[2].get("Content-Length") == "0"


def test_bodies_run_both_ways_at_once(lab):
    """The origin answers each chunk before the next is sent: whoever waits for the whole request
    hangs."""
    rounds = 50

    def script(peer):
        peer.read_head()
        peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(rounds):
            size = int(peer.read_until(b"\r\n"), 16)
            data = peer.read_exactly(size + 2)[:-2]
            peer.send(b"%x\r\n%s\r\n" % (size, data[::-1]))
        assert peer.read_until(b"0\r\n\r\n") == b"0\r\n\r\n"
        peer.send(b"0\r\n\r\n")

    origin = lab.origin(script)
    client = lab.client(lab.viaduct())
    client.send(request_bytes("POST", origin.url(), [("Transfer-Encoding", "chunked")]))
    response = client.read_response_head()
    assert response.status == 200 and response.get("Transfer-Encoding") == "chunked"
    for number in range(rounds):
        client.send(b"6\r\n%06d\r\n" % number)
        assert client.read_exactly(11) == b"6\r\n%s\r\n" % (b"%06d" % number)[::-1]
    client.send(b"0\r\n\r\n")
    assert client.read_exactly(5) == b"0\r\n\r\n"


def test_large_bodies_run_both_ways_at_once(lab):
    """Each side sends all it has without reading first; the response ends after the request."""
    size = 8 << 20
    payload = bytes(range(256)) * (size // 256)
    seen = []

    def script(peer):
        request = peer.read_head()
        sender = threading.Thread(target=peer.send, args=(response_bytes(body=payload)[:-1],))
        sender.start()
        peer.read_body(request, "length")
        seen.append(request.body == payload)
        sender.join()
        peer.send(payload[-1:])

    origin = lab.origin(script)
    client = lab.client(lab.viaduct())
    upload = request_bytes("POST", origin.url(), body=payload)
    sender = threading.Thread(target=client.send, args=(upload,))
    sender.start()
    assert client.read_response().body == payload
    sender.join()
    origin.join()
    assert seen == [True]


def test_trailers_both_ways(lab):
    """Fields that may not stand in a trailer are left out (RFC 9110 6.5.1)."""

    def script(peer):
        peer.read_request()
        peer.send(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n"
            + chunked(b"data", trailers=[("X-Sum", "1"), ("Connection", "close"), ("X-Sum", "2")])
        )

    origin = lab.origin(script)
    client = lab.client(lab.viaduct())
    client.send(
        request_bytes("POST", origin.url(), [("Transfer-Encoding", "chunked"), ("Trailer", "X-Up")])
        + chunked(b"up", trailers=[("Host", "evil"), ("X-Up", "yes"), ("Authorization", "x")])
    )
    response = client.read_response()
    assert response.body == b"data"
    assert response.trailers == [("X-Sum", "1"), ("X-Sum", "2")]
    assert origin.requests[0].trailers == [("X-Up", "yes")]
    assert not response.has("X-Sum") and not origin.requests[0].has("X-Up")


@pytest.mark.parametrize("trailer", [("Content-Length", "7"), ("Transfer-Encoding", "gzip")])
def test_framing_in_a_request_trailer_is_refused_or_left_out(lab, trailer):
    cuts, trailers = [], []

    def script(peer):
        request = peer.read_head()
        if request is not None:
            peer.read_body(request, "chunked", may_be_cut=True)
            cuts.append(request.cut)
            trailers.extend(request.trailers)
            if not request.cut:
                peer.send(response_bytes())

    origin = lab.origin(script)
    client = lab.client(lab.viaduct())
    client.send(
        request_bytes("POST", origin.url(), [("Transfer-Encoding", "chunked")])
        + chunked(b"up", trailers=[trailer])
    )
    status = client.read_response().status
    client.close()
    origin.join()
    assert not trailers
    assert (status == 400 and all(cuts)) or (status == 200 and cuts == [None])


def test_trailers_are_dropped_for_a_1_0_client(lab):
    origin = lab.origin(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        + chunked(b"data", trailers=[("X", "1")])
    )
    client = lab.client(lab.viaduct())
    client.request("GET", origin.url(), version="1.0")
    assert client.read_response().body == b"data"


# --- Interim responses, and messages without content --------------------------


def test_expect_continue(lab):
    def script(peer):
        request = peer.read_head()
        assert request.get("Expect") == "100-continue"
        assert peer.is_silent(0.1), "the body came before it was asked for"
        peer.send(b"HTTP/1.1 100 Continue\r\nX-Interim: 1\r\n\r\n")
        peer.read_body(request, "length")
        peer.send(response_bytes(body=request.body.upper()))

    origin = lab.origin(script)
    client = lab.client(lab.viaduct())
    client.send(
        request_bytes("POST", origin.url(), [("Expect", "100-continue"), ("Content-Length", "5")])
    )
    interim = client.read_response_head()
    assert interim.status == 100 and interim.get("X-Interim") == "1"
    client.send(b"hello")
    assert client.read_response().body == b"HELLO"


def test_expect_continue_refused_by_the_origin(lab):
    def script(peer):
        peer.read_head()
        peer.send(b"HTTP/1.1 417 No\r\nContent-Length: 0\r\n\r\n")
        peer.read_to_end()

    origin = lab.origin(script)
    proxy = lab.viaduct()
    client = lab.client(proxy)
    client.send(
        request_bytes("POST", origin.url(), [("Expect", "100-continue"), ("Content-Length", "5")])
    )
    assert client.read_response().status == 417
    client.close()
    assert proxy.wait_request(origin.url())["status"] == "417"


def test_expect_of_a_1_0_client_is_ignored(lab):
    request, response = exchange(
        lab,
        lab.viaduct(),
        b"POST http://{o}/ HTTP/1.0\r\nExpect: 100-continue\r\n" b"Content-Length: 2\r\n\r\nhi",
    )
    assert request.body == b"hi" and not request.has("Expect") and not response.interim


def test_every_interim_response_is_relayed_as_it_comes(lab):
    gate = threading.Event()

    def script(peer):
        peer.read_request()
        peer.send(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nLink: </b>\r\n\r\n")
        assert gate.wait(wire.DEADLINE)
        peer.send(
            b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </c>\r\n\r\n"
            b"HTTP/1.1 199 Odd\r\n\r\n" + response_bytes(body=b"final")
        )

    origin = lab.origin(script)
    client = lab.client(lab.viaduct())
    client.request("GET", origin.url())
    hints = client.read_response_head()
    assert hints.status == 103 and hints.all("Link") == ["</a>", "</b>"]
    assert (
        not hints.has("Date")
        and not hints.has("Content-Length")
        and not hints.has("Transfer-Encoding")
    )
    gate.set()
    response = client.read_response()
    assert [interim.status for interim in response.interim] == [102, 103, 199]
    assert response.body == b"final"


def test_a_1_0_client_gets_no_interim_response(lab):
    origin = lab.origin(
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + response_bytes(body=b"final")
    )
    client = lab.client(lab.viaduct())
    client.request("GET", origin.url(), version="1.0")
    response = client.read_response()
    assert response.status == 200 and response.body == b"final" and not response.interim


@pytest.mark.parametrize(
    "method, answer, length",
    [
        ("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 12345\r\n\r\n", "12345"),
        ("HEAD", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", None),
        ("HEAD", b"HTTP/1.1 404 Not Found\r\n\r\n", None),
        ("GET", b"HTTP/1.1 204 No Content\r\n\r\n", None),
        ("DELETE", b"HTTP/1.1 204 No Content\r\n\r\n", None),
        ("GET", b'HTTP/1.1 304 Not Modified\r\nETag: "x"\r\n\r\n', None),
        ("GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 777\r\n\r\n", "777"),
    ],
)
def test_messages_without_content(lab, method, answer, length):
    """No content follows, whatever the fields say, and both connections go on."""
    origin = lab.origin(answer)
    client = lab.client(lab.viaduct())
    for _ in range(2):
        client.request(method, origin.url())
        response = client.read_response(to=method)
        assert response.status == int(answer[9:12])
        assert response.get("Content-Length") == length
        if response.status == 204:
            assert not response.has("Transfer-Encoding")
    assert len(origin.peers) == 1, "the origin's connection was not used again"
    assert client.is_silent(0.05)


# --- Order, and answers that come early ---------------------------------------


def test_pipelined_requests_are_answered_in_order(lab):
    gate = threading.Event()

    def slow(peer):
        while (request := peer.read_request()) is not None:
            assert gate.wait(wire.DEADLINE)
            peer.send(response_bytes(body=b"slow " + request.target.encode()))

    def fast(peer):
        while (request := peer.read_request()) is not None:
            peer.send(response_bytes(body=b"fast " + request.target.encode(), framing="chunked"))

    first, second = lab.origin(slow), lab.origin(fast)
    client = lab.client(lab.viaduct())
    client.send(
        request_bytes("GET", first.url("/1"))
        + request_bytes("POST", second.url("/2"), body=b"x" * 3000)
        + request_bytes("GET", second.url("/3"))
        + request_bytes("GET", first.url("/4"))
    )
    first.wait_requests(1)
    assert client.is_silent(0.1)
    gate.set()
    bodies = [client.read_response().body for _ in range(4)]
    assert bodies == [b"slow /1", b"fast /2", b"fast /3", b"slow /4"]


def test_many_pipelined_requests(lab):
    def script(peer):
        while (request := peer.read_request()) is not None:
            peer.send(response_bytes(body=request.target.encode()))

    origin = lab.origin(script)
    client = lab.client(lab.viaduct())
    count = 300
    sender = threading.Thread(
        target=client.send,
        args=(b"".join(request_bytes("GET", origin.url(f"/{i}")) for i in range(count)),),
    )
    sender.start()
    assert [client.read_response().body for _ in range(count)] == [b"/%d" % i for i in range(count)]
    sender.join()


def test_bytes_behind_close_are_not_processed(lab):
    origin = lab.origin()
    client = lab.client(lab.viaduct())
    client.send(
        request_bytes("GET", origin.url("/1"), [("Connection", "close")])
        + request_bytes("GET", origin.url("/2"))
    )
    assert client.read_response().get("Connection") == "close"
    client.expect_end()
    assert [request.target for request in origin.requests] == ["/1"]


def test_an_early_final_response_reaches_the_client(lab):
    def script(peer):
        request = peer.read_head()
        assert request.get("Content-Length") == "10000000"
        peer.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 4\r\nConnection: close\r\n\r\nmuch")
        peer.finish()
        peer.read_to_end()

    origin = lab.origin(script)
    proxy = lab.viaduct()
    client = lab.client(proxy)
    client.send(
        request_bytes("PUT", origin.url("/early"), [("Content-Length", "10000000")]) + b"x" * 1000
    )
    response = client.read_response()
    assert response.status == 413 and response.body == b"much"
    client.close()
    assert proxy.wait_request(origin.url("/early"))["status"] == "413"


def test_a_client_that_writes_on_after_an_early_response_still_reads_it(lab):
    """Closing at once would reset the connection under the response (RFC 9112 9.6)."""

    def script(peer):
        peer.read_head()
        peer.send(response_bytes("403 No", body=b"no"))
        peer.finish()
        peer.read_to_end()

    origin = lab.origin(script)
    client = lab.client(lab.viaduct())
    client.send(request_bytes("PUT", origin.url(), [("Content-Length", "3000000")]))
    try:
        client.send(b"x" * 3_000_000)
    except (BrokenPipeError, ConnectionResetError):
        pytest.fail("the client was reset while it was sending")
    assert client.read_response().status == 403


# --- The line in the log ------------------------------------------------------


def test_log_line_of_a_request(lab):
    proxy = lab.viaduct()
    origin = lab.origin()
    client = lab.client(proxy)
    request = request_bytes("POST", origin.url("/log?x=1"), body=b"hello")
    client.send(request)
    response = client.read_response()
    line = proxy.wait_request(origin.url("/log?x=1"))
    expected = {
        "client": "127.0.0.1",
        "user": "-",
        "listener": "test",
        "method": "POST",
        "version": "HTTP/1.1",
        "status": "200",
        "rule": "local",
        "would_deny": "-",
        "route": "direct",
        "upstream": origin.authority,
        "reused": "no",
        "end": "complete",
        "bytes_in": str(len(request)),
        "bytes_out": str(len(response.raw_head) + len(response.body)),
    }
    assert {key: line.get(key) for key in expected} == expected
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["time"])
    for key in ("connect_ms", "wait_ms", "total_ms"):
        assert re.fullmatch(r"\d+", line[key]), key
    assert line["id"]


def test_untrusted_text_is_escaped_in_the_log(lab):
    proxy = lab.viaduct()
    client = lab.client(proxy)
    client.send(b'GET /a"b\\c=d"end=complete HTTP/1.1\r\nHost: x\r\n\r\n')
    assert client.read_response().status == 400
    line = proxy.wait_for_log(event="request", status="400")
    assert line["target"] == '/a"b\\c=d"end=complete'
