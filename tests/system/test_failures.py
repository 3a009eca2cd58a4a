# SPDX-License-Identifier: MIT
"""Failure is an answer: status, reason, Proxy-Status, body and log line for each; what is cut
looks cut."""

import socket
import threading
import time

import pytest

import wire
from dns_server import NXDOMAIN, REFUSED, SERVFAIL, DnsServer, Reply
from wire import free_port, request_bytes, response_bytes, wait_until

# --- No connection ------------------------------------------------------------


@pytest.fixture
def dns():
    with DnsServer() as server:
        yield server


def check_failure(lab, proxy, method, target, status, error, end):
    """One request that must fail, and all places that must say so."""
    client = lab.client(proxy)
    client.request(method, target)
    response = client.read_response()
    assert response.status == status
    assert response.reason
    proxy_status = response.get("Proxy-Status")
    assert proxy_status.startswith("viaduct") and f"error={error}" in proxy_status
    assert response.body.strip() and response.get("Content-Type").startswith("text/plain")
    line = proxy.wait_request(target)
    assert (line["status"], line["end"]) == (str(status), end)
    return response, line


METHODS = ["GET", "CONNECT"]


def target_of(method, authority):
    return authority if method == "CONNECT" else f"http://{authority}/x"


NO_ADDRESS = {
    "nxdomain": (Reply(rcode=NXDOMAIN), "error:dns-nxdomain"),
    "nodata": (Reply(), "error:dns-nodata"),
    "servfail": (Reply(rcode=SERVFAIL), "error:dns-failed"),
    "refused": (Reply(rcode=REFUSED), "error:dns-failed"),
}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("case", NO_ADDRESS)
def test_name_that_does_not_resolve(lab, dns, method, case):
    reply, end = NO_ADDRESS[case]
    dns.add("nowhere.test", reply)
    proxy = lab.fresh(f"dns.servers={dns.address}")
    response, line = check_failure(
        lab, proxy, method, target_of(method, "nowhere.test:80"), 502, "dns_error", end
    )
    if case == "nxdomain":
        assert 'rcode="NXDOMAIN"' in response.get("Proxy-Status")
    assert line["upstream"] == "-"


@pytest.mark.parametrize("method", METHODS)
def test_name_server_that_is_silent(lab, dns, method):
    dns.add("nowhere.test", Reply(drop=True))
    proxy = lab.fresh(f"dns.servers={dns.address}", "timeouts.dns=400ms")
    target = target_of(method, "nowhere.test:80")
    check_failure(lab, proxy, method, target, 504, "dns_timeout", "timeout:dns")


@pytest.mark.parametrize("method", METHODS)
def test_connection_refused(lab, method):
    port = free_port()
    _, line = check_failure(
        lab,
        lab.viaduct(),
        method,
        target_of(method, f"127.0.0.1:{port}"),
        502,
        "connection_refused",
        "error:connection-refused",
    )
    assert line["upstream"] == f"127.0.0.1:{port}"


@pytest.mark.parametrize("method", METHODS)
def test_refused_on_every_address_of_a_name(lab, method):
    check_failure(
        lab,
        lab.viaduct(),
        method,
        target_of(method, f"localhost:{free_port()}"),
        502,
        "connection_refused",
        "error:connection-refused",
    )


@pytest.mark.parametrize("method", METHODS)
def test_address_without_a_route(lab, method):
    """The kernel connects to no multicast address: ENETUNREACH on every machine."""
    check_failure(
        lab,
        lab.viaduct(),
        method,
        target_of(method, "224.0.0.1:80"),
        502,
        "destination_ip_unroutable",
        "error:unreachable",
    )


