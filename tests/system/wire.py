# SPDX-License-Identifier: MIT
"""Raw peers: a TCP connection with deadlines, a strict reader of HTTP/1 messages, and scripted
origins.

Nothing here forgives: a bare LF, a second Content-Length, blanks in a chunk size or bytes that do
not add up fail the test, because what the proxy wrote is what is under test.
"""

import fcntl
import os
import re
import select
import socket
import struct
import threading
import time

SLOWNESS = float(os.environ.get("VIADUCT_TEST_SLOWNESS", "1"))
DEADLINE = 20.0 * SLOWNESS

TCP_CLOSE = 7
SIOCOUTQ = 0x5411  # bytes in the send queue that the peer has not acknowledged


def wait_until(predicate, what="a condition", deadline=DEADLINE):
    """Polls until predicate() is true and returns its value."""
    end = time.monotonic() + deadline
    while True:
        value = predicate()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"waited {deadline:.1f} s in vain for {what}")
        time.sleep(0.005)


class ProtocolError(AssertionError):
    """The other side wrote something that is not strict HTTP/1."""


class Message:
    """One request or response as read off the wire."""

    def __init__(self, head):
        self.raw_head = head
        lines = head[:-4].decode("latin-1").split("\r\n")
        if "\n" in "".join(lines) or "\r" in "".join(lines):
            raise ProtocolError(f"bare CR or LF in a head: {head!r}")
        self.start = lines[0]
        self.fields = [self._field(line) for line in lines[1:]]
        self.body = b""
        self.chunks = []  # sizes, of a chunked body
        self.trailers = []
        self.framing = "none"  # none, length, chunked, close
        self.cut = None  # "fin" or "reset": the message ended early, and how the connection did
        self.interim = []  # 1xx responses that came before a final one

    @staticmethod
    def _field(line):
        match = re.fullmatch(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ ]?([^\x00\r\n]*)", line)
        if not match:
            raise ProtocolError(f"not a field line: {line!r}")
        return match.group(1), match.group(2)

    def all(self, name):
        return [value for key, value in self.fields if key.lower() == name.lower()]

    def get(self, name):
        values = self.all(name)
        if len(values) > 1:
            raise ProtocolError(f"{name} stands {len(values)} times: {values}")
        return values[0] if values else None

    def has(self, name):
        return bool(self.all(name))

    def names(self):
        return [name for name, _ in self.fields]

    # Requests
    @property
    def method(self):
        return self.start.split(" ")[0]

    @property
    def target(self):
        return self.start.split(" ")[1]

    # Responses
    @property
    def version(self):
        return (
            self.start.split(" ")[0] if self.start.startswith("HTTP/") else self.start.split(" ")[2]
        )

    @property
    def status(self):
        return int(self.start.split(" ")[1])

    @property
    def reason(self):
        return self.start.split(" ", 2)[2]

    def __repr__(self):
        return f"<{self.start} {self.fields} {self.framing} {len(self.body)} bytes cut={self.cut}>"


