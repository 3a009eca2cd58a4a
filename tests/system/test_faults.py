# SPDX-License-Identifier: MIT
"""System calls, networks and peers that fail: each failure has its answer and its log line, leaves
nothing behind, and the next request works."""

import errno
import mmap
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import networks
import wire
from dns_server import DnsServer, Reply
from test_auth import QUICK, RIGHT, STAFF
from viaduct_harness import binary
from wire import free_port, request_bytes, response_bytes, wait_until

OK = response_bytes(body=b"ok")
SOURCE = Path(__file__).with_name("load") / "failing.c"
CALLS = (
    "accept4 socket pipe2 epoll_ctl getrandom connect splice eventfd epoll_create1 signalfd bind"
    " listen fcntl netlink speech hang"
).split()
FOREVER = 1 << 30
IP_BIND_ADDRESS_NO_PORT = 24  # a name of Python 3.12


# --- System calls that fail ---------------------------------------------------


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    path = tmp_path_factory.mktemp("failing") / "failing.so"
    command = ["gcc", "-std=c17", "-D_GNU_SOURCE", "-O1", "-shared", "-fPIC", "-o", path, SOURCE]
    subprocess.run(command, check=True)
    return path


class Failing:
    """What the preloaded library reads."""

    def __init__(self, library, directory):
        path = directory / "failing"
        path.write_bytes(bytes(4096))
        with open(path, "r+b") as file:
            self.map = mmap.mmap(file.fileno(), 4096)
        self.environment = {
            "LD_PRELOAD": str(library),
            "FAILING": str(path),
            "ASAN_OPTIONS": "detect_leaks=1:abort_on_error=0:verify_asan_link_order=0",
        }

    def fail(self, call, error, count=FOREVER, skip=0):
        at = 16 * CALLS.index(call)
        struct.pack_into("=i", self.map, at, 0)
        struct.pack_into("=iii", self.map, at + 4, skip, count, 0)
        struct.pack_into("=i", self.map, at, error)

    def stop(self, call):
        struct.pack_into("=i", self.map, 16 * CALLS.index(call), 0)

    def failed(self, call):
        return struct.unpack_from("=i", self.map, 16 * CALLS.index(call) + 12)[0]


@pytest.fixture
def failing(library, tmp_path):
    return Failing(library, tmp_path)


def start(lab, failing, *options, **how):
    return lab.fresh("server.workers=1", *options, env=failing.environment, **how)


def works(lab, proxy):
    origin = lab.origin(OK)
    client = lab.client(proxy)
    assert client.get(origin.url("/works")).status == 200
    client.close()
    proxy.wait_request(origin.url("/works"))


OURS = {
    "EMFILE": (errno.EMFILE, 503),
    "ENFILE": (errno.ENFILE, 503),
    "ENOBUFS": (errno.ENOBUFS, 503),
    "ENOMEM": (errno.ENOMEM, 503),
}


@pytest.mark.parametrize("error", OURS)
def test_accept_that_fails_for_want_of_something(lab, failing, error):
    """Clients wait in the queue, and nothing spins; with room they are served."""
    proxy = start(lab, failing)
    origin = lab.origin(OK)
    failing.fail("accept4", OURS[error][0])
    clients = [lab.client(proxy) for _ in range(3)]
    for client in clients:
        client.request("GET", origin.url())
    wait_until(lambda: failing.failed("accept4") >= 2, "it to try again")
    used, tries, begin = proxy.cpu_seconds(), failing.failed("accept4"), time.monotonic()
    assert all(client.is_silent(0.4) for client in clients)
    assert failing.failed("accept4") - tries < 20 * (time.monotonic() - begin), "it spins"
    assert proxy.cpu_seconds() - used < 0.2
    assert len(proxy.find_lines(event="listener", level="warning")) == 1
    failing.stop("accept4")
    for client in clients:
        assert client.read_response().status == 200


@pytest.mark.parametrize("error", ["ECONNABORTED", "EPROTO", "EPERM", "ENETDOWN", "EINTR"])
def test_accept_that_fails_for_one_connection(lab, failing, error):
    proxy = start(lab, failing)
    failing.fail("accept4", getattr(errno, error), count=1)
    begin = time.monotonic()
    works(lab, proxy)
    assert failing.failed("accept4") == 1 and time.monotonic() - begin < 0.9 * wire.SLOWNESS


def test_drain_of_a_queue_that_is_never_empty(lab, failing):
    """What waits there when it begins is taken, not all that ever comes."""
    proxy = start(lab, failing)
    works(lab, proxy)
    failing.fail("accept4", errno.ECONNABORTED)  # that one is gone, try the next
    proxy.signal(signal.SIGTERM)
    assert proxy.wait_exit() == 0
    assert 1 <= failing.failed("accept4") <= 1 << 16


