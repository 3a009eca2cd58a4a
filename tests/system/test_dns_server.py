# SPDX-License-Identifier: MIT
"""The scripted DNS server itself, with a client that knows only what a message looks like."""

import ipaddress
import socket
import struct

import pytest

from dns_server import NXDOMAIN, REFUSED, SERVFAIL, TYPES, DnsServer, Reply, decode_name, encode_name


@pytest.fixture
def dns():
    with DnsServer() as server:
        yield server


def query_bytes(name, kind, number=0x1234, udp_size=None):
    message = struct.pack("!6H", number, 0x0100, 1, 0, 0, 1 if udp_size else 0)
    message += encode_name(name) + struct.pack("!2H", TYPES[kind], 1)
    if udp_size:
        message += b"\0" + struct.pack("!2HIH", TYPES["OPT"], udp_size, 0, 0)
    return message


def read_answer(message):
    """(id, rcode, truncated, question name, [(type, owner, ttl, value)])"""
    number, flags, _, count, _, _ = struct.unpack_from("!6H", message)
    question, at = decode_name(message, 12)
    at += 4
    records = []
    for _ in range(count):
        owner, at = decode_name(message, at)
        kind, _, ttl, size = struct.unpack_from("!2HIH", message, at)
        at += 10
        data = message[at : at + size]
        value = decode_name(data, 0)[0] if kind == TYPES["CNAME"] else str(ipaddress.ip_address(data))
        records.append((kind, owner, ttl, value))
        at += size
    assert at == len(message)
    return number, flags & 15, bool(flags & 0x0200), question, records


def ask(dns, name, kind="A", transport="udp", udp_size=None, timeout=5):
    query = query_bytes(name, kind, udp_size=udp_size)
    if transport == "udp":
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.settimeout(timeout)
            sock.sendto(query, ("127.0.0.1", dns.port))
            return read_answer(sock.recv(65535))
    with socket.create_connection(("127.0.0.1", dns.port), timeout=timeout) as sock:
        sock.sendall(struct.pack("!H", len(query)) + query)
        stream = sock.makefile("rb")
        return read_answer(stream.read(struct.unpack("!H", stream.read(2))[0]))


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_answers_and_counts(dns, transport):
    dns.add("www.example.com", a=["192.0.2.1", "192.0.2.2"], aaaa=["2001:db8::1"], ttl=7)
    assert ask(dns, "WWW.example.com", "A", transport) == (0x1234, 0, False, "WWW.example.com", [
        (1, "www.example.com", 7, "192.0.2.1"), (1, "www.example.com", 7, "192.0.2.2")])
    assert ask(dns, "www.example.com", "AAAA", transport)[4] == [(28, "www.example.com", 7, "2001:db8::1")]
    assert dns.count("www.example.com") == 2
    assert dns.count("www.example.com", "A", transport) == 1
    assert dns.count("www.example.com", "A", "tcp" if transport == "udp" else "udp") == 0


def test_unknown_name_and_unknown_type(dns):
    dns.add("v6.example", aaaa=["::1"])
    assert ask(dns, "nowhere.example")[1] == NXDOMAIN
    assert ask(dns, "v6.example", "A")[1:] == (0, False, "v6.example", [])


@pytest.mark.parametrize("rcode", [SERVFAIL, REFUSED])
def test_rcode_for_both(dns, rcode):
    dns.add("x.example", Reply(rcode=rcode))
    assert [ask(dns, "x.example", kind)[1] for kind in ("A", "AAAA")] == [rcode, rcode]


def test_cnames_lead_to_the_addresses(dns):
    dns.add("a.example", a=Reply(["192.0.2.3"], 60, cnames=[("b.example", 5), ("c.example", 9)]))
    assert ask(dns, "a.example")[4] == [
        (5, "a.example", 5, "b.example"), (5, "b.example", 9, "c.example"), (1, "c.example", 60, "192.0.2.3")]


def test_truncates_when_told_and_when_it_must(dns):
    many = [f"192.0.2.{i}" for i in range(1, 41)]
    dns.add("told.example", a=Reply(["192.0.2.1"], truncate=True))
    dns.add("many.example", a=many)
    assert ask(dns, "told.example")[2:] == (True, "told.example", [])
    assert len(ask(dns, "told.example", transport="tcp")[4]) == 1
    assert ask(dns, "many.example")[2] is True
    assert len(ask(dns, "many.example", udp_size=4096)[4]) == 40
    assert len(ask(dns, "many.example", transport="tcp")[4]) == 40


def test_wrong_id_and_wrong_question(dns):
    dns.add("id.example", a=Reply(["192.0.2.1"], wrong_id=True))
    dns.add("q.example", a=Reply(["192.0.2.1"], wrong_question=True))
    assert ask(dns, "id.example")[0] == 0x1235
    assert ask(dns, "q.example")[3] == "other.example"


def test_drops_and_delays(dns):
    dns.add("drop.example", Reply(drop=True))
    dns.add("slow.example", a=Reply(["192.0.2.1"], delay=0.2))
    with pytest.raises(socket.timeout):
        ask(dns, "drop.example", timeout=0.2)
    with pytest.raises(socket.timeout):
        ask(dns, "slow.example", timeout=0.1)
    assert ask(dns, "slow.example")[4]
    assert dns.count("slow.example") == 2


def test_functions_decide_by_the_query(dns):
    dns.add("turn.example", a=lambda query: ["192.0.2.1"] if dns.count(query.name) == 1 else Reply(rcode=SERVFAIL))
    assert [ask(dns, "turn.example")[1] for _ in range(2)] == [0, SERVFAIL]


def test_stops_and_comes_back_on_its_port(dns):
    port = dns.port
    dns.add("x.example", a=["192.0.2.1"])
    dns.stop()
    with pytest.raises(OSError):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.settimeout(2)
            sock.connect(("127.0.0.1", port))
            sock.send(query_bytes("x.example", "A"))
            sock.recv(512)
    dns.start()
    assert dns.port == port
    assert ask(dns, "x.example")[4]


def test_failing_script_is_an_error():
    with pytest.raises(AssertionError):
        with DnsServer() as dns:
            dns.add("x.example", a=lambda query: 1 / 0)
            with pytest.raises(socket.timeout):
                ask(dns, "x.example", timeout=0.3)
