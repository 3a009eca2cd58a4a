# SPDX-License-Identifier: MIT
"""A scripted DNS server on 127.0.0.1, UDP and TCP on one port of the system's choice.

    with DnsServer() as dns:
        dns.add("www.example.com", a=["192.0.2.1"], aaaa=["2001:db8::1"], ttl=60)
        dns.add("slow.example.com", a=Reply(["192.0.2.2"], delay=0.5), aaaa=[])
        dns.add("gone.example.com", Reply(rcode=SERVFAIL))
        ... dns.address is "127.0.0.1:PORT" ...
        assert dns.count("www.example.com", "A") == 1

A name that was not added does not exist (NXDOMAIN); a type that a name has not been given is an
empty answer. What is given for a type is a list of addresses, a Reply, or a function of the Query
that returns either. Answers larger than the asker takes over UDP are truncated, as they must be.
"""

import ipaddress
import random
import socket
import struct
import threading
import time
from collections import namedtuple
from dataclasses import dataclass, field

NOERROR, FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED = range(6)
TYPES = {"A": 1, "CNAME": 5, "AAAA": 28, "OPT": 41}
TYPE_NAMES = {number: name for name, number in TYPES.items()}

# transport is "udp" or "tcp"; udp_size what the asker takes; port the asker's; at the time (monotonic).
Query = namedtuple("Query", "name type transport id port udp_size at")


@dataclass
class Reply:
    """One answer. cnames are (name, ttl) that the question's name leads through; the addresses belong to
    the last of them."""

    addrs: list = field(default_factory=list)
    ttl: int = 60
    cnames: list = field(default_factory=list)
    rcode: int = NOERROR
    delay: float = 0
    drop: bool = False  # says nothing at all
    truncate: bool = False  # over UDP: only the TC bit, ask again by TCP
    wrong_id: bool = False
    wrong_question: bool = False
    raw: bytes = None  # this after the id, instead of a message


def encode_name(name):
    labels = [label.encode("ascii") for label in name.split(".") if label]
    return b"".join(bytes([len(label)]) + label for label in labels) + b"\0"


def decode_name(message, at):
    """The name at this place of a question (no compression there), and where it ends."""
    labels = []
    while message[at]:
        labels.append(message[at + 1 : at + 1 + message[at]].decode("latin-1"))
        at += 1 + message[at]
    return ".".join(labels), at + 1


def parse_query(message, transport, port):
    """(Query, the question's bytes). Raises on what is no query."""
    number, flags, questions, _, _, additional = struct.unpack_from("!6H", message)
    if flags & 0x8000 or questions != 1:
        raise ValueError("not a query with one question")
    name, end = decode_name(message, 12)
    kind, _ = struct.unpack_from("!2H", message, end)
    question = message[12 : end + 4]
    udp_size = 512
    if additional and len(message) >= end + 4 + 11 and message[end + 4] == 0:
        opt, size = struct.unpack_from("!2H", message, end + 5)
        if opt == TYPES["OPT"]:
            udp_size = max(512, size)
    kind = TYPE_NAMES.get(kind, str(kind))
    return Query(name.lower(), kind, transport, number, port, udp_size, time.monotonic()), question


def record(owner, kind, ttl, data):
    return encode_name(owner) + struct.pack("!2HIH", TYPES[kind], 1, ttl, len(data)) + data


def answer_records(query, reply):
    owner, records = query.name, []
    for name, ttl in reply.cnames:
        records.append(record(owner, "CNAME", ttl, encode_name(name)))
        owner = name
    for text in reply.addrs:
        address = ipaddress.ip_address(text)
        records.append(record(owner, "A" if address.version == 4 else "AAAA", reply.ttl, address.packed))
    return records


def encode_reply(query, question, reply):
    """The whole message."""
    number = (query.id + 1) % 65536 if reply.wrong_id else query.id
    if reply.raw is not None:
        return struct.pack("!H", number) + reply.raw
    if reply.wrong_question:
        question = encode_name("other.example") + question[-4:]
    records = answer_records(query, reply)

    def message(flags, records):
        return (struct.pack("!6H", number, 0x8180 | flags | reply.rcode, 1, len(records), 0, 0)
                + question + b"".join(records))

    whole = message(0, records)
    if query.transport == "udp" and (reply.truncate or len(whole) > query.udp_size):
        return message(0x0200, [])
    return whole