@pytest.mark.parametrize("method", ["GET", "CONNECT"])
@pytest.mark.parametrize("call", ["socket", "connect", "epoll_ctl"])
@pytest.mark.parametrize("error", OURS)
def test_no_resource_for_the_origin_is_503(lab, failing, call, error, method):
    if call == "epoll_ctl" and error in ("EMFILE", "ENFILE"):
        pytest.skip("does not happen")
    proxy = start(lab, failing)
    origin = lab.origin(OK)
    client = lab.client(proxy)
    assert client.get("http://127.0.0.1:1/").status == 502  # it is in
    failing.fail(call, OURS[error][0])
    target = origin.authority if method == "CONNECT" else origin.url()
    client.request(method, target)
    response = client.read_response()
    assert response.status == OURS[error][1] and int(response.get("Retry-After")) > 0
    line = proxy.wait_request(target)
    assert line["status"] == "503" and line["end"].startswith("error:no-")
    failing.stop(call)
    works(lab, proxy)


CONNECT_ERRORS = {
    "ECONNREFUSED": ("502", "error:connection-refused"),
    "ECONNRESET": ("502", "error:connect-reset"),
    "EHOSTUNREACH": ("502", "error:unreachable"),
    "ENETUNREACH": ("502", "error:unreachable"),
    "EACCES": ("502", "error:unreachable"),
    "ETIMEDOUT": ("504", "timeout:connect"),
    "EADDRNOTAVAIL": ("503", "error:no-descriptors"),
}


@pytest.mark.parametrize("method", ["GET", "CONNECT"])
@pytest.mark.parametrize("error", CONNECT_ERRORS)
def test_connect_that_fails(lab, failing, error, method):
    proxy = start(lab, failing)
    origin = lab.origin(OK)
    failing.fail("connect", getattr(errno, error))
    client = lab.client(proxy)
    target = origin.authority if method == "CONNECT" else origin.url()
    client.request(method, target)
    assert str(client.read_response(to=method).status) == CONNECT_ERRORS[error][0]
    line = proxy.wait_request(target)
    assert (line["status"], line["end"]) == CONNECT_ERRORS[error], line["raw"]
    failing.stop("connect")
    works(lab, proxy)


def test_no_event_for_a_client_closes_it(lab, failing):
    proxy = start(lab, failing)
    works(lab, proxy)
    failing.fail("epoll_ctl", errno.ENOSPC, count=1)
    client = lab.client(proxy)
    client.read_to_end()
    failing.stop("epoll_ctl")
    works(lab, proxy)


@pytest.mark.parametrize("words, status", [(response_bytes(), 200), (b"", 502)])
def test_origin_that_speaks_first(lab, failing, words, status):
    """Its bytes, or its end, are there as soon as the connection is: one event tells of both."""

    def script(peer):
        peer.send(words)
        peer.finish()
        peer.read_to_end()

    proxy = start(lab, failing)
    failing.fail("speech", errno.EAGAIN, count=1)
    client = lab.client(proxy)
    client.request("GET", lab.origin(script).url())
    assert client.read_response().status == status
    assert failing.failed("speech") == 1


@pytest.mark.parametrize("call, error", [("pipe2", "EMFILE"), ("pipe2", "ENFILE"),
                                         ("splice", "EINVAL"), ("splice", "ENOSYS"),
                                         ("splice", "ENOMEM")])
@pytest.mark.parametrize("count", [1, FOREVER])
def test_tunnel_without_splice_copies(lab, failing, call, error, count):
    size = 8_000_000

    def echo(peer):
        while peer.fill(1 << 20):
            peer.send(peer.take(len(peer.buffer)))

    proxy = start(lab, failing)
    client = lab.tunnel(proxy, lab.origin(echo))
    failing.fail(call, getattr(errno, error), count=count)
    begin = time.monotonic()
    sender = threading.Thread(target=client.send, args=(b"x" * size,))
    sender.start()
    assert len(client.read_exactly(size)) == size
    sender.join(wire.DEADLINE)
    assert failing.failed(call) > 0
    assert time.monotonic() - begin < 3 * wire.SLOWNESS, "it stood still in between"


MIDWAY = [("pipe2", "EMFILE", 0)] + [
    ("splice", error, skip) for error in ("EINVAL", "ENOMEM") for skip in (1, 2, 9, 40)
]


