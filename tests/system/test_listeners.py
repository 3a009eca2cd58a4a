# SPDX-License-Identifier: MIT
"""Where it listens: both families, unix sockets, sockets that were handed over, ports that are
taken."""

import fcntl
import os
import shutil
import socket
import stat
import subprocess
from pathlib import Path

import pytest

import viaduct_harness
import wire
from wire import free_port


needs_ipv6 = pytest.mark.skipif(not viaduct_harness.has_ipv6(), reason="this machine has no IPv6")


def works(lab, address):
    return lab.client(address).get(lab.origin().url()).status == 200


def test_port_0_and_the_log_says_which(lab):
    proxy = lab.fresh("listen a.address=127.0.0.1:0", "listen b.address=127.0.0.1:0")
    ports = [int(address.rpartition(":")[2]) for address in proxy.addresses(2)]
    assert len(set(ports)) == 2 and 0 not in ports
    assert all(works(lab, ("127.0.0.1", port)) for port in ports)


def test_listener_is_named_in_the_log(lab):
    proxy = lab.fresh("listen lan.address=127.0.0.1:0")
    origin = lab.origin()
    lab.client(proxy).get(origin.url())
    assert proxy.wait_request(origin.url())["listener"] == "lan"


@needs_ipv6
def test_ipv6_literal(lab):
    proxy = lab.fresh("listen six.address=[::1]:0")
    address = proxy.addresses()[0]
    assert address.startswith("[::1]:")
    assert works(lab, ("::1", int(address.rpartition(":")[2])))
    assert proxy.wait_for_log(event="request")["client"] == "::1"


@needs_ipv6
def test_star_is_both_families(lab):
    port = free_port()
    lab.fresh(f"listen all.address=*:{port}")
    assert works(lab, ("127.0.0.1", port))
    assert works(lab, ("::1", port))


def test_list_of_addresses(lab):
    proxy = lab.fresh("listen a.address=127.0.0.1:0, 127.0.0.2:0")
    for address in proxy.addresses(2):
        host, _, port = address.rpartition(":")
        assert works(lab, (host, int(port)))


