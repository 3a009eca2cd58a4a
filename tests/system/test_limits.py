# SPDX-License-Identifier: MIT
"""Every limit and every deadline from both sides: reached exactly, one below, one above; and what a
hostile peer sends without end, with the memory it costs."""

import re
import socket
import threading
import time
from pathlib import Path

import pytest

import wire
from dns_server import DnsServer, Reply
from wire import request_bytes, response_bytes, wait_until

OK = response_bytes(body=b"ok")


def pad(head, size):
    """The head, which ends before its last empty line, made exactly this long by one more field."""
    filler = size - len(head) - len(b"X-Pad: \r\n\r\n")
    assert filler > 0
    return head + b"X-Pad: " + b"x" * filler + b"\r\n\r\n"


def status_of(lab, proxy, data):
    client = lab.client(proxy)
    client.send(data)
    response = client.read_response()
    client.close()
    return response.status


# --- Sizes and counts ---------------------------------------------------------

AROUND = [-1, 0, 1]


@pytest.mark.parametrize("off", AROUND)
@pytest.mark.parametrize("pieces", ["whole", "byte by byte"])
def test_head_bytes_of_a_request(lab, off, pieces):
    proxy = lab.viaduct("limits.head_bytes=1K")
    origin = lab.origin(OK)
    client = lab.client(proxy)
    head = pad(request_bytes("GET", origin.url("/head"))[:-2], 1024 + off)
    try:
        client.send(head) if pieces == "whole" else client.trickle(head)
    except OSError:
        assert off > 0
    assert client.read_response().status == (431 if off > 0 else 200)


@pytest.mark.parametrize("off", AROUND)
def test_head_bytes_of_a_response(lab, off):
    origin = lab.origin(pad(OK[:-4], 1024 + off) + b"ok")
    response = lab.client(lab.viaduct("limits.head_bytes=1K")).get(origin.url("/head"))
    assert response.status == (502 if off > 0 else 200)


@pytest.mark.parametrize("off", AROUND)
def test_target_bytes(lab, off):
    proxy = lab.viaduct("limits.target_bytes=256")
    origin = lab.origin(OK)
    url = origin.url("/")
    url += "x" * (256 + off - len(url))
    assert status_of(lab, proxy, request_bytes("GET", url)) == (414 if off > 0 else 200)


@pytest.mark.parametrize("off", AROUND)
@pytest.mark.parametrize("limit", [1, 10, 10000])
def test_fields_of_a_request(lab, limit, off):
    """Host is one of them."""
    if limit + off < 1:
        return
    proxy = lab.viaduct(f"limits.fields={limit}", "limits.head_bytes=1M")
    origin = lab.origin(OK)
    fields = [(f"X-{n}", "x") for n in range(limit + off - 1)]
    data = request_bytes("GET", origin.url("/fields"), fields)
    # What goes on has a few fields more; the origin here does not mind.
    assert status_of(lab, proxy, data) == (431 if off > 0 else 200)
    if off <= 0:
        sent = origin.requests[0]
        assert [name for name, _ in sent.fields if name.startswith("X-")] == [n for n, _ in fields]


@pytest.mark.parametrize("off", AROUND)
@pytest.mark.parametrize("limit", [2, 10, 10000])
def test_fields_of_a_response(lab, limit, off):
    origin = lab.origin(response_bytes(fields=[(f"X-{n}", "x") for n in range(limit + off - 1)]))
    client = lab.client(lab.viaduct(f"limits.fields={limit}", "limits.head_bytes=1M"))
    assert client.get(origin.url("/fields")).status == (502 if off > 0 else 200)


