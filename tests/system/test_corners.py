# SPDX-License-Identifier: MIT
"""Corners that no other subject passes: what the coverage of the program showed to be untried."""

import os
import pwd
import signal
import socket
import subprocess
import threading
from pathlib import Path

import pytest

import viaduct_harness
import wire
from dns_server import DnsServer
from test_listeners import activated, high, listening, needs_ipv6, start_failing, works
from wire import request_bytes, response_bytes, wait_until

OK = response_bytes(body=b"ok")
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")


# --- What a refusal tells -------------------------------------------------------------------------


@pytest.mark.parametrize("explain", ["rule", "class", "none"])
def test_builtin_rule_is_named_unless_nothing_is(lab, explain):
    proxy = lab.viaduct(f"server.explain={explain}")
    target = f"http://127.0.0.1:{proxy.port}/"
    response = lab.client(proxy).get(target)
    named = explain != "none"
    assert response.status == 403
    assert response.reason == ("Denied by rule builtin:loop" if named else "Forbidden")
    assert (b"builtin" in response.body) == named
    assert ("builtin" in response.get("Proxy-Status")) == named
    assert proxy.wait_request(target)["rule"] == "builtin:loop"


@pytest.mark.parametrize("explain", ["rule", "class", "none"])
def test_failure_that_no_rule_made_names_none(lab, explain):
    proxy = lab.viaduct(f"server.explain={explain}")
    target = f"http://127.0.0.1:{wire.free_port()}/"
    response = lab.client(proxy).get(target)
    assert response.reason == "Connection Refused"
    assert b"rule" not in response.body
    assert "rule" not in response.get("Proxy-Status")


# --- Clients --------------------------------------------------------------------------------------


def test_line_end_behind_a_body_is_no_request(lab):
    """Some clients send one (RFC 9112 2.2); the connection is idle after it, so that neither
    timeouts.header nor its 408 counts."""
    proxy = lab.viaduct("timeouts.header=300ms")
    origin = lab.origin(OK)
    client = lab.client(proxy)
    client.request("POST", origin.url("/1"), body=b"abc")
    assert client.read_response().body == b"ok"
    client.send(b"\r\n")
    assert client.is_silent(0.6)
    assert client.get(origin.url("/2")).status == 200


@pytest.mark.parametrize("before", [0, 500])
def test_pipelined_request_behind_the_last_answer_of_a_drain(lab, before):
    """It is not answered, and does not reset the connection under the answer before it, whether the
    drain begins before that or in the middle of it."""
    answer = response_bytes(body=b"x" * 1000)

    def script(peer):
        peer.read_request()
        peer.send(answer[:before])
        if before:
            assert begun.wait(wire.DEADLINE)
        proxy.signal(signal.SIGTERM)
        wait_until(lambda: is_closed(proxy), "the listener to be closed")
        peer.send(answer[before:])

    begun = threading.Event()

    proxy = lab.fresh()
    origin = lab.origin(script)
    client = lab.client(proxy)
    one = request_bytes("GET", origin.url("/1"))
    # More than is read ahead.
    client.send(one + request_bytes("GET", origin.url("/2")) * 2000)
    if before:
        client.read_until(b"\r\n\r\n")
        begun.set()
        assert client.read_exactly(1000) == b"x" * 1000
    else:
        assert client.read_response().body == b"x" * 1000
    client.expect_end("fin")
    client.close()
    assert proxy.wait_exit() == 0
    assert len(origin.requests) == 1


def is_closed(proxy):
    try:
        wire.connect(proxy.address).close()
        return False
    except OSError:
        return True


def test_clients_of_a_unix_socket_are_counted_by_user(lab, tmp_path):
    path = str(tmp_path / "u.sock")
    lab.fresh(f"listen u.address=unix:{path}", "server.max_connections_per_client=2")
    origin = lab.origin(OK)
    clients = []
    for status in (200, 200, 429):
        clients.append(lab.client(path))  # once the one before has its place
        assert clients[-1].get(origin.url()).status == status
    for client in clients:
        client.close()
    # Their places are free once the daemon has seen that they went.
    wait_until(lambda: status_of_one_more(path, origin) == 200, "a place")