@pytest.mark.parametrize("call, error, skip", MIDWAY)
def test_splice_that_fails_midway_loses_nothing(lab, failing, call, error, skip):
    """Into the pipe or out of it, with bytes held there: they are copied on."""
    piece = bytes(range(251)) * 4000
    got = []

    def script(peer):
        assert peer.read_exactly(5) == b"begin"
        sent = b"".join(piece[n:] + piece[:n] for n in range(20))
        sender = threading.Thread(target=peer.send, args=(sent,))
        sender.start()
        got.append(peer.read_to_end())
        sender.join(wire.DEADLINE)

    proxy = start(lab, failing)
    origin = lab.origin(script)
    client = lab.tunnel(proxy, origin)
    failing.fail(call, getattr(errno, error), skip=skip)
    client.send(b"begin")
    reader = threading.Thread(target=lambda: got.append(client.read_exactly(20 * len(piece))))
    reader.start()
    sent = b"".join(piece[n:] + piece[:n] for n in range(50, 70))
    client.send(sent)
    client.finish()
    reader.join(wire.DEADLINE)
    origin.join()
    assert failing.failed(call) > 0
    assert sorted(got) == sorted([sent, b"".join(piece[n:] + piece[:n] for n in range(20))])
    assert proxy.wait_request(origin.authority)["end"] == "complete"


@pytest.mark.parametrize("upload", [False, True])
@pytest.mark.parametrize("count", [1, FOREVER])
@pytest.mark.parametrize("call, error, skip", [("pipe2", "EMFILE", 0), ("pipe2", "ENFILE", 0)] + [
    ("splice", error, skip) for error in ("EINVAL", "ENOSYS", "ENOMEM") for skip in (0, 1, 2, 5)
])  # fmt: skip
def test_body_without_splice_is_copied(lab, failing, call, error, skip, count, upload):
    """Into the pipe or out of it, at once or with bytes held there."""
    body = bytes(range(251)) * 100_000
    proxy = start(lab, failing)
    origin = lab.origin(OK if upload else response_bytes(body=body))
    failing.fail(call, getattr(errno, error), count=count, skip=skip)
    client = lab.client(proxy)
    client.request("PUT" if upload else "GET", origin.url(), body=body if upload else None)
    assert client.read_response().body == (b"ok" if upload else body)
    if upload:
        assert origin.requests[0].body == body
    assert failing.failed(call) > 0
    assert proxy.wait_request(origin.url())["end"] == "complete"


def test_pipes_that_are_too_small_are_not_used(lab, failing):
    """Beyond its pipe limits a user gets pipes of two pages: worse than copying. They are asked for
    again now and then, not for every piece."""
    proxy = start(lab, failing)
    before = proxy.descriptor_count()
    failing.fail("fcntl", errno.EPERM)
    body = bytes(range(251)) * 100_000
    since = time.monotonic()
    client = lab.client(proxy)
    assert client.get(lab.origin(response_bytes(body=body)).url()).body == body
    seconds = int(time.monotonic() - since) + 1
    assert 0 < failing.failed("fcntl") <= 2 * (seconds + 1), "two sizes, once a second"
    client.close()
    wait_until(lambda: proxy.descriptor_count() <= before + 1, "no pipe to be left")


@pytest.mark.parametrize("call, error", [("socket", "EMFILE"), ("epoll_ctl", "ENOSPC"),
                                         ("connect", "ENETUNREACH")])
def test_no_socket_for_a_question(lab, failing, call, error):
    """A name cannot be asked for: said at once, and a moment later it can."""
    with DnsServer() as dns:
        dns.add("name.test", a=["127.0.0.1"], aaaa=[])
        proxy = start(lab, failing, f"dns.servers={dns.address}", "dns.negative_ttl=0")
        origin = lab.origin(OK)
        client = lab.client(proxy)
        assert client.get("http://127.0.0.1:1/").status == 502  # it is in
        failing.fail(call, getattr(errno, error), count=1)
        client.request("GET", f"http://name.test:{origin.port}/one")
        assert client.read_response().status in (200, 502, 503)
        assert failing.failed(call) == 1
        assert client.get(f"http://name.test:{origin.port}/two").status == 200


def test_getrandom_fails_later(lab, failing):
    with DnsServer() as dns:
        dns.add("name.test", a=["127.0.0.1"], aaaa=[])
        proxy = start(lab, failing, f"dns.servers={dns.address}")
        failing.fail("getrandom", errno.ENOSYS)
        origin = lab.origin(OK)
        assert lab.client(proxy).get(f"http://name.test:{origin.port}/").status == 200


AT_START = {
    "socket": errno.EMFILE,
    "bind": errno.EACCES,
    "listen": errno.ENOBUFS,
    "epoll_create1": errno.EMFILE,
    "eventfd": errno.ENFILE,
    "signalfd": errno.EMFILE,
    "epoll_ctl": errno.ENOSPC,
}