@pytest.fixture
def deaf_port():
    """A port whose queue is full: the kernel drops what asks for a connection."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(0)
    fillers = []
    for _ in range(4):
        sock = socket.socket()
        sock.setblocking(False)
        sock.connect_ex(listener.getsockname())
        fillers.append(sock)
    probe = socket.socket()
    probe.settimeout(0.3)
    with pytest.raises(socket.timeout):
        probe.connect(listener.getsockname())
    yield listener.getsockname()[1]
    for sock in [*fillers, probe, listener]:
        sock.close()


@pytest.mark.parametrize("method", METHODS)
def test_connection_that_does_not_come_about(lab, deaf_port, method):
    begin = time.monotonic()
    check_failure(
        lab,
        lab.viaduct("timeouts.connect=400ms"),
        method,
        target_of(method, f"127.0.0.1:{deaf_port}"),
        504,
        "connection_timeout",
        "timeout:connect",
    )
    assert 0.35 < time.monotonic() - begin < 5


# --- No response, or none that can be read ------------------------------------


@pytest.mark.parametrize("how", ["fin", "reset"])
def test_origin_that_ends_before_an_answer(lab, how):
    def script(peer):
        peer.read_request()
        if how == "reset":
            peer.reset()

    origin = lab.origin(script)
    check_failure(
        lab,
        lab.viaduct(),
        "GET",
        origin.url(f"/{how}"),
        502,
        "connection_terminated",
        "error:upstream-reset",
    )


@pytest.mark.parametrize(
    "sent", [b"", b"HTTP/1.1 200 OK\r\nA: ", b"HTTP/1.1 103 Early Hints\r\n\r\n"]
)
def test_origin_that_does_not_answer_in_time(lab, sent):
    """Half a head and interim responses do not restart timeouts.response."""

    def script(peer):
        peer.read_request()
        peer.send(sent)
        peer.read_to_end()

    origin = lab.origin(script)
    begin = time.monotonic()
    check_failure(
        lab,
        lab.viaduct("timeouts.response=400ms"),
        "GET",
        origin.url(f"/{len(sent)}"),
        504,
        "http_response_timeout",
        "timeout:response",
    )
    assert 0.35 < time.monotonic() - begin < 5
    origin.join()


MALFORMED = {
    "no HTTP at all": b"220 mail.example ESMTP\r\n",
    "TLS alert": b"\x15\x03\x01\x00\x02\x02\x0a",
    "HTTP/0.9": b"<html>hello</html>\r\n\r\n",
    "HTTP/2.0": b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n",
    "HTTP/1.2": b"HTTP/1.2 200 OK\r\nContent-Length: 0\r\n\r\n",
    "status of two digits": b"HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n",
    "status of four digits": b"HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n",
    "status 099": b"HTTP/1.1 099 Odd\r\nContent-Length: 0\r\n\r\n",
    "bare LF": b"HTTP/1.1 200 OK\nContent-Length: 0\n\n",
    "folded field": b"HTTP/1.1 200 OK\r\nA: b\r\n c\r\nContent-Length: 0\r\n\r\n",
    "NUL in a value": b"HTTP/1.1 200 OK\r\nA: b\0c\r\nContent-Length: 0\r\n\r\n",
    "bare CR in a value": b"HTTP/1.1 200 OK\r\nA: b\rc\r\nContent-Length: 0\r\n\r\n",
    "blank before the first field": b"HTTP/1.1 200 OK\r\n A: b\r\nContent-Length: 0\r\n\r\n",
    "field without colon": b"HTTP/1.1 200 OK\r\nField\r\nContent-Length: 0\r\n\r\n",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    "negative length": b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
    "length that overflows": b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n",
    "length no number": b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n",
    "length and chunked": b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "unknown coding": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "chunked twice": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    "chunked in 1.0": b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("case", MALFORMED)
def test_malformed_response(lab, case):
    origin = lab.origin(MALFORMED[case])
    check_failure(
        lab,
        lab.viaduct(),
        "GET",
        origin.url("/malformed"),
        502,
        "http_protocol_error",
        "error:bad-response",
    )
    origin.join()  # its connection was closed


def test_response_head_too_large(lab):
    origin = lab.origin(response_bytes(fields=[("A", "x" * 6000)]))
    check_failure(
        lab,
        lab.viaduct("limits.head_bytes=4K"),
        "GET",
        origin.url("/large"),
        502,
        "http_response_header_section_size",
        "error:response-head-too-large",
    )


def test_response_with_too_many_fields(lab):
    origin = lab.origin(response_bytes(fields=[("A", "x")] * 30))
    check_failure(
        lab,
        lab.viaduct("limits.fields=20"),
        "GET",
        origin.url("/many"),
        502,
        "http_response_header_section_size",
        "error:response-head-too-large",
    )


def test_client_connection_goes_on_after_a_failure(lab):
    """A request without a body that failed upstream leaves the client's connection in order."""
    client = lab.client(lab.viaduct())
    origin = lab.origin()
    assert client.get(f"http://127.0.0.1:{free_port()}/").status == 502
    assert client.get(origin.url()).status == 200


def test_failure_during_an_upload_is_answered(lab):
    client = lab.client(lab.viaduct())
    client.send(
        request_bytes("PUT", f"http://127.0.0.1:{free_port()}/", [("Content-Length", "100000")])
        + b"x" * 100
    )
    assert client.read_response().status == 502


# --- Cut short ----------------------------------------------------------------

CUT = {
    "length, fin": (b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", b"x" * 999, "fin"),
    "length, reset": (b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", b"x" * 999, "reset"),
    "length, no byte": (b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", b"", "fin"),
    "length, 1.0": (b"HTTP/1.0 200 OK\r\nContent-Length: 1000\r\n\r\n", b"x" * 10, "fin"),
    "chunked inside a chunk, fin": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"ff\r\nxxx",
        "fin",
    ),
    "chunked inside a chunk, reset": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"ff\r\nxxx",
        "reset",
    ),
    "chunked between chunks": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"3\r\nxxx\r\n",
        "fin",
    ),
    "chunked inside the trailer": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"3\r\nxxx\r\n0\r\nA: b\r\n",
        "fin",
    ),
    "chunked, bad size": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"3\r\nxxx\r\nno\r\n",
        "fin",
    ),
    "until close, reset": (b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 500, "reset"),
}