def status_of_one_more(address, origin):
    """Of a client that goes at once: one that was refused counts until it has gone."""
    client = wire.connect(address)
    try:
        return client.get(origin.url()).status
    finally:
        client.close()


@needs_ipv6
def test_clients_of_ipv6_are_counted(lab):
    proxy = lab.fresh(
        "listen six.address=[::1]:0", "server.max_connections_per_client=1", "server.workers=1"
    )
    address = ("::1", int(proxy.addresses()[0].rpartition(":")[2]))
    origin = lab.origin(OK)
    assert [lab.client(address).get(origin.url()).status for _ in range(2)] == [200, 429]


def hold_memory(lab, proxy):
    """Requests whose heads take more memory than there is, at an origin that does not answer.
    Returns what lets it answer, and the clients."""

    def script(peer):
        while peer.read_request() is not None:
            assert gate.wait(wire.DEADLINE)
            peer.send(OK)

    gate = threading.Event()
    lab.at_end(gate.set)
    origin = lab.origin(script)
    clients = []
    for _ in range(40):
        client = lab.client(proxy)
        client.request("GET", origin.url(), [("X", "x" * 50_000)])
        clients.append(client)
    wait_until(lambda: len(origin.requests) >= 8, "heads to be held")
    return gate, clients


def test_head_waits_unread_for_memory(lab):
    """limits.buffers is spent: who comes then is answered as soon as there is memory again."""
    proxy = lab.fresh("server.workers=1", "limits.buffers=1M")
    gate, clients = hold_memory(lab, proxy)
    origin = lab.origin(OK)
    late = lab.client(proxy)
    late.request("GET", origin.url("/late"))
    assert late.is_silent(0.3) and not origin.requests
    gate.set()
    assert late.read_response().status == 200
    assert [client.read_response().status for client in clients] == [200] * 40


def test_head_that_waited_too_long_for_memory(lab):
    """After timeouts.header it is 503; a client that sent nothing just goes."""
    proxy = lab.fresh("server.workers=1", "limits.buffers=1M", "timeouts.header=500ms")
    gate, clients = hold_memory(lab, proxy)
    origin = lab.origin(OK)
    late, silent = lab.client(proxy), lab.client(proxy)
    late.request("GET", origin.url("/late"))
    response = late.read_response()
    assert response.status == 503 and response.get("Retry-After")
    silent.expect_end()
    assert not origin.requests
    gate.set()
    assert {client.read_response().status for client in clients} <= {200, 503}
    assert lab.client(proxy).get(origin.url("/after")).status == 200


# --- Origins --------------------------------------------------------------------------------------


def test_name_with_more_addresses_than_are_tried(lab):
    """What nobody listens on is tried in turn, to a bound; then it is 502."""
    with DnsServer() as dns:
        port = wire.free_port()
        dns.add(
            "many.test",
            a=[f"127.0.1.{n}" for n in range(1, 41)],
            aaaa=["::1"] + [f"2001:db8::{n}" for n in range(1, 20)],
        )
        proxy = lab.fresh(f"dns.servers={dns.address}", "server.workers=1", "timeouts.connect=5s")
        assert lab.client(proxy).get(f"http://many.test:{port}/").status in (502, 504)
        client = lab.client(proxy)
        client.request("CONNECT", f"many.test:{port}")
        assert client.read_response(to="CONNECT").status in (502, 504)


@pytest.mark.parametrize("value", ["timeout=0", "timeout=1", "timeout=x", "max=5, timeout=99", ""])
def test_keep_alive_of_the_origin_may_say_anything(lab, value):
    proxy = lab.viaduct()
    origin = lab.origin(response_bytes(body=b"ok", fields=[("Keep-Alive", value)]))
    client = lab.client(proxy)
    assert [client.get(origin.url()).status for _ in range(3)] == [200] * 3
    reused = value not in ("timeout=0", "timeout=1")
    assert len(origin.peers) == (1 if reused else 3)


