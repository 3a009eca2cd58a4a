# SPDX-License-Identifier: MIT
"""A new configuration while the old one serves: all of it or nothing, and nobody notices."""

import os
import pwd
import re
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
import threading
from pathlib import Path

import pytest

import viaduct_harness
from test_listeners import activated, high
from viaduct_harness import wait_until
from wire import DEADLINE


class Site:
    """A configuration file and a daemon that goes by it."""

    def __init__(self, lab, text, *options, proxy=None, **how):
        self.proxy = proxy or lab.fresh(*options, config=text, **how)
        self.path = self.proxy.config

    def write(self, text):
        """In one piece, as an editor would."""
        new = self.path.with_suffix(".new")
        new.write_text(text)
        os.replace(new, self.path)

    def reload(self, text=None):
        """HUP, and the line that ends it."""
        if text is not None:
            self.write(text)
        before = len(self.ends())
        self.proxy.signal(signal.SIGHUP)
        wait_until(lambda: len(self.ends()) > before, "the reload to end")
        return self.ends()[-1]

    def ends(self):
        return self.proxy.find_lines(
            lambda line: "generation" in line and line.get("msg") is not None, event="reload"
        )

    def changes(self):
        return {line["key"]: line for line in self.proxy.find_lines(lambda l: "key" in l, event="reload")}


LISTEN = "[listen a]\naddress = 127.0.0.1:0\n"

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")


def permissions(path):
    status = path.stat()
    return stat.S_IMODE(status.st_mode), status.st_gid


def serves(lab, proxy, origin=None):
    origin = origin or lab.origin()
    return lab.client(proxy).get(origin.url()).status


def test_nothing_has_changed(lab):
    site = Site(lab, LISTEN)
    end = site.reload()
    assert end["level"] == "notice"
    assert (end["generation"], end["changes"]) == ("2", "0")
    assert serves(lab, site.proxy) == 200


def test_a_rule_that_is_new_holds_for_the_next_request(lab):
    """Of the same connection, too."""
    site = Site(lab, LISTEN)
    origin = lab.origin()
    client = lab.client(site.proxy)
    assert client.get(origin.url("/1")).status == 200
    site.reload(LISTEN + "[access]\nnobody = deny to any\n")
    answer = client.get(origin.url("/2"))
    assert (answer.status, answer.reason) == (403, "Denied by rule nobody")
    change = site.changes()["access.nobody"]
    assert (change["before"], change["after"]) == ("", "deny to any")
    site.reload(LISTEN)
    assert client.get(origin.url("/3")).status == 200


def test_an_error_leaves_the_old_one_in_force(lab):
    site = Site(lab, LISTEN)
    end = site.reload(LISTEN + "[server]\ngrace = soon\nnmae = x\n[access]\nx = alow to any\n")
    assert end["level"] == "error"
    assert (end["errors"], end["generation"]) == ("3", "1")
    said = [line["msg"] for line in site.proxy.find_lines(event="configuration", level="error")]
    for number in (4, 5, 7):
        assert any(f"{site.path}:{number}: " in message for message in said), said
    assert serves(lab, site.proxy) == 200
    assert site.reload(LISTEN)["level"] == "notice"


# An /etc of its own, whose viaduct/ is the directory of the daemon's file; then the daemon, without
# the -c of the harness.
ETC = """
program=$1 etc=ETC_COPY file=$4
shift 4
mkdir -p "$etc/viaduct"
for name in passwd group hosts nsswitch.conf resolv.conf ld.so.cache; do
    if [ -e "/etc/$name" ]; then cp "/etc/$name" "$etc/"; fi
done
mount --bind "$etc" /etc
mount --bind "${file%/*}" /etc/viaduct
exec "$program" serve "$@"
"""


