# SPDX-License-Identifier: MIT
"""Many client connections and an origin in one thread: as fast as Python goes. Raw bytes only; what
they mean is decided elsewhere."""

import errno
import selectors
import socket
import struct
import time

RST = struct.pack("ii", 1, 0)


class Client:
    """One connection to the proxy: what it sends, and what came back."""

    def __init__(self, sends, ending, source=None):
        self.sends = list(sends)  # each in a write of its own
        self.ending = ending  # behind the last: "fin", "wait" (for the end), "close" or "rst"
        self.source = source  # address to come from
        self.received = bytearray()
        self.ended = None  # "fin", "reset", "refused", "patience", or its own "close", "rst"


class Origin:
    """Of one connection that the proxy made; subclasses answer."""

    def __init__(self, address):
        self.address = address  # the one that was dialled
        self.received = bytearray()
        self.ended = None

    def feed(self, data):
        """Returns (bytes to send, None or "fin" or "rst")."""
        raise NotImplementedError


class _Conn:
    def __init__(self, sock, owner, deadline):
        self.sock, self.owner, self.deadline = sock, owner, deadline
        self.out = []
        self.then = None
        self.mask = selectors.EVENT_READ


class Engine:
    def __init__(self, make_origin):
        self.make_origin = make_origin
        self.selector = selectors.DefaultSelector()
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind(("0.0.0.0", 0))
        self.listener.listen(4096)
        self.listener.setblocking(False)
        self.port = self.listener.getsockname()[1]
        self.selector.register(self.listener, selectors.EVENT_READ, None)
        self.origins = []  # of this batch, in the order of acceptance
        self.conns = set()  # of clients
        self.origin_conns = set()

    def run(self, proxy, clients, concurrency=100, patience=3.0):
        """Runs all clients to their end, then closes what the proxy still holds open here. Returns
        the origins' connections."""
        self.origins = []
        waiting = list(reversed(clients))
        while waiting or self.conns:
            while waiting and len(self.conns) < concurrency:
                self._connect(proxy, waiting.pop(), patience)
            self._turn(0.05)
            self._look_at_deadlines()
        return self.origins

    def close_origins(self):
        """What is still on its way is read first."""
        self._turn(0)
        for conn in list(self.origin_conns):
            self._drop(conn, "closed")

    def _turn(self, timeout):
        for key, mask in self.selector.select(timeout):
            if key.data is None:
                self._accept()
            elif mask & selectors.EVENT_READ and not self._read(key.data):
                continue
            elif mask & selectors.EVENT_WRITE or key.data and key.data.out:
                self._write(key.data)

    def _connect(self, proxy, client, patience):
        sock = socket.socket()
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if client.source:
            sock.setsockopt(socket.IPPROTO_IP, 24, 1)  # IP_BIND_ADDRESS_NO_PORT
            sock.bind((client.source, 0))
        error = sock.connect_ex(proxy)
        if error not in (0, errno.EINPROGRESS):
            sock.close()
            client.ended = "refused"
            return
        conn = _Conn(sock, client, time.monotonic() + patience)
        conn.out = list(client.sends)
        conn.then = client.ending
        conn.mask |= selectors.EVENT_WRITE
        self.selector.register(sock, conn.mask, conn)
        self.conns.add(conn)

    def _accept(self):
        for _ in range(64):
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            origin = self.make_origin(sock.getsockname()[0])
            self.origins.append(origin)
            conn = _Conn(sock, origin, None)
            self.selector.register(sock, conn.mask, conn)
            self.origin_conns.add(conn)

    def _read(self, conn):
        """False when the connection is gone."""
        try:
            data = conn.sock.recv(65536)
        except BlockingIOError:
            return True
        except OSError:
            self._drop(conn, "reset")
            return False
        if not data:
            self._drop(conn, "fin")
            return False
        conn.owner.received += data
        if conn in self.origin_conns:
            answer, then = conn.owner.feed(data)
            if answer:
                conn.out += answer if isinstance(answer, list) else [answer]
            conn.then = conn.then or then
            if answer or then:
                self._write(conn)
        return conn.sock.fileno() >= 0

    def _write(self, conn):
        """One piece to a call, so that pieces arrive one by one."""
        if conn.out:
            try:
                sent = conn.sock.send(conn.out[0])
            except BlockingIOError:
                sent = 0
            except OSError:
                conn.out, conn.then = [], "wait"
                self._want(conn, False)
                return
            conn.out[0] = conn.out[0][sent:]
            if not conn.out[0]:
                conn.out.pop(0)
        if not conn.out:
            self._finish(conn)
        if conn.sock.fileno() >= 0:
            self._want(conn, bool(conn.out))

    def _finish(self, conn):
        then, conn.then = conn.then, None
        if then == "fin":
            try:
                conn.sock.shutdown(socket.SHUT_WR)
            except OSError:
                pass
        elif then in ("close", "rst"):
            if then == "rst":
                conn.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RST)
            self._drop(conn, then)

    def _want(self, conn, write):
        mask = selectors.EVENT_READ | (selectors.EVENT_WRITE if write else 0)
        if mask != conn.mask:
            conn.mask = mask
            self.selector.modify(conn.sock, mask, conn)

    def _drop(self, conn, how):
        conn.owner.ended = how
        self.selector.unregister(conn.sock)
        conn.sock.close()
        self.conns.discard(conn)
        self.origin_conns.discard(conn)

    def _look_at_deadlines(self):
        now = time.monotonic()
        for conn in [conn for conn in self.conns if conn.deadline < now]:
            self._drop(conn, "patience")