def test_origin_that_ends_while_it_is_idle_is_not_used_again(lab):
    proxy = lab.viaduct()
    origin = lab.origin(lambda peer: (peer.read_request(), peer.send(OK)))
    client = lab.client(proxy)
    for number in range(1, 6):
        assert client.get(origin.url()).status == 200
        origin.join()
        assert len(origin.peers) == number


# --- Tunnels --------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [100, 1 << 20])
@pytest.mark.parametrize("who", ["client", "origin"])
def test_tunnel_to_an_end_that_is_gone(lab, who, size):
    """One end resets while the other is sending: the sender learns of it, the line says who."""
    proxy = lab.viaduct()

    def script(peer):
        if who == "origin":
            assert peer.read_exactly(1) == b"x"
            peer.reset()
            return
        send_on(peer, size)
        assert peer.ended or not peer.fill()

    origin = lab.origin(script)
    client = lab.tunnel(proxy, origin)
    if who == "origin":
        client.send(b"x")
        send_on(client, size)
        client.read_to_end()
        assert client.ended == "reset"
    else:
        client.read_exactly(1)
        client.reset()
        origin.join()
    line = proxy.wait_for_log(event="request", method="CONNECT", target=origin.authority)
    assert line["end"] == ("client-closed" if who == "client" else "upstream-closed")


def send_on(peer, size):
    """Until it is refused."""
    try:
        while True:
            peer.send(b"z" * size)
    except OSError:
        peer.ended = "reset"


# --- Listeners ------------------------------------------------------------------------------------


def test_unix_path_that_is_no_socket_is_left_alone(tmp_path):
    path = tmp_path / "precious"
    path.write_text("keep me")
    assert f"unix:{path}" in start_failing(tmp_path, f"listen u.address=unix:{path}")
    assert path.read_text() == "keep me"


def test_unix_path_in_no_directory(tmp_path):
    path = tmp_path / "none" / "u.sock"
    assert f"unix:{path}" in start_failing(tmp_path, f"listen u.address=unix:{path}")


def test_unix_path_below_a_file(tmp_path):
    (tmp_path / "file").write_text("")
    path = tmp_path / "file" / "u.sock"
    assert f"unix:{path}" in start_failing(tmp_path, f"listen u.address=unix:{path}")


@needs_root
def test_unix_socket_group(lab, tmp_path):
    path = tmp_path / "u.sock"
    lab.fresh(f"listen u.address=unix:{path}", "listen u.group=daemon")
    assert path.stat().st_gid == pwd.getpwnam("daemon").pw_gid


def test_inherited_unix_socket_that_matches_an_address(lab, tmp_path):
    path = str(tmp_path / "inherited.sock")
    sock = high(listening(socket.AF_UNIX, path))
    activated(lab, [sock], f"listen s.address=unix:{path}")
    assert works(lab, path)


def bound_beyond_chance(only):
    """To a port that the kernel gives to nobody by itself: its number is free in the other family,
    and stays so."""
    for port in range(20000, 30000):
        sock = socket.socket(socket.AF_INET6)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, only)
        try:
            sock.bind(("::", port))
            with socket.socket() as other:
                if only:
                    other.bind(("0.0.0.0", port))
            return sock
        except OSError:
            sock.close()
    raise AssertionError("no port is free")


@needs_ipv6
@pytest.mark.parametrize("only", [0, 1])
def test_inherited_socket_of_both_families_is_star(lab, only):
    """What a service manager makes of a bare port; one of IPv6 alone is not it."""
    sock = bound_beyond_chance(only)
    sock.listen(100)
    sock = high(sock)
    port = sock.getsockname()[1]
    proxy = activated(lab, [sock], f"listen s.address=*:{port}")
    assert works(lab, ("127.0.0.1", port)) and works(lab, ("::1", port))
    assert copies(proxy, sock) == 2


def copies(proxy, sock):
    """How many descriptors of the daemon are this socket: the one it came by, which bash left open,
    and the one handed over if it is used."""
    return proxy.links().count(f"socket:[{os.fstat(sock.fileno()).st_ino}]")