@pytest.mark.parametrize("call", AT_START)
def test_start_that_fails_says_so(failing, call):
    result = subprocess.run(
        [binary(), "serve", "-o", "listen a.address=127.0.0.1:0", "-o", "server.workers=1"],
        env={**failing.environment, "FAILING_AT_START": f"{call}={AT_START[call]}"},
        capture_output=True,
        text=True,
        timeout=wire.DEADLINE,
        check=False,
    )
    said = result.stdout + result.stderr
    assert result.returncode == 1 and "error" in said, said
    assert "Sanitizer" not in said and "runtime error" not in said, said


def test_start_without_netlink_says_what_to_do(failing):
    result = subprocess.run(
        [binary(), "serve", "-o", "listen a.address=127.0.0.1:0", "-o", "server.workers=2"],
        env={**failing.environment, "FAILING_AT_START": f"netlink={errno.EAFNOSUPPORT}"},
        capture_output=True,
        text=True,
        timeout=wire.DEADLINE,
        check=False,
    )
    assert result.returncode == 1
    (line,) = [line for line in (result.stdout + result.stderr).splitlines() if "error" in line]
    assert NO_ADDRESSES in line


NO_ADDRESSES = (
    "this machine's addresses cannot be read: no netlink socket may be opened; where a service manager "
    "or a sandbox restricts address families, AF_NETLINK must be among them"
)


@pytest.mark.parametrize("error", ["EAFNOSUPPORT", "EPERM", "EACCES"])
def test_explain_without_netlink_says_what_is_missing(failing, error):
    """`check` needs no addresses."""

    def run(*words):
        return subprocess.run(
            [binary(), *words],
            env={**failing.environment, "FAILING_AT_START": f"netlink={getattr(errno, error)}"},
            capture_output=True,
            text=True,
            timeout=wire.DEADLINE,
            check=False,
        )

    result = run("explain", "--resolve", "192.0.2.1", "a.example:443")
    assert (result.returncode, result.stdout) == (3, "")
    assert result.stderr == f"viaduct: nothing can be judged: {NO_ADDRESSES}\n"
    assert run("check").returncode == 0


def test_a_daemon_that_can_no_longer_read_its_addresses_explains_that(lab, failing, tmp_path):
    proxy = start(lab, failing, f"admin.address=unix:{tmp_path}/admin")
    proxy.wait_for_log(event="admin", msg="listening")
    failing.fail("netlink", errno.EAFNOSUPPORT)
    words = [binary(), "explain", "-s", f"unix:{tmp_path}/admin", "a.example:443"]
    result = subprocess.run(
        words, capture_output=True, text=True, timeout=wire.DEADLINE, check=False
    )
    assert (result.returncode, result.stderr) == (3, f"viaduct: nothing can be judged: {NO_ADDRESSES}\n")
    failing.stop("netlink")
    works(lab, proxy)


@pytest.mark.parametrize("error", ["ENOSYS", "EPERM", "EAGAIN"])
def test_start_without_getrandom_serves(lab, failing, error):
    proxy = lab.fresh(
        "server.workers=1",
        env={**failing.environment, "FAILING_AT_START": f"getrandom={getattr(errno, error)}"},
    )
    works(lab, proxy)


# --- Files that do not answer -------------------------------------------------


class Hanging:
    """A daemon whose reload hangs in a file."""

    def __init__(self, lab, failing, tmp_path):
        names = tmp_path / "names"
        names.write_text("a.example\n")
        self.failing = failing
        self.names = str(names)
        self.socket = str(tmp_path / "admin.sock")
        self.proxy = lab.fresh(
            f"admin.address=unix:{self.socket}",
            config=f"[access]\na = allow hosts {names} from loopback to any\n",
            env={**failing.environment, "FAILING_PATH": str(names)},
        )
        self.proxy.wait_for_log(event="admin", msg="listening")
        self.proxy.note_idle()
        names.write_text("b.example\n")
        failing.fail("hang", errno.EIO)
        self.asker = lab.client(self.socket)
        self.asker.request("POST", "/reload", [("Host", "localhost")], b"")
        wait_until(lambda: failing.failed("hang") > 0, "it to hang")


def test_a_reload_that_hangs_does_not_hold_up_the_end(lab, failing, tmp_path):
    hanging = Hanging(lab, failing, tmp_path)
    assert lab.client(hanging.proxy).get("http://b.example/").status == 403
    hanging.proxy.signal(signal.SIGTERM)
    assert hanging.asker.read_response().status == 409
    assert hanging.proxy.wait_exit() == 0
    line = hanging.proxy.wait_for_log(event="stop", level="warning")
    assert str(hanging.proxy.config) in line["msg"]
    assert not os.path.exists(hanging.socket)