def test_unix_socket(lab, tmp_path):
    path = tmp_path / "proxy.sock"
    proxy = lab.fresh(f"listen u.address=unix:{path}")
    assert proxy.addresses() == [f"unix:{path}"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o660
    assert works(lab, str(path))
    line = proxy.wait_for_log(event="request")
    assert line["client"] == f"unix:{os.getuid()}" and line["rule"] == "local"


def test_unix_socket_mode(lab, tmp_path):
    path = tmp_path / "proxy.sock"
    lab.fresh(f"listen u.address=unix:{path}", "listen u.mode=0600")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_unix_socket_carries_tunnels(lab, tmp_path):
    path = tmp_path / "proxy.sock"
    lab.fresh(f"listen u.address=unix:{path}")

    def script(peer):
        peer.send(b"z" * 2_000_000)

    origin = lab.origin(script)
    client = lab.client(str(path))
    client.request("CONNECT", origin.authority)
    assert client.read_response(to="CONNECT").status == 200
    assert len(client.read_to_end()) == 2_000_000


def test_unix_socket_left_by_a_crash_is_replaced(lab, tmp_path):
    path = tmp_path / "proxy.sock"
    first = lab.fresh(f"listen u.address=unix:{path}")
    first.kill()
    assert path.exists()
    lab.own.remove(first)
    lab.fresh(f"listen u.address=unix:{path}")
    assert works(lab, str(path))


def test_unix_socket_is_removed_at_the_end(lab, tmp_path):
    path = tmp_path / "proxy.sock"
    proxy = lab.fresh(f"listen u.address=unix:{path}")
    proxy.stop()
    assert not path.exists()


def test_a_unix_socket_of_somebody_else_is_left_alone(lab, tmp_path):
    """Its file was removed by hand, and another daemon has that place now."""
    path, admin = tmp_path / "proxy.sock", tmp_path / "admin.sock"
    options = (f"listen u.address=unix:{path}", f"admin.address=unix:{admin}")
    first = lab.fresh(*options)
    first.wait_for_log(event="admin", msg="listening")
    path.unlink()
    admin.unlink()
    second = lab.fresh(*options)
    second.wait_for_log(event="admin", msg="listening")
    first.stop()
    lab.own.remove(first)
    assert path.is_socket() and admin.is_socket()
    assert works(lab, str(path))


def start_failing(tmp_path, *options):
    """Starts a daemon that must end with status 1; returns what it said."""
    config = tmp_path / "failing.ini"
    config.write_text("")
    command = [viaduct_harness.binary(), "-c", str(config)]
    for option in options:
        command += ["-o", option]
    result = subprocess.run(
        command, capture_output=True, text=True, timeout=wire.DEADLINE, check=False
    )
    assert not viaduct_harness.SANITIZER_REPORT.search(result.stderr), result.stderr
    assert result.returncode == 1, result
    return result.stdout + result.stderr


def test_second_one_on_the_same_port_fails_and_says_where(lab, tmp_path):
    proxy = lab.fresh()
    said = start_failing(tmp_path, f"listen test.address=127.0.0.1:{proxy.port}")
    assert f"127.0.0.1:{proxy.port}" in said
    assert works(lab, proxy.address)


def test_second_one_on_star_of_the_same_port_fails(lab, tmp_path):
    proxy = lab.fresh()
    assert str(proxy.port) in start_failing(tmp_path, f"listen test.address=*:{proxy.port}")


def test_port_of_another_program_is_taken(lab, tmp_path):
    origin = lab.origin()
    assert origin.authority in start_failing(tmp_path, f"listen test.address={origin.authority}")


def test_second_one_on_the_same_unix_socket_fails(lab, tmp_path):
    path = tmp_path / "proxy.sock"
    lab.fresh(f"listen u.address=unix:{path}")
    assert str(path) in start_failing(tmp_path, f"listen u.address=unix:{path}")
    assert works(lab, str(path))


def test_address_that_is_not_ours_fails(tmp_path):
    assert "192.0.2.1:8080" in start_failing(tmp_path, "listen test.address=192.0.2.1:8080")


def test_a_port_can_be_taken_again_at_once(lab):
    """Connections in TIME_WAIT do not hinder a restart."""
    first = lab.fresh()
    port = first.port
    origin = lab.origin(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    for _ in range(5):
        client = lab.client(first)
        client.get(origin.url(), [("Connection", "close")])
        client.expect_end()
        client.close()
    first.stop()
    lab.own.remove(first)
    lab.fresh(f"listen test.address=127.0.0.1:{port}")
    assert works(lab, ("127.0.0.1", port))


# --- Sockets that were handed over --------------------------------------------


def listening(kind=socket.AF_INET, address=("127.0.0.1", 0)):
    sock = socket.socket(kind)
    sock.bind(address)
    sock.listen(100)
    return sock


def activated(lab, sockets, *options, names=None, **how):
    """A daemon started with these sockets as descriptors 3 and on, as a service manager does it."""
    script = "".join(
        f"exec {3 + i}<&{sock.fileno()}; "
        for i, sock in enumerate(sockets)
        if sock.fileno() != 3 + i
    )
    script += f"LISTEN_PID=$$ LISTEN_FDS={len(sockets)} "
    script += f"LISTEN_FDNAMES={':'.join(names)} " if names else ""
    bash = shutil.which("bash")
    return lab.fresh(
        *options,
        wrapper=[bash, "-c", script + 'exec "$0" "$@"'],
        pass_fds=[sock.fileno() for sock in sockets],
        **how,
    )


def high(sock):
    """The same socket under a descriptor well above those that are handed over."""
    moved = fcntl.fcntl(sock.fileno(), fcntl.F_DUPFD, 100)
    sock.close()
    return socket.socket(fileno=moved)


@pytest.mark.parametrize("workers", [1, 2])
def test_inherited_socket(lab, workers):
    sock = high(listening())
    port = sock.getsockname()[1]
    proxy = activated(lab, [sock], "listen s.address=systemd", f"server.workers={workers}")
    assert f"127.0.0.1:{port}" in proxy.addresses()[0]
    for _ in range(20):
        assert works(lab, ("127.0.0.1", port))


def test_inherited_unix_socket(lab, tmp_path):
    path = str(tmp_path / "inherited.sock")
    sock = high(listening(socket.AF_UNIX, path))
    proxy = activated(lab, [sock], "listen s.address=systemd")
    assert works(lab, path)
    assert proxy.wait_for_log(event="request")["client"] == f"unix:{os.getuid()}"


def test_inherited_abstract_sockets_have_names(lab):
    """Of a unix socket without a file; the log shows it as systemd writes it."""
    name = f"viaduct-test-{os.getpid()}"
    sock = high(listening(socket.AF_UNIX, f"\0{name}"))
    proxy = activated(lab, [sock], "listen s.address=systemd")
    assert proxy.addresses() == [f"unix:@{name}"]
    assert works(lab, f"\0{name}")


def test_inherited_socket_of_another_kind_is_none(lab, tmp_path):
    """ListenSequentialPacket= where ListenStream= was meant."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sock:
        sock.bind(str(tmp_path / "packets"))
        sock.listen()
        number = high(sock.dup())
        with pytest.raises(AssertionError, match="inherited descriptor 3 is no listening socket"):
            activated(lab, [number], "listen s.address=systemd")


def test_inherited_socket_that_matches_an_address_is_used_for_it(lab):
    sock = high(listening())
    port = sock.getsockname()[1]
    proxy = activated(lab, [sock], f"listen s.address=127.0.0.1:{port}")
    assert works(lab, ("127.0.0.1", port))
    inodes = {link for link in proxy.links() if link.startswith("socket:")}
    assert f"socket:[{os.fstat(sock.fileno()).st_ino}]" in inodes


def test_sockets_go_by_the_names_of_listeners(lab):
    sockets = [high(listening()) for _ in range(4)]
    at = {f"127.0.0.1:{sock.getsockname()[1]}": i for i, sock in enumerate(sockets)}
    by_address = next(address for address, i in at.items() if i == 3)
    proxy = activated(
        lab,
        sockets,
        "listen first.address=systemd",
        "listen wan.address=systemd",
        f"listen other.address={by_address}",
        "listen lan.address=systemd",
        names=["lan", "stray.socket", "wan", "lan"],
    )
    assert len(proxy.addresses(4)) == 4
    lines = {at[line["address"]]: line for line in proxy.find_lines(event="listener")}
    told = [(lines[i]["listener"], lines[i]["socket"]) for i in range(4)]
    assert told == [
        ("lan", "lan"),
        ("first", "stray.socket"),
        ("wan", "wan"),
        ("other", "lan"),  # bound to a configured address, which counts for more
    ]
    assert all(works(lab, sock.getsockname()) for sock in sockets)


def test_a_listener_with_sockets_of_its_name_takes_no_others(lab):
    sockets = [high(listening()) for _ in range(2)]
    proxy = activated(lab, sockets, "listen lan.address=systemd", names=["lan", "other"])
    unused = f"address=127.0.0.1:{sockets[1].getsockname()[1]} socket=other"
    assert f"an inherited socket is not used by any listener ({unused})" in proxy.stderr()
    assert len(proxy.find_lines(event="listener", level="notice")) == 1


def test_systemd_without_a_socket_left_fails(lab, tmp_path):
    sock = high(listening())
    proxy = viaduct_harness.Daemon(
        tmp_path / "none-left",
        ["listen a.address=systemd", "listen b.address=systemd"],
        wrapper=[
            "bash",
            "-c",
            f'exec 3<&{sock.fileno()}; LISTEN_PID=$$ LISTEN_FDS=1 exec "$0" "$@"',
        ],
        pass_fds=[sock.fileno()],
    )
    assert proxy.wait_exit() == 1
    assert "listen b.address = systemd: no socket was handed over for it" in proxy.stderr()


def test_variables_for_another_process_do_not_count(lab):
    proxy = lab.fresh(env={"LISTEN_PID": "1", "LISTEN_FDS": "1"})
    assert works(lab, proxy.address)


@pytest.mark.parametrize(
    ("pid", "count", "said"),
    [
        ("$$", "x", "LISTEN_FDS is x: expected a number up to 1024"),
        ("$$", "", "LISTEN_FDS is : expected a number up to 1024"),
        ("$$", "-1", "LISTEN_FDS is -1: expected a number up to 1024"),
        ("$$", "1025", "LISTEN_FDS is 1025: expected a number up to 1024"),
        ("x", "1", "LISTEN_PID is x: expected a number up to 2147483647"),
        ("", "1", "LISTEN_PID is : expected a number up to 2147483647"),
    ],
)
def test_variables_that_are_no_numbers_are_named(lab, pid, count, said):
    """Once, and the daemon serves without them."""
    script = f'LISTEN_PID={pid} LISTEN_FDS={count} exec "$0" "$@"'
    proxy = lab.fresh(wrapper=[shutil.which("bash"), "-c", script])
    assert works(lab, proxy.address)
    assert proxy.stderr().count("LISTEN_") == 1
    assert f"viaduct: warning: {said}; no inherited socket is taken over" in proxy.stderr()


def test_a_count_for_nobody_is_named(lab):
    proxy = lab.fresh(env={"LISTEN_FDS": "1"})
    assert works(lab, proxy.address)
    assert "LISTEN_PID is not set: expected a number" in proxy.stderr()


def test_systemd_without_a_socket_fails(tmp_path):
    assert "systemd" in start_failing(tmp_path, "listen s.address=systemd")


# --- The built-in listener, in a network namespace of its own -----------------


@pytest.fixture
def namespace():
    """Words before a command that run it in a new network with nothing but lo."""
    words = ["unshare", "-n"] if os.getuid() == 0 else ["unshare", "-r", "-n"]
    if subprocess.run([*words, "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("network namespaces may not be made here")
    return words


def enter(proxy, command):
    """Runs a command in the daemon's network."""
    user = [] if os.getuid() == 0 else ["-U", "--preserve-credentials"]
    return subprocess.run(
        ["nsenter", "-t", str(proxy.pid), *user, "-n", *command],
        capture_output=True,
        text=True,
        timeout=wire.DEADLINE,
        check=False,
    )


def built_in(lab, namespace, prepare):
    proxy = viaduct_harness.Daemon(
        lab.directory / "built-in",
        wrapper=[*namespace, "sh", "-c", prepare + '; exec "$0" "$@"'],
        options=["dns.hosts=/etc/hosts"],
        config="",
        built_in_listener=True,
    )
    lab.own.append(proxy)
    return proxy


@needs_ipv6
def test_built_in_listener_is_port_8080_of_both_loopback_addresses(lab, namespace, program):
    proxy = built_in(lab, namespace, "ip link set lo up")
    assert sorted(proxy.addresses(2)) == ["127.0.0.1:8080", "[::1]:8080"]
    for proxy_url in ("http://127.0.0.1:8080", "http://[::1]:8080"):
        # Nothing listens on port 9: the answer is the proxy's.
        result = enter(
            proxy,
            [
                program("curl"),
                "-s",
                "-o",
                "/dev/null",
                "-w",
                "%{http_code}",
                "-x",
                proxy_url,
                "http://127.0.0.1:9/",
            ],
        )
        assert result.stdout == "502", result


def test_built_in_listener_leaves_ipv6_out_where_there_is_none(lab, namespace):
    if not Path("/proc/sys/net/ipv6/conf/lo/disable_ipv6").exists():
        prepare = "ip link set lo up"
    else:
        prepare = "ip link set lo up; for i in all lo; do echo 1 >/proc/sys/net/ipv6/conf/$i/disable_ipv6; done"
    proxy = built_in(lab, namespace, prepare)
    assert proxy.addresses() == ["127.0.0.1:8080"]
    said = [line for line in proxy.stderr().splitlines() if "[::1]" in line]
    said += [line["raw"] for line in proxy.lines if "[::1]" in line["raw"]]
    assert len(said) == 1 and "notice" in said[0]