class DnsServer:
    """See the module's text. All methods may be called while it serves."""

    def __init__(self, host="127.0.0.1"):
        self.host = host
        self.port = 0
        self.names = {}  # name -> {type: given}
        self.queries = []
        self.errors = []
        self.lock = threading.Condition()
        self.sockets = []
        self.threads = []
        self.timers = set()
        self.start()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()
        if exception[0] is None:
            self.check()

    @property
    def address(self):
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    # What it says

    def add(self, name, both=None, a=None, aaaa=None, ttl=None):
        """Sets all that is said of a name; both is for A and AAAA alike. ttl is for plain lists."""
        given = {}
        for kind, value in (("A", a), ("AAAA", aaaa)):
            value = both if value is None else value
            if value is not None:
                given[kind] = value if ttl is None or not isinstance(value, list) else Reply(value, ttl)
        with self.lock:
            self.names[name.lower()] = given

    def remove(self, name):
        with self.lock:
            del self.names[name.lower()]

    def reply_to(self, query):
        with self.lock:
            given = self.names.get(query.name)
        if given is None:
            return Reply(rcode=NXDOMAIN)
        value = given.get(query.type, [])
        value = value(query) if callable(value) else value
        return Reply(value) if isinstance(value, list) else value

    # What it was asked

    def asked(self, name=None, kind=None, transport=None):
        with self.lock:
            return [query for query in self.queries
                    if (name is None or query.name == name.lower())
                    and (kind is None or query.type == kind)
                    and (transport is None or query.transport == transport)]

    def count(self, name=None, kind=None, transport=None):
        return len(self.asked(name, kind, transport))

    def wait_asked(self, count, name=None, kind=None, transport=None, deadline=20):
        """Waits for the count-th such query."""
        with self.lock:
            if not self.lock.wait_for(lambda: self.count(name, kind, transport) >= count, deadline):
                raise AssertionError(f"{self.count(name, kind, transport)} queries for {name} {kind}, "
                                     f"not {count}: {self.queries}")

    def check(self):
        if self.errors:
            raise AssertionError(f"the DNS script failed: {self.errors[0]!r}") from self.errors[0]

    # The sockets

    def start(self):
        """Serves; after stop(), on the same port."""
        tcp, udp = self._bind()
        tcp.listen(256)
        self.sockets = [tcp, udp]
        self.threads = [threading.Thread(target=self._serve_udp, args=(udp,), daemon=True),
                        threading.Thread(target=self._accept, args=(tcp,), daemon=True)]
        for thread in self.threads:
            thread.start()

    def _bind(self):
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        for _ in range(50):  # the port that is free for TCP may be taken for UDP
            tcp = socket.socket(family, socket.SOCK_STREAM)
            udp = socket.socket(family, socket.SOCK_DGRAM)
            tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
            try:
                tcp.bind((self.host, self.port))
                udp.bind((self.host, tcp.getsockname()[1]))
            except OSError:
                tcp.close()
                udp.close()
                time.sleep(0.01 + random.random() * 0.01)
                continue
            self.port = tcp.getsockname()[1]
            return tcp, udp
        raise OSError("no port is free for both UDP and TCP")

    def stop(self):
        """Gone: UDP is refused, TCP too. What was to be said later is not said."""
        with self.lock:
            timers, self.timers = self.timers, set()
        for timer in timers:
            timer.cancel()
        for sock in self.sockets:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        for thread in self.threads:
            thread.join(10)
        for sock in self.sockets:
            sock.close()
        self.sockets = []

    def close(self):
        self.stop()

    def _handle(self, message, transport, port, send):
        try:
            query, question = parse_query(message, transport, port)
            with self.lock:
                self.queries.append(query)
                self.lock.notify_all()
            reply = self.reply_to(query)
            data = encode_reply(query, question, reply)
        except Exception as error:  # pylint: disable=broad-except
            self.errors.append(error)
            return
        if reply.drop:
            return
        if reply.delay:
            self._later(reply.delay, send, data)
        else:
            send(data)

    def _later(self, delay, send, data):
        def run():
            with self.lock:
                if timer not in self.timers:
                    return
                self.timers.remove(timer)
            send(data)

        timer = threading.Timer(delay, run)
        timer.daemon = True
        with self.lock:
            self.timers.add(timer)
        timer.start()

    def _serve_udp(self, sock):
        while True:
            try:
                message, peer = sock.recvfrom(65535)
            except OSError:
                return
            if not message and sock.fileno() >= 0 and peer is None:
                return  # shut down

            def send(data, peer=peer):
                try:
                    sock.sendto(data, peer)
                except OSError:
                    pass  # stopped meanwhile, or the asker has gone

            if message:
                self._handle(message, "udp", peer[1], send)

    def _accept(self, listener):
        while True:
            try:
                sock, peer = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve_tcp, args=(sock, peer[1]), daemon=True).start()

    def _serve_tcp(self, sock, port):
        sock.settimeout(30)

        def send(data):
            try:
                sock.sendall(struct.pack("!H", len(data)) + data)
            except OSError:
                pass

        with sock, sock.makefile("rb") as stream:
            try:
                while (head := stream.read(2)) and len(head) == 2:
                    self._handle(stream.read(struct.unpack("!H", head)[0]), "tcp", port, send)
            except OSError:
                pass