def test_the_end_waits_a_little_for_a_reload(lab, failing, tmp_path):
    hanging = Hanging(lab, failing, tmp_path)
    hanging.proxy.signal(signal.SIGTERM)
    hanging.proxy.wait_for_log(event="stop", msg="viaduct ends")
    failing.stop("hang")
    assert hanging.proxy.wait_exit() == 0
    assert not hanging.proxy.find_lines(event="stop", level="warning")


def test_a_reload_that_hangs_is_told_of(lab, failing, tmp_path):
    """In the log, once; by status; and by the command that waits for it."""
    hanging = Hanging(lab, failing, tmp_path)
    ask = [binary(), "-s", hanging.socket]
    with subprocess.Popen(
        [*ask, "reload"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as command:
        line = hanging.proxy.wait_for_log(event="reload", level="warning")
        assert (line["file"], line["msg"][:11]) == (hanging.names, "takes more ")
        told = command.stderr.readline()
        assert told.startswith(f"viaduct: the reload takes long: reading {hanging.names}, for ")
        status = subprocess.run([*ask, "status"], capture_output=True, text=True, check=True).stdout
        assert f"\nreload            reading {hanging.names}, for " in status
        failing.stop("hang")
        assert hanging.asker.read_response().status == 200
        assert command.stdout.read() == "generation 3 is in force, 0 changes\n"
        assert (command.wait(), command.stderr.read()) == (0, "")
    assert len(hanging.proxy.find_lines(event="reload", level="warning")) == 1
    status = subprocess.run([*ask, "status"], capture_output=True, text=True, check=True).stdout
    assert "reload " not in status


def test_reloads_that_hang_leave_room_for_other_questions(lab, failing, tmp_path):
    hanging = Hanging(lab, failing, tmp_path)
    waiting = [hanging.asker, *(lab.client(hanging.socket) for _ in range(31))]
    for client in waiting[1:]:
        client.request("POST", "/reload", [("Host", "localhost")], b"")
    hanging.proxy.wait_for_log(event="reload", by="admin", count=32)
    one_more = lab.client(hanging.socket)
    one_more.request("POST", "/reload", [("Host", "localhost")], b"")
    assert one_more.read_response().status == 503
    failing.stop("hang")
    assert {client.read_response().status for client in waiting} == {200}
    again = lab.client(hanging.socket)
    again.request("POST", "/reload", [("Host", "localhost")], b"")
    assert again.read_response().status == 200


def test_a_users_file_that_hangs_holds_up_nobody_else(lab, failing, tmp_path):
    """Who shows no credentials is served by the same worker; who does waits, once what was known
    of the file counts no more."""
    users = tmp_path / "users"
    users.write_text(f"alice:{QUICK}\n")
    free, guarded = lab.origin(OK), lab.origin(OK)
    proxy = lab.fresh(
        "server.workers=1",
        config=f"[auth]\nusers = {users}\n[access]\n"
        f"free = allow from loopback to any port {free.port}\n{STAFF}",
        env={**failing.environment, "FAILING_PATH": str(users)},
    )
    other, alice = lab.client(proxy), lab.client(proxy)
    assert alice.get(guarded.url(), RIGHT).status == 200
    failing.fail("hang", errno.EIO)
    end = time.monotonic() + wire.DEADLINE
    while True:  # what was known counts for a while after the look has begun
        alice.request("GET", guarded.url(), RIGHT)
        wait_until(lambda: failing.failed("hang") > 0 or not alice.is_silent(0), "an answer or the look")
        if failing.failed("hang") > 0 and alice.is_silent(0.5 * wire.SLOWNESS):
            break
        assert alice.read_response().status == 200
        assert time.monotonic() < end, "nobody is held"
    for _ in range(5):
        assert other.get(free.url()).status == 200
    assert alice.is_silent(0.5 * wire.SLOWNESS), "held, and not only late"
    failing.stop("hang")
    assert alice.read_response().status == 200


# --- Networks that fail -------------------------------------------------------


class Namespace:
    """A daemon in a network of its own, with what runs there. Threads enter it one call at a
    time: a socket belongs to the network in which it was made."""

    def __init__(self, lab, program, *options, prepare=""):
        probe = subprocess.run(["unshare", "-n", "true"], capture_output=True, check=False)
        if probe.returncode != 0:
            pytest.skip("network namespaces may not be made here")
        self.lab = lab
        self.ip = program("ip", "iproute2")
        words = f'{self.ip} link set lo up; {prepare} exec "$0" "$@"'
        self.proxy = lab.fresh(
            "server.workers=1", *options, wrapper=["unshare", "-n", "sh", "-c", words]
        )

    def inside(self, action):
        with networks.inside(f"/proc/{self.proxy.pid}/ns/net"):
            return action()

    def client(self):
        return self.inside(lambda: self.lab.client(self.proxy))

    def origin(self, script=OK):
        return self.inside(lambda: self.lab.origin(script))

    def run(self, *command):
        subprocess.run(
            ["nsenter", "-t", str(self.proxy.pid), "-n", *command],
            check=True,
            timeout=wire.DEADLINE,
        )


@pytest.fixture
def namespace(lab, program):
    """The lab looks at /proc/PID/net through the daemon itself, and so into its network."""
    return lambda *options, **how: Namespace(lab, program, *options, **how)


@pytest.fixture
def filtered(namespace, program):
    """A namespace whose packet filter can be told what to do with connections to a port."""

    def make(*options):
        net = namespace(*options)
        nft = program("nft", "nftables")
        net.run(nft, "add table ip t; add chain ip t in { type filter hook input priority 0; }")
        net.on_port = lambda port, what: net.run(nft, f"add rule ip t in tcp dport {port} {what}")
        net.from_port = lambda port, what: net.run(nft, f"add rule ip t in tcp sport {port} {what}")
        net.forget = lambda: net.run(nft, "flush chain ip t in")
        return net

    return make


FILTERS = {
    "drop": ("504", "timeout:connect"),
    "reject with tcp reset": ("502", "error:connection-refused"),
    "reject with icmp host-unreachable": ("502", "error:unreachable"),
    "reject with icmp net-unreachable": ("502", "error:unreachable"),
}


@pytest.mark.parametrize("method", ["GET", "CONNECT"])
@pytest.mark.parametrize("what", FILTERS)
def test_filtered_connection(filtered, what, method):
    net = filtered("timeouts.connect=500ms")
    origin = net.origin()
    net.on_port(origin.port, what)
    client = net.client()
    target = origin.authority if method == "CONNECT" else origin.url()
    client.request(method, target)
    assert str(client.read_response(to=method).status) == FILTERS[what][0]
    line = net.proxy.wait_request(target)
    assert (line["status"], line["end"]) == FILTERS[what], line["raw"]
    net.forget()
    assert net.client().get(origin.url()).status == 200


@pytest.mark.parametrize("state", ["waiting", "body", "tunnel"])
def test_network_that_swallows_everything(filtered, state):
    """The origin is there and says nothing more: only time can tell."""
    net = filtered("timeouts.response=500ms", "timeouts.idle=500ms", "timeouts.tunnel_idle=500ms")
    cut, over = threading.Event(), threading.Event()
    net.lab.at_end(over.set)

    def script(peer):
        if state != "tunnel":
            peer.read_request()
        if state == "body":
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhalf")
        assert cut.wait(wire.DEADLINE)
        over.wait(wire.DEADLINE)

    origin = net.origin(script)
    client = net.client()
    target = origin.authority if state == "tunnel" else origin.url("/swallowed")
    client.request("CONNECT" if state == "tunnel" else "GET", target)
    if state == "tunnel":
        assert client.read_response(to="CONNECT").status == 200
    elif state == "body":
        client.read_response_head()
    else:
        origin.wait_requests(1)
    net.on_port(origin.port, "drop")
    net.from_port(origin.port, "drop")
    cut.set()
    if state == "waiting":
        assert client.read_response().status == 504
    else:
        client.read_to_end()
    ends = {"waiting": "timeout:response", "body": "timeout:idle", "tunnel": "timeout:tunnel_idle"}
    assert net.proxy.wait_request(target)["end"] == ends[state]
    net.forget()
    assert net.client().get(net.origin().url()).status == 200


@pytest.mark.parametrize("method", ["GET", "CONNECT"])
def test_source_ports_exhausted(namespace, method):
    """Every port is in use towards this origin: 503; with one free again it works."""
    net = namespace()
    over = threading.Event()
    net.lab.at_end(over.set)

    def script(peer):
        if peer.fill():
            peer.send(OK)
        over.wait(wire.DEADLINE)

    origin = net.origin(script)
    net.run("sh", "-c", "echo 61000 61003 > /proc/sys/net/ipv4/ip_local_port_range")

    def client(number):
        """From an address of its own, and so with ports of its own."""

        def connect():
            sock = socket.socket()
            sock.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
            sock.bind((f"127.0.1.{number}", 0))
            sock.connect(net.proxy.address)
            net.lab.peers.append(wire.Peer(sock))
            return net.lab.peers[-1]

        return net.inside(connect)

    tunnels = [client(number) for number in range(1, 5)]
    for tunnel in tunnels:
        tunnel.request("CONNECT", origin.authority)
        assert tunnel.read_response(to="CONNECT").status == 200
    target = origin.authority if method == "CONNECT" else origin.url("/none")
    last = client(5)
    last.request(method, target)
    response = last.read_response()
    line = net.proxy.wait_request(target, status=str(response.status))
    assert (line["status"], line["end"]) == ("503", "error:no-descriptors"), line["raw"]
    assert int(response.get("Retry-After")) > 0
    tunnels[0].reset()
    wait_until(lambda: net.proxy.find_lines(target=origin.authority, status="200"), "a free port")
    if method == "CONNECT":  # what follows might have been meant for the tunnel
        last.expect_end("fin")
        last = client(6)
    last.request("GET", origin.url("/again"))
    assert last.read_response().status == 200


# --- Peers that end at every moment -------------------------------------------


def end(peer, how):
    peer.reset() if how == "reset" else peer.close()


HALF_HEAD = b"HTTP/1.1 200 OK\r\nContent-Le"

# What an origin sends before it ends, whether it has read the request, and how that ends.
ORIGIN_STATES = {
    "accepted": (False, b"", "502", "error:upstream-reset"),
    "request read": (True, b"", "502", "error:upstream-reset"),
    "interim sent": (True, b"HTTP/1.1 103 Early Hints\r\n\r\n", "502", "error:upstream-reset"),
    "inside the head": (True, HALF_HEAD, "502", "error:upstream-reset"),
    "head sent": (True, b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n", "200", "truncated"),
    "whole": (True, OK, "200", "complete"),
}


@pytest.mark.parametrize("how", ["fin", "reset"])
@pytest.mark.parametrize("state", ORIGIN_STATES)
def test_origin_ends(lab, state, how):
    reads, sent, status, ending = ORIGIN_STATES[state]
    seen = threading.Event()

    def script(peer):
        if reads:
            peer.read_request()
        peer.send(sent)
        if sent:
            peer.wait_acknowledged()
        if status == "200":
            assert seen.wait(wire.DEADLINE)
        end(peer, how)

    proxy = lab.viaduct()
    origin = lab.origin(script)
    client = lab.client(proxy)
    client.request("GET", origin.url("/ends"))
    if status == "200":
        response = client.read_response_head()
        if state == "whole":
            client.read_body(response, "length")
        seen.set()
        client.read_body(response, "length", may_be_cut=True) if state != "whole" else None
    else:
        assert client.read_response().status == 502
    line = proxy.wait_request(origin.url("/ends"))
    if (state, how) == ("accepted", "reset"):
        # Before or after the proxy has seen that it is connected.
        ending = line["end"] if line["end"] == "error:connect-reset" else ending
    assert (line["status"], line["end"]) == (status, ending), line["raw"]


def answer_at_once(peer):
    """Before the request's body is here."""
    peer.read_head()
    peer.send(OK)
    peer.read_to_end()


# In which state the client ends: the end its line has. What an answer left behind is no failure of
# the request.
CLIENT_STATES = {
    "resolving": "client-closed",
    "connecting": "client-closed",
    "draining": "complete",
    "lingering": "error:connection-refused",
}


@pytest.mark.parametrize("how", ["fin", "reset"])
@pytest.mark.parametrize("state", CLIENT_STATES)
@pytest.mark.parametrize("method", ["GET", "CONNECT"])
def test_client_ends(lab, filtered, method, state, how):
    """In the states that test_stalls.py does not have. A client that shut its side only may still
    wait for an answer; this one is gone altogether."""
    if state in ("draining", "lingering") and method == "CONNECT":
        pytest.skip("a CONNECT has no body")
    with DnsServer() as dns:
        dns.add("name.test", Reply(drop=True))
        options = [f"dns.servers={dns.address}", "timeouts.dns=20s", "timeouts.connect=20s"]
        if state == "connecting":
            net = filtered(*options)
            origin = net.origin()
            net.on_port(origin.port, "drop")
            proxy, client, authority = net.proxy, net.client(), origin.authority
        else:
            proxy = lab.fresh(*options, "server.workers=1")
            client = lab.client(proxy)
            authority = {
                "resolving": "name.test:80",
                "draining": lab.origin(answer_at_once).authority,
                "lingering": f"127.0.0.1:{free_port()}",
            }[state]
        target = authority if method == "CONNECT" else f"http://{authority}/ends"
        if state in ("draining", "lingering"):
            client.send(request_bytes("PUT", target, [("Content-Length", "100000")]) + b"x" * 99)
            response = client.read_response()
            assert response.get("Connection") == ("close" if state == "lingering" else None)
        else:
            client.request(method, target)
            client.wait_acknowledged()
        begin = time.monotonic()
        end(client, how)
        line = proxy.wait_request(target)
        assert line["end"] == CLIENT_STATES[state], line["raw"]
        if state != "resolving":  # the question goes on, for the cache
            proxy.settle()
        assert time.monotonic() - begin < 1.5 * wire.SLOWNESS  # a lingering one has 2 s


# --- Processes that die or stand still ----------------------------------------

ORIGIN_PROGRAM = """
import socket, sys, threading
listener = socket.socket()
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listener.bind(("127.0.0.1", int(sys.argv[1])))
listener.listen(512)
print("ready", flush=True)
def serve(sock):
    data = b""
    while True:
        got = sock.recv(65536)
        if not got:
            return
        data += got
        while b"\\r\\n\\r\\n" in data:
            data = data.partition(b"\\r\\n\\r\\n")[2]
            sock.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 20000\\r\\n\\r\\n")
            sock.sendall(b"x" * 20000)
while True:
    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
"""


class OriginProcess:
    def __init__(self, port):
        self.process = subprocess.Popen(
            [sys.executable, "-S", "-c", ORIGIN_PROGRAM, str(port)], stdout=subprocess.PIPE
        )
        assert self.process.stdout.readline() == b"ready\n"

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


class Load:
    """Clients in threads, each request on its deadline; counts what came of them."""

    def __init__(self, proxy, url, threads=4):
        self.proxy, self.url = proxy, url
        self.over = threading.Event()
        self.counts = {}
        self.slowest = 0.0
        self.lock = threading.Lock()
        self.threads = [threading.Thread(target=self.run) for _ in range(threads)]
        for thread in self.threads:
            thread.start()

    def note(self, what, seconds):
        with self.lock:
            self.counts[what] = self.counts.get(what, 0) + 1
            self.slowest = max(self.slowest, seconds)

    def run(self):
        peer = None
        while not self.over.is_set():
            begin = time.monotonic()
            try:
                peer = peer or wire.connect(self.proxy.address)
                response = peer.get(self.url, may_be_cut=True)
                what = "cut" if response.cut else response.status
            except TimeoutError:
                what = "hung"
            except (OSError, EOFError):
                what = "closed"
            self.note(what, time.monotonic() - begin)
            if what not in (200, 502):
                if peer:
                    peer.close()
                peer = None
        if peer:
            peer.close()

    def finish(self):
        self.over.set()
        for thread in self.threads:
            thread.join(2 * wire.DEADLINE)
            assert not thread.is_alive()
        return self.counts


def pause(seconds):
    threading.Event().wait(seconds)


@pytest.mark.serial
def test_origin_that_is_killed_again_and_again(lab, figure):
    proxy = lab.fresh("server.workers=2")
    port = free_port()
    origin = OriginProcess(port)
    load = Load(proxy, f"http://127.0.0.1:{port}/")
    deadline, kills = time.monotonic() + 4, 0
    try:
        while time.monotonic() < deadline:
            pause(0.2)
            origin.kill()
            kills += 1
            origin = OriginProcess(port)
    finally:
        counts = load.finish()
        origin.kill()
    figure(f"origin killed {kills} times: {counts}, slowest {load.slowest:.2f} s")
    assert counts.get(200, 0) > 50 and set(counts) <= {200, 502, "cut"}, counts
    assert load.slowest < 3 * wire.SLOWNESS


@pytest.mark.serial
def test_proxy_that_is_stopped_and_continued(lab, figure):
    proxy = lab.fresh("server.workers=2")
    origin = lab.origin(response_bytes(body=b"x" * 20000))
    client = lab.tunnel(proxy, lab.origin(lambda peer: peer.send(peer.read_exactly(5)[::-1])))
    load = Load(proxy, origin.url())
    for _ in range(3):
        pause(0.3)
        proxy.signal(signal.SIGSTOP)
        pause(0.5)
        proxy.signal(signal.SIGCONT)
    counts = load.finish()
    figure(f"proxy stopped and continued 3 times: {counts}, slowest {load.slowest:.2f} s")
    assert set(counts) == {200}, counts
    assert load.slowest < 2 * wire.SLOWNESS
    client.send(b"abcde")
    assert client.read_exactly(5) == b"edcba"


@pytest.mark.serial
def test_log_reader_that_is_killed(lab):
    reading, writing = os.pipe()
    reader = subprocess.Popen(["cat"], stdin=reading, stdout=subprocess.DEVNULL)
    os.close(reading)
    proxy = lab.fresh(stdout=writing)
    os.close(writing)
    proxy.use_listening_port()
    proxy.note_idle()
    load = Load(proxy, lab.origin(OK).url())
    pause(0.3)
    reader.kill()
    reader.wait()
    before = sum(load.counts.values())
    wait_until(lambda: sum(load.counts.values()) > before + 100, "it to serve on")
    assert set(load.finish()) == {200}
    assert proxy.cpu_seconds() < 10