@pytest.mark.parametrize("off", AROUND)
@pytest.mark.parametrize("chunk", [1, 333, 1001])
def test_body_bytes_of_a_chunked_request(lab, chunk, off):
    """Only what is counted can tell: nothing was promised."""
    proxy = lab.viaduct("limits.body_bytes=1000")

    def script(peer):
        try:
            request = peer.read_request()
        except (EOFError, AssertionError):
            return  # cut short, as it must look to us
        if request:
            peer.send(OK)

    origin = lab.origin(script)
    body = b"x" * (1000 + off)
    data = wire.chunked(*(body[at : at + chunk] for at in range(0, len(body), chunk)))
    fields = [("Transfer-Encoding", "chunked")]
    client = lab.client(proxy)
    client.send(request_bytes("PUT", origin.url("/body"), fields, data))
    assert client.read_response().status == (413 if off > 0 else 200)
    assert len(origin.requests) == (0 if off > 0 else 1), "the origin took a cut body for whole"


@pytest.mark.parametrize("off", AROUND)
@pytest.mark.parametrize("side", ["request", "response"])
def test_chunk_extensions_of_one_message(lab, side, off):
    """All of them together may be as long as a head."""
    proxy = lab.viaduct("limits.head_bytes=1K")
    extension = b";" + b"e" * (1024 // 2 - 1)
    first, second = extension, extension + (b"e" if off > 0 else b"")
    if off < 0:
        second = second[:-1]
    body = b"1%s\r\nx\r\n1%s\r\ny\r\n0\r\n\r\n" % (first, second)
    if side == "request":
        origin = lab.origin(lambda peer: ignore(lambda: wire.answer_all(peer, OK)))
        client = lab.client(proxy)
        client.send(request_bytes("PUT", origin.url(), [("Transfer-Encoding", "chunked")], body))
        assert client.read_response().status == (431 if off > 0 else 200)
    else:
        origin = lab.origin(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + body)
        client = lab.client(proxy)
        client.request("GET", origin.url())
        response = client.read_response(may_be_cut=True)
        assert bool(response.cut) == (off > 0)


@pytest.mark.parametrize("off", AROUND)
@pytest.mark.parametrize("limited", ["bytes", "fields"])
def test_trailers_are_limited_like_heads(lab, limited, off):
    proxy = lab.viaduct("limits.head_bytes=1K", "limits.fields=10")
    origin = lab.origin(lambda peer: ignore(lambda: wire.answer_all(peer, OK)))
    if limited == "bytes":
        trailers = pad(b"", 1024 + off)
    else:
        trailers = b"".join(b"X-%d: x\r\n" % n for n in range(10 + off)) + b"\r\n"
    client = lab.client(proxy)
    fields = [("Transfer-Encoding", "chunked")]
    client.send(request_bytes("PUT", origin.url(), fields, b"1\r\nx\r\n0\r\n" + trailers))
    assert client.read_response().status == (431 if off > 0 else 200)


@pytest.mark.parametrize("off", AROUND)
def test_blank_lines_before_a_request(lab, off):
    origin = lab.origin(OK)
    data = b"\r\n" * (4 + off) + request_bytes("GET", origin.url())
    assert status_of(lab, lab.viaduct(), data) == (400 if off > 0 else 200)


@pytest.mark.parametrize("off", AROUND)
def test_names_in_connection(lab, off):
    origin = lab.origin(OK)
    names = ", ".join(f"x-{n}" for n in range(100 + off))
    data = request_bytes("GET", origin.url(), [("Connection", names)])
    assert status_of(lab, lab.viaduct(), data) == (400 if off > 0 else 200)


@pytest.mark.parametrize("count, closed", [(2, 0), (3, 0), (4, 1)])
@pytest.mark.parametrize("option", ["pool.idle_per_host=3", "pool.idle_total=3"])
def test_idle_upstream_connections(lab, option, count, closed):
    gate, ended = threading.Event(), []

    def script(peer):
        while peer.read_request() is not None:
            assert gate.wait(wire.DEADLINE)
            peer.send(OK)
        ended.append(peer)

    proxy = lab.fresh(option, "server.workers=1")
    origin = lab.origin(script)
    clients = [lab.client(proxy) for _ in range(count)]
    for client in clients:
        client.request("GET", origin.url())
    origin.wait_requests(count)
    gate.set()
    for client in clients:
        assert client.read_response().status == 200
    for _ in range(5):  # from now on there is always one in the pool
        assert clients[0].get(origin.url()).status == 200
    wait_until(lambda: len(ended) >= closed, "the connection too many to be closed")
    assert len(ended) == closed and len(origin.peers) == count


def test_cache_entries(lab):
    """The name that was used longest ago makes room."""
    with DnsServer() as dns:
        for name in "abcd":
            dns.add(f"{name}.test", a=["127.0.0.1"], aaaa=[])
        proxy = lab.fresh(f"dns.servers={dns.address}", "dns.cache_entries=3", "server.workers=1")
        origin = lab.origin(OK)
        client = lab.client(proxy)

        def is_asked(name):
            before = dns.count(f"{name}.test", "A")
            assert client.get(f"http://{name}.test:{origin.port}/").status == 200
            return dns.count(f"{name}.test", "A") > before

        asked = [(name, is_asked(name)) for name in "abcabcadacdb"]
        assert "".join(name for name, was in asked if was) == "abcdb"


def test_connections_of_another_address_do_not_count(lab):
    proxy = lab.fresh("server.max_connections_per_client=2", "server.workers=1")
    origin = lab.origin(OK)

    def client_from(address):
        sock = socket.create_connection(proxy.address, wire.DEADLINE, (address, 0))
        peer = wire.Peer(sock)
        lab.peers.append(peer)
        return peer

    for address in ("127.0.0.1", "127.0.0.2"):
        assert [client_from(address).get(origin.url()).status for _ in range(3)] == [200, 200, 429]


# --- Deadlines ----------------------------------------------------------------

LIMIT = 0.4 * wire.SLOWNESS
BELOW = 0.6 * LIMIT
SLACK = 1.0 * wire.SLOWNESS


def ms(seconds):
    return f"{int(seconds * 1000)}ms"


def be_slow(seconds):
    """A peer that takes its time is what these tests are about."""
    threading.Event().wait(seconds)


def took(begin):
    return time.monotonic() - begin


def in_time(seconds, limit=LIMIT):
    assert limit - 0.05 <= seconds <= limit + SLACK, f"{seconds:.2f} s, the limit is {limit:.2f} s"


def ignore(action):
    try:
        action()
    except (OSError, EOFError, AssertionError):
        pass


def test_header_counts_from_the_first_byte(lab):
    proxy = lab.viaduct(f"timeouts.header={ms(LIMIT)}")
    origin = lab.origin(OK)
    data = request_bytes("GET", origin.url("/header"))

    def slow_head(pace):
        client = lab.client(proxy)
        pace.move(BELOW, client.send, data[:1])
        pace.move(BELOW, client.send, data[1:])
        assert client.read_response().status == 200
        return client

    for _ in range(2):
        client = wire.keeping_below(LIMIT, slow_head)
        be_slow(2 * BELOW)  # between requests it does not count
        begin = time.monotonic()
        client.send(data[:-1])
        assert client.read_response().status == 408
        in_time(took(begin))


def test_silent_client(lab):
    begin = time.monotonic()
    lab.client(lab.viaduct(f"timeouts.header={ms(LIMIT)}")).expect_end("fin")
    in_time(took(begin))


@pytest.mark.parametrize("seconds", [0, 60, 7200])
def test_tcp_keepalive(lab, seconds):
    """The kernel's own timer runs on the sockets of both sides, or on none. Towards the origin it is
    wound up in the first silence, and counts from the last bytes all the same."""
    proxy = lab.viaduct(f"server.tcp_keepalive={seconds}{'s' if seconds else ''}")
    origin = lab.origin(OK)
    client = lab.client(proxy)
    begun = time.monotonic()
    assert client.get(origin.url()).status == 200

    def timer(port, column):  # of the connection with that port at our end of the row
        rows = [row.split() for row in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        end = f"0100007F:{port:04X}"  # a row may be read twice while others come and go
        timers = list({r[9]: r[5] for r in rows if r[column] == end and r[3] == "01"}.values())
        assert len(timers) == 1
        kind, when = timers[0].split(":")
        return kind, int(when, 16) / 100

    if seconds:
        wait_until(lambda: timer(origin.port, 2)[0] == "02", "the timer towards the origin")
    for port, column in ((proxy.port, 1), (origin.port, 2)):
        kind, when = timer(port, column)
        assert kind == ("02" if seconds else "00")
        assert seconds - (time.monotonic() - begun) - 5 < when <= seconds


def test_keep_alive(lab):
    proxy = lab.viaduct(f"timeouts.keep_alive={ms(LIMIT)}")
    origin = lab.origin(OK)

    def keep(pace):
        client = lab.client(proxy)
        for _ in range(4):
            assert pace.move(BELOW, client.get, origin.url()).status == 200
        return client, pace.since

    client, begin = wire.keeping_below(LIMIT, keep)
    client.expect_end("fin")
    in_time(took(begin))


def test_dns(lab):
    with DnsServer() as dns:
        dns.add("soon.test", a=Reply(["127.0.0.1"], delay=BELOW), aaaa=[])
        dns.add("late.test", a=Reply(["127.0.0.1"], delay=3 * LIMIT), aaaa=Reply(drop=True))
        proxy = lab.fresh(f"dns.servers={dns.address}", f"timeouts.dns={ms(LIMIT)}")
        origin = lab.origin(OK)
        client = lab.client(proxy)
        assert client.get(f"http://soon.test:{origin.port}/").status == 200
        begin = time.monotonic()
        assert client.get(f"http://late.test:{origin.port}/").status == 504
        in_time(took(begin))


@pytest.mark.parametrize("method", ["GET", "CONNECT"])
def test_connect_that_comes_about_late_but_in_time(lab, method):
    """The first SYN is dropped because the queue is full; the kernel sends the next after 1 s."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(0)
    filler = socket.create_connection(listener.getsockname(), wire.DEADLINE)
    authority = f"127.0.0.1:{listener.getsockname()[1]}"
    client = lab.client(lab.fresh("timeouts.connect=3s", "server.workers=1"))
    client.request(method, authority if method == "CONNECT" else f"http://{authority}/")
    assert client.is_silent(0.2)
    listener.accept()[0].close()
    sock, _ = listener.accept()
    if method == "GET":
        wire.Peer(sock).read_request()
        sock.sendall(OK)
    assert client.read_response(to=method).status == 200
    for each in (sock, filler, listener):
        each.close()


def test_connect_counts_for_a_second_sending_too(lab):
    """The pooled connection ends under a request, which goes out again (RFC 9110 9.2.2), to a queue
    that is full by now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        target = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        client = lab.client(lab.viaduct(f"timeouts.connect={ms(LIMIT)}"))
        client.request("GET", target)
        pooled = wire.Peer(listener.accept()[0])
        pooled.read_request()
        pooled.send(OK)
        assert client.read_response().status == 200
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        client.request("GET", target)
        pooled.read_request()
        begin = time.monotonic()
        pooled.close()
        response = client.read_response()
        assert response.status == 504 and "connection_timeout" in response.get("Proxy-Status")
        in_time(took(begin))
        for filler in fillers:
            filler.close()


def test_response_counts_from_the_requests_last_byte(lab):
    proxy = lab.viaduct(f"timeouts.response={ms(LIMIT)}")

    def attempt(pace):
        def script(peer):
            while (request := peer.read_request()) is not None:
                pace.move(2.5 * LIMIT if request.target == "/late" else BELOW, peer.send, OK)

        origin = lab.origin(lambda peer: ignore(lambda: script(peer)))
        client = lab.client(proxy)
        client.send(request_bytes("PUT", origin.url("/slow"), [("Content-Length", "3")]))
        for byte in (b"a", b"b", b"c"):
            pace.move(BELOW, client.send, byte)
        assert client.read_response().status == 200
        return client, origin

    client, origin = wire.keeping_below(LIMIT, attempt)
    begin = time.monotonic()
    assert client.get(origin.url("/late")).status == 504
    in_time(took(begin))


def test_idle_counts_from_the_last_byte_moved(lab):
    """An origin that sends a byte now and then is slow, not idle."""

    proxy = lab.viaduct(f"timeouts.idle={ms(LIMIT)}")

    def ask(pace, path, stalls_before=None):
        def script(peer):
            peer.read_request()
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n")
            for byte in (b"a", b"b", b"c", b"d"):
                pace.move(2.5 * LIMIT if byte == stalls_before else BELOW, peer.send, byte)

        origin = lab.origin(lambda peer: ignore(lambda: script(peer)))
        client = lab.client(proxy)
        client.request("GET", origin.url(path))
        return client, client.read_response_head(), origin

    def drip(pace):
        client, response, _ = ask(pace, "/drips")
        client.read_body(response, "length")
        assert response.body == b"abcd"

    def stall(pace):
        client, response, origin = ask(pace, "/stalls", stalls_before=b"c")
        client.read_exactly(2)
        return client, response, origin, pace.since

    wire.keeping_below(LIMIT, drip)
    client, response, origin, begin = wire.keeping_below(LIMIT, stall)
    client.read_body(response, "length", may_be_cut=True)
    assert response.cut
    in_time(took(begin))
    assert proxy.wait_request(origin.url("/stalls"))["end"] == "timeout:idle"


@pytest.mark.parametrize("side", ["client", "origin"])
def test_tunnel_idle_counts_from_the_last_byte_moved(lab, side):
    proxy = lab.viaduct(f"timeouts.tunnel_idle={ms(LIMIT)}")
    over = threading.Event()
    lab.at_end(over.set)

    def attempt(pace):
        origin = lab.origin(lambda peer: over.wait(wire.DEADLINE))
        client = lab.tunnel(proxy, origin)
        peer = origin.wait_peers(1)[0]
        near, far = (client, peer) if side == "client" else (peer, client)
        for _ in range(3):
            pace.move(BELOW, near.send, b"x")
            far.read_exactly(1)
        return far, pace.since

    far, begin = wire.keeping_below(LIMIT, attempt)
    far.read_to_end()
    in_time(took(begin))


@pytest.mark.parametrize("kind", ["exchange", "tunnel"])
def test_the_whole_of_it(lab, kind):
    """Whatever moves; and what is shorter is not cut."""
    proxy = lab.viaduct(f"timeouts.{kind}={ms(LIMIT)}")

    def drip(peer):
        if kind == "exchange":
            request = peer.read_request()
            peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            short = request.target == "/short"
        else:
            short = peer.read_exactly(5) == b"short"
        for _ in range(int(BELOW / 0.05)) if short else iter(int, 1):
            be_slow(0.05)
            peer.send(b"1\r\nx\r\n")
        peer.send(b"0\r\n\r\n")

    origin = lab.origin(lambda peer: ignore(lambda: drip(peer)))

    def run(name):
        begin = time.monotonic()
        if kind == "exchange":
            client = lab.client(proxy)
            client.request("GET", origin.url(f"/{name}"))
            return client.read_response(may_be_cut=True).cut, took(begin)
        client = lab.tunnel(proxy, origin)
        client.send(name[:5].encode())
        client.finish()
        return not client.read_to_end().endswith(b"0\r\n\r\n"), took(begin)

    assert not run("short")[0]
    cut, seconds = run("longer")
    assert cut
    in_time(seconds)


def test_pool_idle(lab):
    proxy = lab.viaduct(f"pool.idle={ms(LIMIT)}")

    def attempt(pace):
        ended = []

        def script(peer):
            wire.answer_all(peer, OK)
            ended.append(time.monotonic())

        origin = lab.origin(script)
        client = lab.client(proxy)
        for _ in range(4):
            assert pace.move(BELOW, client.get, origin.url()).status == 200
        assert len(origin.peers) == 1
        return ended, pace.since

    ended, begin = wire.keeping_below(LIMIT, attempt)
    wait_until(lambda: ended, "the idle connection to be closed")
    in_time(ended[0] - begin)


# --- Without end: how it ends, and what it costs ------------------------------

ALLOWANCE = 6 << 20  # of resident memory, whatever comes


def peak_bytes(proxy):
    text = Path(f"/proc/{proxy.pid}/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", text).group(1)) * 1024


class Memory:
    """The peak of resident memory between two moments, in a program that is warm."""

    def __init__(self, lab, figure, name, *options):
        self.name, self.figure = name, figure
        self.proxy = lab.fresh("server.workers=1", *options, release=True)
        origin = lab.origin(OK)
        client = lab.client(self.proxy)
        for _ in range(20):
            assert client.get(origin.url()).status == 200
        client.close()
        self.before = peak_bytes(self.proxy)
        self.begin = time.monotonic()

    def check(self, allowance=ALLOWANCE):
        peak = peak_bytes(self.proxy)
        self.figure(
            f"{self.name}: peak RSS {peak / 1048576:.1f} MiB"
            f" (+{(peak - self.before) / 1048576:.1f}), {took(self.begin):.2f} s"
        )
        assert peak - self.before <= allowance


def flood(peer, data, stop=None):
    """Sends until the other side ends it; returns the bytes sent."""
    sent = 0
    block = data * max(1, 65536 // len(data))
    peer.sock.settimeout(0.5)
    try:
        while not (stop and stop.is_set()):
            try:
                sent += peer.sock.send(block[sent % len(data) :])
            except socket.timeout:
                pass
    except OSError:
        pass
    return sent


HINT = b"HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\n"


@pytest.mark.parametrize("off", AROUND)
def test_interim_responses(lab, off):
    origin = lab.origin(HINT * (64 + off) + OK)
    response = lab.client(lab.viaduct()).get(origin.url())
    assert response.status == (502 if off > 0 else 200)
    assert len(response.interim) == 64 + min(off, 0)


@pytest.mark.parametrize("reads", [True, False], ids=["read", "unread"])
def test_interim_responses_without_end(lab, figure, reads):
    name = f"1xx without end, {'read' if reads else 'unread'} by the client"
    memory = Memory(lab, figure, name, "timeouts.response=2s", "timeouts.idle=2s")
    sent = []

    def script(peer):
        peer.read_request()
        sent.append(flood(peer, HINT))

    origin = lab.origin(script)
    client = lab.client(memory.proxy)
    client.request("GET", origin.url("/flood"))
    if reads:
        assert client.read_response().status == 502
    line = memory.proxy.wait_request(origin.url("/flood"))
    assert (line["status"], line["end"]) == ("502", "error:bad-response"), line["raw"]
    wait_until(lambda: sent, "the origin's connection to end")
    memory.check()


@pytest.mark.parametrize("side", ["request", "response"])
def test_chunk_extension_without_end(lab, figure, side):
    memory = Memory(lab, figure, f"chunk extension without end, {side}")
    if side == "request":
        origin = lab.origin(lambda peer: ignore(lambda: wire.answer_all(peer, OK)))
        client = lab.client(memory.proxy)
        fields = [("Transfer-Encoding", "chunked")]
        client.send(request_bytes("PUT", origin.url("/endless"), fields, b"1;"))
        flooder = threading.Thread(target=flood, args=(client, b"x"))
        flooder.start()
        line = memory.proxy.wait_request(origin.url("/endless"))
        assert (line["status"], line["end"]) == ("431", "error:head-too-large"), line["raw"]
    else:

        def script(peer):
            peer.read_request()
            peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;")
            flood(peer, b"x")

        origin = lab.origin(script)
        client = lab.client(memory.proxy)
        client.request("GET", origin.url("/endless"))
        assert client.read_response(may_be_cut=True).cut
        line = memory.proxy.wait_request(origin.url("/endless"))
        assert (line["status"], line["end"]) == ("200", "error:bad-response"), line["raw"]
    memory.check()
    client.close()


MILLION = 1_000_000


@pytest.mark.parametrize("side", ["request", "response"])
def test_million_chunks_of_one_byte(lab, figure, side):
    """Each goes through, and costs nothing that stays."""
    memory = Memory(lab, figure, f"a million chunks of a byte, {side}")
    data = b"1\r\nx\r\n" * MILLION + b"0\r\n\r\n"
    counts = []

    def count(peer):
        """Bytes of a chunked body, whatever its chunks."""
        total = 0
        while (size := int(peer.read_until(b"\r\n")[:-2], 16)) > 0:
            total += size
            peer.read_exactly(size + 2)
        peer.read_until(b"\r\n")
        return total

    def script(peer):
        if side == "request":
            peer.read_head()
            counts.append(count(peer))
            peer.send(OK)
        else:
            peer.read_request()
            peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + data)

    origin = lab.origin(script)
    client = lab.client(memory.proxy)
    if side == "request":
        sender = threading.Thread(
            target=client.send,
            args=(request_bytes("PUT", origin.url(), [("Transfer-Encoding", "chunked")], data),),
        )
        sender.start()
        assert client.read_response().status == 200
        sender.join(wire.DEADLINE)
    else:
        client.request("GET", origin.url())
        client.read_response_head()
        counts.append(count(client))
    assert counts == [MILLION]
    memory.check()


def test_million_empty_chunks(lab, figure):
    """The first one ends the body; what follows is a trailer section without end."""
    memory = Memory(lab, figure, "a million empty chunks")
    origin = lab.origin(lambda peer: ignore(lambda: wire.answer_all(peer, OK)))
    client = lab.client(memory.proxy)
    data = request_bytes(
        "PUT", origin.url("/empty"), [("Transfer-Encoding", "chunked")], b"0\r\n" * MILLION
    )
    sender = threading.Thread(target=ignore, args=(lambda: client.send(data),))
    sender.start()
    assert client.read_response().status == 431
    client.close()
    sender.join(wire.DEADLINE)
    memory.check()


def test_head_of_ten_thousand_fields(lab, figure):
    """Refused by the default; where it is allowed it costs no more than its size, in time too."""
    fields = [(f"X-{n}", "x") for n in range(10_000)]
    memory = Memory(lab, figure, "a head of 10,000 fields, refused")
    data = request_bytes("GET", "http://127.0.0.1:1/", fields)
    assert status_of(lab, memory.proxy, data) == 431
    memory.check()
    memory = Memory(lab, figure, "a head of 10,000 fields, allowed", "limits.fields=10000",
                    "limits.head_bytes=1M")
    origin = lab.origin(response_bytes(fields=fields[:-1]))
    begin = time.monotonic()
    assert status_of(lab, memory.proxy, request_bytes("GET", origin.url(), fields[:-1])) == 200
    assert took(begin) < 2 * wire.SLOWNESS
    memory.check()


def test_pipeline_that_nobody_reads(lab, figure):
    """Requests behind requests, no answer taken: backpressure, and in the end timeouts.idle."""
    memory = Memory(lab, figure, "pipelined requests, answers unread", "timeouts.idle=1s")
    origin = lab.origin(response_bytes(body=b"x" * 1000))
    client = lab.client(memory.proxy)
    client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sent = flood(client, request_bytes("GET", origin.url("/flood")))
    figure(f"   {sent >> 10} KiB of requests were taken, {len(origin.requests)} answered")
    memory.proxy.wait_for_log(event="request", end="timeout:idle")
    memory.check()


def test_head_of_one_byte_a_moment(lab, figure):
    """A thousand clients, each one byte at a time: 408 for each, at its time."""
    memory = Memory(lab, figure, "500 heads a byte at a time", "timeouts.header=2s")
    clients = [lab.client(memory.proxy) for _ in range(500)]
    data = b"GET http://127.0.0.1:1/ HTTP/1.1\r\nX: " + b"x" * 1000
    begin = time.monotonic()
    for at in range(len(data)):
        if took(begin) > 1.2:
            break
        for client in clients:
            client.send(data[at : at + 1])
    for client in clients:
        response = client.read_response()
        assert response.status == 408
        client.close()
    assert 1.9 < took(begin) < 2 + 3 * SLACK
    memory.check()