def test_inherited_socket_that_no_address_names_is_told_and_closed(lab):
    sock = high(listening())
    proxy = activated(lab, [sock], "listen a.address=127.0.0.1:0")
    # Before there is a log.
    assert "an inherited socket is not used by any listener" in proxy.stderr()
    assert copies(proxy, sock) == 1


def test_inherited_descriptor_that_is_no_listening_socket(tmp_path):
    with open("/dev/null", "rb") as null:
        script = f'exec 3<&{null.fileno()}; LISTEN_PID=$$ LISTEN_FDS=1 exec "$0" "$@"'
        result = subprocess.run(
            [
                "bash",
                "-c",
                script,
                viaduct_harness.binary(),
                "-c",
                "/dev/null",
                "-o",
                "listen s.address=systemd",
            ],
            pass_fds=[null.fileno()],
            capture_output=True,
            text=True,
            timeout=wire.DEADLINE,
            check=False,
            cwd=tmp_path,
        )
    assert result.returncode == 1
    assert "inherited descriptor 3 is no listening socket" in result.stdout + result.stderr


# --- Who it is ------------------------------------------------------------------------------------


@needs_root
def test_user_is_taken_on_after_binding(lab, tmp_path):
    # The unprivileged user must reach the log and the configuration in the test's directory.
    nobody = pwd.getpwnam("nobody")
    for directory in (tmp_path, *tmp_path.parents):
        if directory.stat().st_uid == os.getuid() and not directory.is_mount():
            os.chmod(directory, directory.stat().st_mode | 0o111)
    proxy = lab.fresh("server.user=nobody", check_leaks=False)
    origin = lab.origin(OK)
    assert lab.client(proxy).get(origin.url()).status == 200
    status = Path(f"/proc/{proxy.pid}/status").read_text()
    uids = next(line for line in status.splitlines() if line.startswith("Uid:")).split()[1:]
    gids = next(line for line in status.splitlines() if line.startswith("Gid:")).split()[1:]
    assert uids == [str(nobody.pw_uid)] * 4 and gids == [str(nobody.pw_gid)] * 4


@needs_root
def test_user_that_it_is_already(lab):
    proxy = lab.fresh("server.user=root")
    assert lab.client(proxy).get(lab.origin(OK).url()).status == 200


def test_descriptors_are_raised_to_the_hard_limit(lab):
    proxy = lab.fresh(nofile=(64, 600))
    limits = Path(f"/proc/{proxy.pid}/limits").read_text()
    line = next(line for line in limits.splitlines() if line.startswith("Max open files"))
    assert line.split()[3:5] == ["600", "600"]


# --- Its own words --------------------------------------------------------------------------------


def test_debug_lines(lab, tmp_path):
    """At debug the log tells more, here of a hosts file that is a directory, and stays readable."""
    hosts = tmp_path / "hosts"
    hosts.mkdir()
    with DnsServer() as dns:
        dns.add("www.test", a=["127.0.0.1"])
        proxy = lab.fresh("log.level=debug", f"dns.hosts={hosts}", f"dns.servers={dns.address}")
        origin = lab.origin(OK)
        assert lab.client(proxy).get(f"http://www.test:{origin.port}/").status == 200
        line = proxy.wait_for_log(event="hosts", level="debug")
        assert line["msg"] == f"{hosts}: 0 names"
        proxy.wait_for_log(event="dns", level="debug")
    assert all("event" in line for line in proxy.lines), "not logfmt"


def test_working_directory_that_was_removed(tmp_path):
    """A relative name cannot be made absolute then; nothing worse happens."""
    gone = tmp_path / "gone"
    gone.mkdir()
    result = subprocess.run(
        [
            "sh",
            "-c",
            'rmdir "$PWD"; exec "$0" check -c /dev/null -o log.destination=x.log',
            viaduct_harness.binary(),
        ],
        capture_output=True,
        text=True,
        timeout=wire.DEADLINE,
        check=False,
        cwd=gone,
    )
    assert result.returncode in (0, 78), result