@pytest.fixture
def own_etc(tmp_path):
    """Words before a command line of the harness."""
    words = ["unshare", "-m"] if os.getuid() == 0 else ["unshare", "-r", "-m"]
    if subprocess.run([*words, "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("mount namespaces may not be made here")
    return [*words, "sh", "-ec", ETC.replace("ETC_COPY", str(tmp_path / "etc")), "sh"]


def test_a_default_file_that_leads_nowhere_is_no_missing_one(own_etc, tmp_path):
    """Somebody has meant it to be read."""
    link = tmp_path / "viaduct.ini"
    link.symlink_to("/no/such/file")
    result = subprocess.run(
        [*own_etc, viaduct_harness.binary(), "serve", "-c", link, "-o", "listen a.address=192.0.2.99:1"],
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )
    assert result.returncode == 78
    assert result.stderr.startswith("/etc/viaduct/viaduct.ini: cannot be read: ")


def test_the_default_file_is_missed_when_it_is_gone(lab, own_etc):
    """The built-in rules would let in whom it kept out."""
    rules = LISTEN + "[access]\nnobody = deny to any\n"
    site = Site(lab, rules, wrapper=own_etc)
    start = site.proxy.wait_for_log(event="start", msg="viaduct serves")
    assert start["configuration"] == "/etc/viaduct/viaduct.ini"
    site.path.rename(site.path.with_suffix(".away"))
    end = site.reload()
    assert (end["level"], end["generation"]) == ("error", "1")
    message = site.proxy.find_lines(event="configuration", level="error")[-1]["msg"]
    assert message.startswith("/etc/viaduct/viaduct.ini: cannot be read: ")
    assert serves(lab, site.proxy) == 403
    assert site.reload(rules)["generation"] == "2"


def test_a_long_path_does_not_hide_what_is_wrong(lab, tmp_path):
    """Neither of the place nor in the message itself, nor at the start nor at a reload."""
    directory = tmp_path.joinpath(*["d" * 250] * 6)
    directory.mkdir(parents=True)
    users = directory / "users"
    users.write_text("")
    text = LISTEN + f"[auth]\nusers = {users}\n[access]\nstaff = allow user * from 10.0.0.1/8\n"
    rules = directory / "rules.ini"
    rules.write_text(text)
    site = Site(lab, f"include = {rules}\n")

    def said(level):
        lines = site.proxy.find_lines(event="configuration", level=level)
        return "\n".join(line["msg"] for line in lines)

    site.proxy.wait_for_log(event="start")
    assert re.search(r"dd/rules.ini:6: warning: access.staff: ", said("warning"))
    rules.write_text(text + f"list = deny hosts {directory}/none\n")
    assert site.reload()["level"] == "error"
    assert re.search(r"/none: No such file or directory$", said("error"))
    rules.write_text(text + "list = dney\n")
    assert site.reload()["level"] == "error"
    assert "/rules.ini:7: access.list: 'dney' is no action" in said("error")


# Both signals while a list of names is being read: what begins as this shell is the daemon then. The
# file SEEN is made when that has been seen.
EARLY = """
(
    while kill -0 $$ && ! ls -l /proc/$$/fd | grep -q /names; do :; done
    : > SEEN
    kill -HUP $$
    kill -USR1 $$
) >/dev/null 2>&1 &
exec "$0" "$@"
"""


def test_signals_that_come_before_it_serves_wait(lab, tmp_path):
    names = tmp_path / "names"
    rules = LISTEN + f"[access]\nlisted = deny hosts {names}\n"
    for count in (250_000, 500_000, 1_000_000, 2_000_000):
        names.write_text("".join(f"a{number}.example\n" for number in range(count)))
        seen = tmp_path / f"seen-{count}"
        site = Site(lab, rules, wrapper=["sh", "-c", EARLY.replace("SEEN", str(seen))])
        if seen.exists():
            break
        site.proxy.stop()  # on a busy machine the list may be read between two looks
    assert seen.exists(), "the list was never seen open"
    wait_until(site.ends, "the reload that HUP has asked for", 3 * DEADLINE)
    assert site.ends()[-1]["generation"] == "2"
    assert site.proxy.find_lines(event="log")[0]["msg"].startswith("USR1: ")
    site.proxy.note_idle()


def test_what_began_goes_on_as_it_began(lab):
    """A response that is on its way when its target is forbidden, and its log line."""
    site = Site(lab, LISTEN)
    gate = threading.Event()

    def slow(connection):
        connection.read_request()
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab")
        gate.wait(DEADLINE)
        connection.send(b"cd")

    origin = lab.origin(slow)
    client = lab.client(site.proxy)
    client.request("GET", origin.url("/slow"))
    origin.wait_requests(1)
    site.reload(LISTEN + "[access]\nnobody = deny to any\n")
    gate.set()
    assert client.read_response().body == b"abcd"
    line = site.proxy.wait_request(origin.url("/slow"))
    assert (line["rule"], line["end"]) == ("local", "complete")


def port_of(proxy, listener):
    lines = proxy.find_lines(event="listener", listener=listener)
    return int(lines[-1]["address"].rsplit(":", 1)[1])


def test_listeners_come_and_go(lab, tmp_path):
    site = Site(lab, LISTEN)
    first = port_of(site.proxy, "a")
    path = tmp_path / "b.sock"
    kept = lab.client(site.proxy)
    origin = lab.origin()
    assert kept.get(origin.url()).status == 200
    site.reload(LISTEN + f"[listen b]\naddress = 127.0.0.2:0, unix:{path}\n")
    second = next(
        int(line["address"].rsplit(":", 1)[1])
        for line in site.proxy.find_lines(event="listener", listener="b")
        if line["address"].startswith("127.0.0.2")
    )
    assert path.is_socket()
    new = lab.client(("127.0.0.2", second))
    assert new.get(origin.url()).status == 200
    assert lab.client(str(path)).get(origin.url()).status == 200
    site.reload(LISTEN.replace("a]", "renamed]"))
    assert not path.exists()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.2", second), DEADLINE)
    # Who came through it goes on; who stays listening was never closed.
    assert new.get(origin.url()).status == 200
    assert kept.get(origin.url("/kept")).status == 200
    assert site.proxy.wait_request(origin.url("/kept"))["listener"] == "a"
    again = lab.client(("127.0.0.1", first))
    assert again.get(origin.url("/renamed")).status == 200
    assert site.proxy.wait_request(origin.url("/renamed"))["listener"] == "renamed"


def test_a_port_that_is_taken_refuses_the_whole(lab):
    site = Site(lab, LISTEN)
    taken = socket.create_server(("127.0.0.1", 0))
    port = taken.getsockname()[1]
    end = site.reload(
        LISTEN + f"[listen b]\naddress = 127.0.0.2:0\n[listen c]\naddress = 127.0.0.1:{port}\n"
    )
    assert (end["level"], end["generation"]) == ("error", "1")
    message = site.proxy.find_lines(event="configuration", level="error")[-1]["msg"]
    assert message.startswith(f"{site.path}:6: cannot listen on 127.0.0.1:{port}: ")
    assert not site.proxy.find_lines(event="listener", listener="b")
    taken.close()


def test_one_address_becomes_all_of_its_port(lab):
    """The new socket overlaps the one that goes."""
    site = Site(lab, LISTEN)
    port = port_of(site.proxy, "a")
    site.reload(f"[listen a]\naddress = 127.0.0.1:{port}\n")
    end = site.reload(f"[listen a]\naddress = *:{port}\n")
    assert end["level"] == "notice"
    site.proxy.note_idle()  # it has more sockets now
    peer = lab.client(("127.0.0.3", port))
    assert peer.get(lab.origin().url()).status == 200


def test_somebody_else_s_address_of_our_port_is_taken(lab):
    """Even where the kernel would let both share it."""
    site = Site(lab, LISTEN)
    port = port_of(site.proxy, "a")
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.2", port))
        other.listen()
        end = site.reload(LISTEN + f"[listen b]\naddress = 127.0.0.2:{port}\n")
        assert end["level"] == "error"


def test_a_socket_file_that_was_removed_is_made_anew(lab, tmp_path):
    """Else nobody could come by it until a restart, and no command could ask for a reload."""
    path, admin = tmp_path / "a.sock", tmp_path / "admin.sock"
    site = Site(lab, f"[listen a]\naddress = unix:{path}\n[admin]\naddress = unix:{admin}\n")
    origin = lab.origin()
    client = lab.client(str(path))
    assert client.get(origin.url()).status == 200
    path.unlink()
    admin.unlink()
    assert site.reload()["level"] == "notice"
    assert admin.is_socket()
    assert lab.client(str(path)).get(origin.url()).status == 200
    assert client.get(origin.url()).status == 200


def test_a_unix_socket_of_ours_for_another_purpose(lab, tmp_path):
    """Who waits in its queue would get what was never meant for him."""
    path = tmp_path / "a.sock"
    site = Site(lab, LISTEN + f"[listen b]\naddress = unix:{path}\n")
    assert site.reload(LISTEN + f"[admin]\naddress = unix:{path}\n")["level"] == "error"
    assert site.proxy.find_lines(event="configuration")[-1]["msg"] == (
        f"{site.path}:4: cannot listen on unix:{path}: Address already in use; by ourselves, for "
        "another purpose: give it up in one reload, and take it in the next"
    )


def test_a_group_that_there_is_not(lab, tmp_path):
    """Of a socket that stays, too: a start would fail over it."""
    listen = f"[listen a]\naddress = 127.0.0.1:0, unix:{tmp_path}/a.sock\n"
    site = Site(lab, listen)
    end = site.reload(listen + "group = no-such-group\n")
    assert (end["level"], end["errors"]) == ("error", "1")
    assert "no-such-group" in site.proxy.find_lines(event="configuration")[-1]["msg"]


def test_an_account_database_that_hangs_keeps_no_signal_waiting(lab, tmp_path):
    """Groups are looked up aside, where the rest of a configuration is read, and nowhere else."""
    library, hang = tmp_path / "accounts.so", tmp_path / "hang"
    source = Path(__file__).with_name("load") / "accounts.c"
    flags = ["-std=c17", "-D_GNU_SOURCE", "-shared", "-fPIC"]
    subprocess.run(["gcc", *flags, "-o", library, source], check=True)
    text = f"[listen a]\naddress = 127.0.0.1:0, unix:{tmp_path}/a.sock\ngroup = some\n"
    new = f"[listen b]\naddress = unix:{tmp_path}/b.sock\nmode = 0600\ngroup = others\n"
    environment = {"LD_PRELOAD": str(library), "ACCOUNTS_HANG": str(hang)}
    site = Site(lab, text, env=environment, release=True)
    hang.touch()
    end = site.reload(text + new + f"[admin]\naddress = unix:{tmp_path}/c.sock\ngroup = more\n")
    assert (end["level"], end["generation"]) == ("notice", "2")
    assert permissions(tmp_path / "b.sock") == (0o600, os.getegid())
    site.proxy.note_idle()


@as_root
def test_a_group_with_many_members(lab, tmp_path):
    """Its line in the file is longer than most."""
    group, path = tmp_path / "group", tmp_path / "a.sock"
    members = ",".join(f"member{i:05}" for i in range(20000))
    group.write_text(f"root:x:0:\ncrowd:x:4711:{members}\n")
    script = 'mount --bind "$0" /etc/group; exec "$@"'
    lab.fresh(
        config=f"[listen a]\naddress = 127.0.0.1:0, unix:{path}\ngroup = crowd\n",
        wrapper=["unshare", "--mount", "sh", "-c", script, str(group)],
    )
    assert permissions(path) == (0o660, 4711)


@pytest.mark.parametrize(
    ("key", "value"), [("server.workers", "3"), ("log.buffer", "8M"), ("log.destination", "/tmp/x")]
)
def test_keys_that_need_a_restart_say_so(lab, key, value):
    site = Site(lab, LISTEN)
    section, name = key.split(".")
    site.reload(f"[{section}]\n{name} = {value}\n" + LISTEN)
    change = site.changes()[key]
    assert change["level"] == "warning" and "restart" in change["msg"]
    assert serves(lab, site.proxy) == 200


def test_a_restart_is_due_until_what_runs_is_asked_for_again(lab):
    """Told by each reload until then, and not of the way back."""
    workers = "[server]\nworkers = {}\n" + LISTEN
    site = Site(lab, workers.format(2))
    for number in (7, 7, 8, 2):
        site.reload(workers.format(number))
    said = site.proxy.find_lines(event="reload", key="server.workers")
    assert [(line["level"], line["before"], line["after"]) for line in said] == [
        ("warning", "2", "7"),
        ("warning", "2", "7"),
        ("warning", "2", "8"),
        ("notice", "8", "2"),
    ]
    assert [end["changes"] for end in site.ends()] == ["1", "0", "1", "1"]


def test_asked_twice_at_once(lab):
    """What is asked for while one runs is done once more, after it."""
    site = Site(lab, LISTEN)
    for _ in range(5):
        site.proxy.signal(signal.SIGHUP)
    wait_until(lambda: site.ends(), "a reload")
    end = site.reload(LISTEN + "[server]\nname = other\n")
    wait_until(lambda: "server.name" in site.changes(), "the last one")
    assert end["level"] == "notice"


def test_hup_storm(lab):
    """However they fall together, the last file is in force in the end."""
    site = Site(lab, LISTEN)
    origin = lab.origin()
    client = lab.client(site.proxy)
    for number in range(200):
        site.write(LISTEN + f"[access]\nrule{number} = allow from loopback to any\n")
        site.proxy.signal(signal.SIGHUP)
        assert client.get(origin.url(f"/{number}")).status == 200

    def last_is_in_force():
        lines = site.proxy.find_lines(event="reload")
        keys = [line.get("key") for line in lines]
        return "access.rule199" in keys and any(
            "in force" in line["msg"] for line in lines[keys.index("access.rule199") :]
        )

    wait_until(last_is_in_force, "the last one")
    assert client.get(origin.url("/last")).status == 200
    assert site.proxy.wait_request(origin.url("/last"))["rule"] == "rule199"


def test_an_address_goes_and_comes_back_at_once(lab, tmp_path):
    """The second reload is asked for before the first has closed what it asks for."""
    taken = socket.create_server(("127.0.0.2", 0))
    port = taken.getsockname()[1]
    taken.close()
    path = tmp_path / "b.sock"
    more = LISTEN + f"[listen b]\naddress = 127.0.0.2:{port}, unix:{path}\n"
    site = Site(lab, more)
    origin = lab.origin()
    for number in range(20):
        site.write(LISTEN)
        site.proxy.signal(signal.SIGHUP)
        site.proxy.wait_for_log(event="reload", msg="asked for", count=2 * number + 1)
        site.reload(more + f"[access]\nrule{number} = allow from loopback,unix to any\n")
        wait_until(lambda: f"access.rule{number}" in site.changes(), "the second")
        assert lab.client(("127.0.0.2", port)).get(origin.url()).status == 200
        assert lab.client(str(path)).get(origin.url()).status == 200
    assert not site.proxy.find_lines(event="reload", level="error")


def test_an_inherited_socket_that_is_not_wanted_for_a_while(lab):
    """Who connects meanwhile waits in its queue, and is served once it is wanted again."""
    sock = high(socket.create_server(("127.0.0.1", 0)))
    address = sock.getsockname()
    config = LISTEN + "[listen s]\naddress = systemd\n"
    proxy = activated(lab, [sock], config=config)
    site = Site(lab, config, proxy=proxy)
    sock.close()
    origin = lab.origin()
    before = lab.client(address)
    assert before.get(origin.url()).status == 200
    site.reload(LISTEN)
    waiting = lab.client(address)
    waiting.request("GET", origin.url("/waiting"))
    assert waiting.is_silent(0.2)
    assert before.get(origin.url()).status == 200
    site.reload(config)
    assert waiting.read_response().status == 200
    assert proxy.wait_request(origin.url("/waiting"))["listener"] == "s"


# --- Every key that works on reload, by what it does ------------------------------------------------


def test_limits_and_names(lab):
    site = Site(lab, LISTEN)
    client = lab.client(site.proxy)
    origin = lab.origin()
    assert client.get(origin.url("/" + "x" * 300)).status == 200
    site.reload(LISTEN + "[limits]\ntarget_bytes = 256\n[server]\nname = other\n")
    other = lab.client(site.proxy)
    answer = other.get(origin.url("/" + "x" * 300))
    assert answer.status == 414
    assert any(value.startswith("other;") for value in answer.all("proxy-status"))


def test_log_format_and_level(lab):
    site = Site(lab, LISTEN)
    site.reload(LISTEN + "[log]\naccess = off\n")
    origin = lab.origin()
    assert serves(lab, site.proxy, origin) == 200
    site.reload(LISTEN)
    assert lab.client(site.proxy).get(origin.url("/seen")).status == 200
    site.proxy.wait_request(origin.url("/seen"))
    assert len(site.proxy.find_lines(event="request")) == 1


def test_crowd_limit(lab):
    """Whoever is there counts, under whatever limit, or none, it came."""
    site = Site(lab, LISTEN)
    origin = lab.origin()

    def limit(number):
        site.reload(LISTEN + f"[server]\nmax_connections_per_client = {number}\n")

    def come():
        client = lab.client(site.proxy)
        return client if client.get(origin.url()).status == 200 else None

    def as_many_as(number):
        """They are let in as those who have left are seen to be gone."""
        clients = [wait_until(come, "room") for _ in range(number)]
        assert not come()
        return clients

    first = [come() for _ in range(3)]
    limit(3)
    assert not come()
    limit(0)
    first += [come() for _ in range(2)]
    limit(4)
    assert not come()
    for client in first:
        assert client.get(origin.url()).status == 200
    for client in first:
        client.close()
    for client in as_many_as(4):
        client.close()
    as_many_as(4)


def test_dns_servers_change_under_a_question(lab, tmp_path):
    """Who waits for the old server's answer gets it; who asks next asks the new one."""
    hosts = tmp_path / "hosts"
    hosts.write_text("")
    other = tmp_path / "hosts2"
    other.write_text("127.0.0.1 name.test\n")
    silent = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    silent.bind(("127.0.0.1", 0))
    dns = f"[dns]\nservers = 127.0.0.1:{silent.getsockname()[1]}\nhosts = "
    site = Site(lab, LISTEN + dns + f"{hosts}\n[timeouts]\ndns = 1s\n")
    origin = lab.origin()
    waiting = lab.client(site.proxy)
    waiting.request("GET", f"http://name.test:{origin.port}/1")
    silent.settimeout(DEADLINE)
    silent.recv(512)
    site.reload(LISTEN + dns + f"{other}\n")
    assert lab.client(site.proxy).get(f"http://name.test:{origin.port}/2").status == 200
    assert waiting.read_response().status == 504
    silent.close()


@pytest.fixture
def public():
    """A directory that everybody may read: pytest's own are closed to others. To be named before
    lab, so that it outlives what lab looks over."""
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o755)
        yield Path(directory)


@as_root
def test_what_a_reload_cannot_do_as_server_user(public, lab):
    """As viaduct(8) tells: a port below 1024, a unix socket in another's directory, a group that
    is not its own."""
    lab.directory = public
    path = public / "a.sock"
    start = f"[server]\nuser = nobody\n[listen a]\naddress = 127.0.0.1:0, unix:{path}\n"
    site = Site(lab, start)
    for address, why in [
        ("127.0.0.1:1", "Permission denied; ports below 1024 can be opened by root only, at a start"),
        (f"unix:{public}/b.sock", "Permission denied"),
    ]:
        assert site.reload(start + f"[listen b]\naddress = {address}\n")["level"] == "error"
        said = site.proxy.find_lines(event="configuration", level="error")[-1]["msg"]
        assert said == f"{site.path}:6: cannot listen on {address}: {why}"
    assert site.reload(start + "group = daemon\n")["level"] == "notice"
    warning = site.proxy.find_lines(event="listener", level="warning")[-1]["msg"]
    assert warning == (
        f"unix:{path}: cannot change its permissions: Operation not permitted; "
        "server.user is no member of that group: restart"
    )


@as_root
@pytest.mark.parametrize("is_whole", [False, True], ids=["file", "directory"])
def test_a_lost_socket_file_does_not_stop_new_rules(public, lab, is_whole):
    """Be it that server.user cannot make it anew: the rules have nothing to do with it."""
    lab.directory = public
    run = public / "run"
    run.mkdir()
    path, admin = run / "a.sock", run / "admin.sock"
    start = (
        f"[server]\nuser = nobody\n[listen a]\naddress = 127.0.0.1:0, unix:{path}\n"
        f"[admin]\naddress = unix:{admin}\n"
    )
    site = Site(lab, start)
    path.unlink()
    admin.unlink()
    if is_whole:
        run.rmdir()
    assert site.reload(start + "[access]\nshut = deny\n")["level"] == "notice"
    assert serves(lab, site.proxy) == 403
    assert [line["msg"] for line in site.proxy.find_lines(event="listener", level="warning")] == [
        f"unix:{lost}: its file is gone, and cannot be made anew: "
        f"{'No such file or directory' if is_whole else 'Permission denied'}; "
        "nobody can come by it: restart"
        for lost in (path, admin)
    ]
    if is_whole:
        run.mkdir()
    shutil.chown(run, "nobody")
    assert site.reload()["level"] == "notice"
    assert path.is_socket() and admin.is_socket()
    assert lab.client(str(path)).get(lab.origin().url()).status == 403


@as_root
def test_a_socket_that_is_refused_leaves_no_file(public, lab):
    """It could not be given to its group."""
    lab.directory = public
    new = public / "new"
    new.mkdir()
    shutil.chown(new, "nobody")
    site = Site(lab, LISTEN, "server.user=nobody")
    end = site.reload(LISTEN + f"[listen b]\naddress = unix:{new}/b.sock\ngroup = daemon\n")
    assert end["level"] == "error"
    assert not list(new.iterdir())


@as_root
def test_sockets_that_root_opened_are_server_user_s(public, lab):
    """One address becomes all of its port, and back; a unix socket gets other permissions."""
    lab.directory = public
    path = public / "a.sock"
    nobody = pwd.getpwnam("nobody")

    def text(address, more=""):
        return f"[server]\nuser = nobody\n[listen a]\naddress = {address}, unix:{path}\n{more}"

    site = Site(lab, text("127.0.0.1:0"))
    port = site.proxy.port
    origin = lab.origin()
    assert permissions(path) == (0o660, 0)
    assert path.stat().st_uid == nobody.pw_uid
    for address, inside in [("127.0.0.1", "127.0.0.1"), ("*", "127.0.0.3"), ("127.0.0.1", "127.0.0.1")]:
        assert site.reload(text(f"{address}:{port}"))["level"] == "notice"
        assert lab.client((inside, port)).get(origin.url()).status == 200
    for more, expected in [
        ("mode = 0666\n", (0o666, 0)),
        ("mode = 0600\ngroup = nogroup\n", (0o600, nobody.pw_gid)),
    ]:
        assert site.reload(text(f"127.0.0.1:{port}", more))["level"] == "notice"
        assert permissions(path) == expected
    assert lab.client(str(path)).get(origin.url()).status == 200
    assert not site.proxy.find_lines(event="listener", level="warning")


@as_root
@pytest.mark.skipif(not shutil.which("setpriv"), reason="setpriv takes the right to chown(2)")
def test_sockets_that_stay_root_s(public, lab):
    """It says so, and what to do."""
    lab.directory = public
    path = public / "a.sock"

    def text(address, more=""):
        return f"[server]\nuser = nobody\n[listen a]\naddress = {address}, unix:{path}\n{more}"

    site = Site(
        lab, text("127.0.0.1:0"), wrapper=["setpriv", "--bounding-set=-chown", "--inh-caps=-chown"]
    )
    port = site.proxy.port
    warning = site.proxy.find_lines(event="start", level="warning")[0]["msg"]
    assert warning.startswith("the sockets stay root's (Operation not permitted): ")
    assert site.reload(text(f"127.0.0.1:{port}"))["level"] == "error"
    said = site.proxy.find_lines(event="configuration", level="error")[-1]["msg"]
    assert said.endswith(
        "Address already in use; a socket of ours on that port, which root has opened, "
        "is in the way: restart"
    )
    assert site.reload(text("127.0.0.1:0", "mode = 0666\n"))["level"] == "notice"
    warning = site.proxy.find_lines(event="listener", level="warning")[-1]["msg"]
    assert warning.endswith("Operation not permitted; root has opened it: restart")
    assert permissions(path)[0] == 0o660


def check(path):
    words = [str(viaduct_harness.binary()), "check", "-c", str(path)]
    return subprocess.run(words, capture_output=True, text=True, timeout=DEADLINE)


@as_root
def test_what_a_start_reads_is_read_as_server_user(public):
    path = public / "viaduct.ini"
    path.write_text(LISTEN + "[server]\nuser = nobody\n")
    path.chmod(0o600)
    result = check(path)
    assert result.returncode == 78
    assert "Permission denied" in result.stdout + result.stderr
    path.chmod(0o644)
    assert check(path).returncode == 0


@as_root
@pytest.mark.parametrize("there", [False, True])
def test_a_log_that_server_user_may_not_write(public, there):
    """check and the start say the same."""
    log, path = public / "access.log", public / "viaduct.ini"
    if there:
        log.touch(0o644)
    path.write_text(f"{LISTEN}[server]\nuser = nobody\n[log]\ndestination = {log}\n")
    warning = (
        f"{path}:6: warning: log.destination = {log}: it cannot be opened by server.user, and a "
        "start will fail: Permission denied\n"
    )
    assert check(path).stdout == f"{warning}{path}: ok\n"
    serve = [str(viaduct_harness.binary()), "serve", "-c", str(path)]
    result = subprocess.run(serve, capture_output=True, text=True, timeout=DEADLINE)
    assert result.returncode == 1
    assert f"log.destination: {log}: Permission denied" in result.stderr
    shutil.chown(log if there else public, "nobody")
    assert check(path).stdout == f"{path}: ok\n"


@as_root
@pytest.mark.skipif(not shutil.which("setpriv"), reason="setpriv becomes somebody else")
def test_server_user_of_a_start_that_is_not_root_s(public, lab):
    """It stays who it is, says so, and check has said it."""
    lab.directory = public
    nobody = pwd.getpwnam("nobody").pw_uid
    other = ["setpriv", f"--reuid={nobody}", "--clear-groups"]
    text = LISTEN + "[server]\nuser = daemon\n"
    proxy = lab.fresh(config=text, wrapper=other)
    warning = f"{proxy.config}:4: warning: server.user = daemon: only root can become another user"
    assert proxy.wait_for_log(event="configuration", level="warning")["msg"] == warning
    assert serves(lab, proxy) == 200
    words = [*other, str(viaduct_harness.binary()), "check", "-c", str(proxy.config)]
    result = subprocess.run(words, capture_output=True, text=True, timeout=DEADLINE)
    assert result.stdout == f"{warning}\n{proxy.config}: ok\n"
    proxy.config.write_text(text.replace("daemon", "nobody"))
    result = subprocess.run(words, capture_output=True, text=True, timeout=DEADLINE)
    assert result.stdout == f"{proxy.config}: ok\n"


@as_root
@pytest.mark.skipif(not shutil.which("setpriv"), reason="setpriv takes the right to setuid(2)")
def test_root_that_cannot_become_server_user(public):
    """Of a container, say; check knows."""
    path = public / "viaduct.ini"
    path.write_text(LISTEN + "[server]\nuser = nobody\n")
    words = ["setpriv", "--bounding-set=-setuid", "--inh-caps=-setuid", str(viaduct_harness.binary())]
    result = subprocess.run(
        [*words, "check", "-c", str(path)], capture_output=True, text=True, timeout=DEADLINE
    )
    assert result.stdout == (
        f"{path}:4: warning: server.user = nobody: a start will fail, for it cannot become that "
        f"user: Operation not permitted\n{path}: ok\n"
    )
    result = subprocess.run(
        [*words, "serve", "-c", str(path)], capture_output=True, text=True, timeout=DEADLINE
    )
    assert result.returncode == 1
    assert "server.user: cannot become nobody: Operation not permitted" in result.stderr


def test_a_pipe_is_no_configuration():
    """It could not be read a second time, and what a reload would find is nothing at all."""
    reading, writing = os.pipe()
    os.write(writing, b"[server]\ngrace = 1s\n")
    os.close(writing)
    words = [str(viaduct_harness.binary()), "check", "-c", f"/dev/fd/{reading}"]
    result = subprocess.run(
        words, capture_output=True, text=True, timeout=DEADLINE, pass_fds=(reading,)
    )
    os.close(reading)
    assert result.returncode == 78
    assert "a pipe: it could not be read a second time" in result.stdout


@pytest.mark.parametrize("admin", ["127.0.0.1:3999", "127.0.0.2:4000"])
def test_admin_on_a_listeners_address(tmp_path, admin):
    path = tmp_path / "viaduct.ini"
    path.write_text(
        "[listen a]\naddress = 127.0.0.1:3999\n[listen b]\naddress = *:4000\n"
        f"[access]\nx = allow from loopback\n[admin]\naddress = {admin}\n"
    )
    result = check(path)
    assert result.returncode == 78
    name = "a" if admin.endswith("3999") else "b"
    assert f"{path}:8: admin.address: listen {name}.address takes the same address" in result.stdout