@pytest.mark.parametrize("client_version", ["1.1", "1.0"])
@pytest.mark.parametrize("case", CUT)
def test_what_was_cut_looks_cut(lab, case, client_version):
    """No last chunk, fewer bytes than promised, or a reset where only the close could tell (RFC
    9112 8)."""
    head, body, how = CUT[case]
    seen = threading.Event()

    def script(peer):
        peer.read_request()
        peer.send(head + body)
        peer.wait_acknowledged()
        assert seen.wait(wire.DEADLINE)
        if how == "reset":
            peer.reset()

    proxy = lab.viaduct()
    origin = lab.origin(script)
    client = lab.client(proxy)
    client.request("GET", origin.url("/cut"), version=client_version)
    response = client.read_response_head()
    assert response.status == 200
    seen.set()
    framing = (
        "chunked"
        if response.has("Transfer-Encoding")
        else "length"
        if response.has("Content-Length")
        else "close"
    )
    client.read_body(response, framing, may_be_cut=True)
    assert response.cut, f"the client took it for whole: {response}"
    client.read_to_end()
    line = proxy.wait_request(origin.url("/cut"))
    end = "error:bad-response" if case == "chunked, bad size" else "truncated"
    assert (line["status"], line["end"]) == ("200", end)


def test_until_close_ended_by_close_is_whole(lab):
    def script(peer):
        peer.read_request()
        peer.send(b"HTTP/1.1 200 OK\r\n\r\nhello")

    origin = lab.origin(script)
    proxy = lab.viaduct()
    assert lab.client(proxy).get(origin.url("/whole")).body == b"hello"
    assert proxy.wait_request(origin.url("/whole"))["end"] == "complete"


# --- The client goes away -----------------------------------------------------


def run_until_cut(peer, sent):
    """Reads a request, sends this, and notes when the proxy ends the connection."""
    peer.read_head()
    peer.send(sent)
    peer.read_to_end()
    peer.ended_at = time.monotonic()


@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        b"HTTP/1.1 200 OK\r\n\r\nhalf",
    ],
    ids=["waiting", "interim", "length", "chunked", "until-close"],
)
def test_client_that_goes_away_cancels_the_work_at_once(lab, sent, how):
    proxy = lab.viaduct()
    origin = lab.origin(lambda peer: run_until_cut(peer, sent))
    client = lab.client(proxy)
    client.request("GET", origin.url("/gone"))
    wait_until(lambda: origin.peers, "the origin to be asked")
    if sent:
        client.read_response_head()
    gone_at = time.monotonic()
    getattr(client, how)()
    origin.join()
    assert origin.peers[0].ended_at - gone_at < 2
    line = proxy.wait_request(origin.url("/gone"))
    assert line["end"] == "client-closed"
    assert line["status"] == ("200" if b" 200 " in sent else "-")


@pytest.mark.parametrize("how", ["close", "reset"])
def test_client_that_goes_away_inside_its_upload(lab, how):
    """The origin must not take what it got for the whole."""
    cuts = []

    def script(peer):
        request = peer.read_head()
        if request is not None:
            framing = "length" if request.has("Content-Length") else "chunked"
            peer.read_body(request, framing, may_be_cut=True)
            cuts.append(request.cut)

    proxy = lab.viaduct()
    for fields, part in [
        ([("Content-Length", "1000")], b"x" * 500),
        ([("Transfer-Encoding", "chunked")], b"3\r\nxxx\r\n"),
    ]:
        origin = lab.origin(script)
        client = lab.client(proxy)
        client.send(request_bytes("PUT", origin.url("/upload"), fields) + part)
        origin.wait_peers(1)
        client.wait_acknowledged()
        getattr(client, how)()
        origin.join()
        assert proxy.wait_request(origin.url("/upload"))["end"] == "client-closed"
    assert all(cuts)


def test_client_that_goes_away_while_a_name_is_asked(lab, dns):
    dns.add("nowhere.test", Reply(drop=True))
    proxy = lab.fresh(f"dns.servers={dns.address}", "timeouts.dns=3s")
    client = lab.client(proxy)
    client.request("GET", "http://nowhere.test/")
    wait_until(lambda: dns.queries, "the name to be asked")
    client.reset()
    line = proxy.wait_request("http://nowhere.test/")
    assert line["end"] == "client-closed" and int(line["total_ms"]) < 2500


def test_client_that_goes_away_while_connecting(lab, deaf_port):
    proxy = lab.viaduct("timeouts.connect=30s")
    client = lab.client(proxy)
    client.request("GET", f"http://127.0.0.1:{deaf_port}/")
    client.wait_acknowledged()
    wait_until(lambda: proxy.socket_count() > proxy._idle_sockets + 1, "the attempt to begin")
    client.reset()
    assert proxy.wait_request(f"http://127.0.0.1:{deaf_port}/")["end"] == "client-closed"