class Peer:
    """One end of a TCP or unix connection. Every wait ends at DEADLINE with socket.timeout."""

    def __init__(self, sock):
        self.sock = sock
        self.sock.settimeout(DEADLINE)
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""
        self.ended = None  # None, "fin" or "reset": how reading ended

    # Writing

    def send(self, data):
        self.sock.sendall(data)

    def send_pieces(self, *pieces):
        """Each piece in a segment of its own: sent once the one before is acknowledged."""
        for piece in pieces:
            self.sock.sendall(piece)
            self.wait_acknowledged()

    def trickle(self, data):
        """One byte to a segment."""
        self.send_pieces(*(data[i : i + 1] for i in range(len(data))))

    def send_with_fin(self, data):
        """The data and the FIN in one segment."""
        self.sock.sendall(data, socket.MSG_MORE)
        self.sock.shutdown(socket.SHUT_WR)

    def wait_acknowledged(self):
        """What was sent has arrived, or the peer has reset the connection."""

        def unsent():
            return struct.unpack("i", fcntl.ioctl(self.sock, SIOCOUTQ, b"\0\0\0\0"))[0]

        def over():
            return self.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == TCP_CLOSE

        wait_until(lambda: unsent() == 0 or over(), "the peer's acknowledgement")

    def finish(self):
        """Ends our direction (FIN); reading goes on."""
        self.sock.shutdown(socket.SHUT_WR)

    def reset(self):
        """Ends the connection with RST."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def close(self):
        self.sock.close()

    # Reading

    def fill(self, size=65536):
        """Reads once; False at the end of the stream (see .ended)."""
        if self.ended:
            return False
        try:
            data = self.sock.recv(size)
        except (ConnectionResetError, BrokenPipeError):
            self.ended = "reset"
            return False
        if not data:
            self.ended = "fin"
            return False
        self.buffer += data
        return True

    def take(self, count):
        data, self.buffer = self.buffer[:count], self.buffer[count:]
        return data

    def read_exactly(self, count):
        parts, have = [self.take(count)], 0
        have = len(parts[0])
        while have < count:
            if not self.fill(min(1 << 20, max(65536, count - have))):
                raise EOFError(f"{have} of {count} bytes, then {self.ended}")
            parts.append(self.take(count - have))
            have += len(parts[-1])
        return b"".join(parts)

    def read_until(self, mark):
        while mark not in self.buffer:
            if not self.fill():
                raise EOFError(f"{self.ended} before {mark!r}; have {self.buffer[:200]!r}")
        return self.take(self.buffer.index(mark) + len(mark))

    def read_to_end(self):
        """Everything up to the end of the stream; .ended says how it ended."""
        parts = [self.take(len(self.buffer))]
        while self.fill(1 << 20):
            parts.append(self.take(len(self.buffer)))
        return b"".join(parts)

    def expect_end(self, how=None):
        rest = self.read_to_end()
        assert rest == b"", f"expected the end of the stream, got {rest[:200]!r}"
        if how:
            assert self.ended == how

    def is_silent(self, seconds=0.2):
        """Nothing comes within this time (the one wait that has no event to wait for)."""
        return not self.buffer and not select.select([self.sock], [], [], seconds)[0]

    # HTTP

    def read_head(self):
        """A Message without its body, or None when the stream ended cleanly before one."""
        while b"\r\n\r\n" not in self.buffer:
            if not self.fill():
                if self.buffer:
                    raise EOFError(f"{self.ended} inside a head: {self.buffer!r}")
                return None
        return Message(self.take(self.buffer.index(b"\r\n\r\n") + 4))

    def read_request(self):
        """The next whole request, or None at the end of the stream."""
        request = self.read_head()
        if request is not None:
            if not re.fullmatch(r"[!-~]+ [!-~]+ HTTP/1\.[01]", request.start):
                raise ProtocolError(f"not a request line: {request.start!r}")
            self.read_body(request, self._request_framing(request))
        return request

    @staticmethod
    def _request_framing(request):
        if request.has("Transfer-Encoding"):
            assert request.get("Transfer-Encoding") == "chunked"
            assert not request.has("Content-Length"), request
            return "chunked"
        return "length" if request.has("Content-Length") else "none"

    def read_response_head(self, interim=()):
        response = self.read_head()
        if response is None:
            raise EOFError(f"{self.ended} instead of a response")
        if not re.fullmatch(r"HTTP/1\.[01] [1-9][0-9]{2} [^\x00-\x08\x0a-\x1f]*", response.start):
            raise ProtocolError(f"not a status line: {response.start!r}")
        response.interim = list(interim)
        return response

    def read_response(self, to="GET", may_be_cut=False):
        """The next final response with its body; interim ones stand in its .interim."""
        interim = []
        response = self.read_response_head()
        while response.status < 200 and response.status != 101:
            interim.append(response)
            response = self.read_response_head()
        response.interim = interim
        if (
            to == "HEAD"
            or response.status in (101, 204, 304)
            or (to == "CONNECT" and response.status // 100 == 2)
        ):
            return response
        if response.has("Transfer-Encoding"):
            assert response.get("Transfer-Encoding") == "chunked"
            assert not response.has("Content-Length"), response
            framing = "chunked"
        elif response.has("Content-Length"):
            framing = "length"
        else:
            framing = "close"
        self.read_body(response, framing, may_be_cut)
        return response

    def read_body(self, message, framing, may_be_cut=False):
        message.framing = framing
        try:
            if framing == "length":
                length = message.get("Content-Length")
                if not re.fullmatch(r"[0-9]+", length):
                    raise ProtocolError(f"Content-Length: {length!r}")
                self._read_counted(message, int(length))
            elif framing == "chunked":
                self._read_chunks(message)
            elif framing == "close":
                message.body = self.read_to_end()
                if self.ended == "reset":
                    raise EOFError
        except EOFError:
            message.cut = self.ended
            if not may_be_cut:
                raise AssertionError(f"cut short: {message}") from None

    def _read_counted(self, message, count):
        end = len(message.body) + count
        while len(message.body) < end:
            if not self.buffer and not self.fill(1 << 20):
                raise EOFError
            message.body += self.take(end - len(message.body))

    def _read_chunks(self, message):
        while True:
            line = self.read_until(b"\r\n")[:-2]
            if not re.fullmatch(rb"[0-9A-Fa-f]{1,16}", line):
                raise ProtocolError(f"chunk head {line!r}")
            size = int(line, 16)
            if size == 0:
                break
            message.chunks.append(size)
            self._read_counted(message, size)
            if self.read_exactly(2) != b"\r\n":
                raise ProtocolError("no CRLF behind a chunk")
        while (line := self.read_until(b"\r\n")[:-2]) != b"":
            message.trailers.append(Message._field(line.decode("latin-1")))

    # Client side

    def request(self, method, target, fields=(), body=None, version="1.1"):
        """Writes one request. fields are added behind Host, which is made from the target unless
        given."""
        self.send(request_bytes(method, target, fields, body, version))

    def get(self, target, fields=(), **kwargs):
        """One GET and its response."""
        self.request("GET", target, fields)
        return self.read_response(**kwargs)


def request_bytes(method, target, fields=(), body=None, version="1.1"):
    fields = list(fields)
    if version == "1.1" and not any(name.lower() == "host" for name, _ in fields):
        match = re.match(r"(?:[a-z]+://)?([^/?#]*)", target, re.I)
        fields.insert(0, ("Host", match.group(1)))
    if body is not None and not any(name.lower() == "transfer-encoding" for name, _ in fields):
        fields.append(("Content-Length", str(len(body))))
    head = f"{method} {target} HTTP/{version}\r\n"
    head += "".join(f"{name}: {value}\r\n" for name, value in fields)
    return head.encode("latin-1") + b"\r\n" + (body or b"")


def response_bytes(status="200 OK", fields=(), body=b"", framing="length", version="1.1"):
    """A response as an origin writes it; framing is length, chunked, close or none."""
    fields = list(fields)
    if framing == "length":
        fields.append(("Content-Length", str(len(body))))
    elif framing == "chunked":
        fields.append(("Transfer-Encoding", "chunked"))
        body = chunked(body)
    head = f"HTTP/{version} {status}\r\n" + "".join(f"{n}: {v}\r\n" for n, v in fields)
    return head.encode("latin-1") + b"\r\n" + body


def chunked(*pieces, trailers=()):
    """A chunked body, one chunk to a piece, with its last chunk."""
    data = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces if piece)
    data += b"0\r\n" + "".join(f"{n}: {v}\r\n" for n, v in trailers).encode("latin-1") + b"\r\n"
    return data


def connect(address):
    """A Peer connected to (host, port) or to the path of a unix socket."""
    if isinstance(address, str):
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(DEADLINE)
        sock.connect(address)
        return Peer(sock)
    return Peer(socket.create_connection(address, timeout=DEADLINE))


class OriginPeer(Peer):
    def __init__(self, sock, origin):
        super().__init__(sock)
        self.origin = origin

    def read_request(self):
        request = super().read_request()
        if request is not None:
            request.peer = self
            self.origin.requests.append(request)
        return request


class Origin:
    """A TCP server whose connections each run script(peer) in a thread of its own.

    A script given as bytes answers every request with them. An exception in a script fails the
    test when the origin is closed; what scripts meet because it is being closed does not count.
    """

    def __init__(self, script, host="127.0.0.1", receive_buffer=None, port=0):
        self.script = script if callable(script) else lambda peer: answer_all(peer, script)
        self.requests = []  # in the order in which they were read whole
        self.peers = []  # in the order of acceptance
        self.errors = []
        self.closing = False
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.listener = socket.socket(family)
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if receive_buffer:
            self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.listener.bind((host, port))
        self.listener.listen(1024)
        self.host = host
        self.port = self.listener.getsockname()[1]
        self.authority = f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}"
        self.threads = []
        self.acceptor = threading.Thread(target=self._accept, daemon=True)
        self.acceptor.start()

    def url(self, path="/"):
        return f"http://{self.authority}{path}"

    def _accept(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            if self.closing:
                sock.close()
                return
            peer = OriginPeer(sock, self)
            self.peers.append(peer)
            thread = threading.Thread(target=self._run, args=(peer,), daemon=True)
            self.threads.append(thread)
            thread.start()

    def _run(self, peer):
        try:
            self.script(peer)
        except BaseException as error:  # pylint: disable=broad-except
            if not self.closing:
                self.errors.append(error)
        finally:
            peer.close()

    def wait_requests(self, count):
        wait_until(
            lambda: len(self.requests) >= count or self.errors, f"{count} requests at the origin"
        )
        self.check()
        return self.requests

    def wait_peers(self, count):
        wait_until(lambda: len(self.peers) >= count, f"{count} connections at the origin")
        return self.peers

    def join(self):
        """Waits for the scripts of all connections so far, and fails if one of them failed."""
        wait_until(self._all_started, "scripts to be started")
        for thread in list(self.threads):
            thread.join(DEADLINE)
            assert not thread.is_alive(), "an origin's script did not end"
        self.check()

    def _all_started(self):
        return len(self.threads) == len(self.peers) and all(t.ident for t in self.threads)

    def check(self):
        if self.errors:
            raise AssertionError(
                f"the origin's script failed: {self.errors[0]!r}"
            ) from self.errors[0]

    def stop_listening(self):
        """No new connection from now on; those that are stay."""
        try:
            self.listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.listener.close()
        self.acceptor.join(DEADLINE)

    def close(self):
        self.closing = True
        self.stop_listening()
        for peer in self.peers:
            try:
                peer.sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        for thread in self.threads:
            thread.join(DEADLINE)


def answer_all(peer, response):
    while peer.read_request() is not None:
        peer.send(response)


def free_port(host="127.0.0.1"):
    """A port where nobody listens."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as sock:
        sock.bind((host, 0))
        return sock.getsockname()[1]
