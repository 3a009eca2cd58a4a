# SPDX-License-Identifier: MIT
"""The commands that ask the daemon, where something is in their way: which address they ask and why,
and that they wait for nobody for ever."""

import contextlib
import os
import socket
import stat
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import wire
from test_admin import LISTEN, Site, admin_config, run
from wire import wait_until


@contextlib.contextmanager
def full_queue(path):
    """A unix socket that accepts nobody, and whose queue has no room left."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket(socket.AF_UNIX))
        listener.bind(str(path))
        listener.listen(0)
        with contextlib.suppress(BlockingIOError):
            while True:
                waiting = stack.enter_context(socket.socket(socket.AF_UNIX))
                waiting.setblocking(False)
                waiting.connect(str(path))
        yield


def test_a_queue_that_is_full(tmp_path):
    """As that of a daemon which was stopped; also where the answer itself may take for ever."""
    path = tmp_path / "admin.sock"
    commands = ("status", "reload")
    with full_queue(path), ThreadPoolExecutor(len(commands)) as pool:
        results = list(pool.map(lambda command: run(command, "-s", path), commands))
    for result in results:
        assert (result.returncode, result.stdout) == (1, "")
        assert result.stderr.startswith(f"viaduct: unix:{path}: nobody has answered in time; ")


def test_a_reload_of_a_daemon_that_is_stopped(lab, tmp_path):
    """It is waited for only as long as the daemon answers, and is done once that goes on."""
    site = Site(lab, tmp_path)
    with site.proxy.stopped():
        result = site.command("reload")
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith(
        f"viaduct: unix:{site.socket}: nobody has answered in time; the daemon is stopped"
    )
    assert result.stderr.endswith("what was asked may still be done: viaduct status tells\n")
    site.proxy.wait_for_log(event="reload", generation="2", msg="the new configuration is in force")


# ---- Where the daemon is ----


class Service:
    """A daemon with a runtime directory, as a service manager gives one."""

    def __init__(self, lab, tmp_path, config=LISTEN):
        self.directory = tmp_path / "run"
        self.directory.mkdir()
        self.record = self.directory / "admin.address"
        self.env = {"RUNTIME_DIRECTORY": f"{self.directory}:/elsewhere"}
        umask = ["sh", "-c", 'umask 077; exec "$0" "$@"']  # as in viaduct.service
        self.proxy = lab.fresh(config=config, env=self.env, wrapper=umask)
        wait_until(lambda: self.record.exists() and self.record.read_text(), "the record")

    def write(self, text):
        self.proxy.config.write_text(text)

    def run(self, *words):
        """As ExecReload= does."""
        return run(*words, "-c", self.proxy.config, env=self.env)


def test_a_reload_that_changes_the_address(lab, tmp_path):
    """Each is asked for where the daemon is, not where it will be."""
    service = Service(lab, tmp_path)
    places = [f"unix:{tmp_path}/two.sock", f"127.0.0.1:{wire.free_port()}", "auto", "off"]
    assert service.record.read_text() == f"unix:{service.directory}/admin.sock\n"
    assert stat.S_IMODE(service.record.stat().st_mode) == 0o644
    for generation, place in enumerate(places, 2):
        service.write(admin_config(place, "write = on\n" if "127" in place else ""))
        result = service.run("reload")
        assert result.returncode == 0, (place, result)
        assert result.stdout.startswith(f"generation {generation} is in force"), place
        expected = f"unix:{service.directory}/admin.sock" if place == "auto" else place
        assert service.record.read_text() == f"{expected}\n"
        if place != "off":
            assert service.run("status").returncode == 0
    result = service.run("status")
    assert result.returncode == 1
    assert result.stderr == (
        f"viaduct: the running daemon has no admin socket, says {service.record}; HUP has it "
        "reload\n"
    )
    service.proxy.stop()
    assert not service.record.exists()


def test_a_port_that_the_kernel_chose(lab, tmp_path):
    service = Service(lab, tmp_path, admin_config("127.0.0.1:0"))
    assert service.run("status").returncode == 0


@pytest.mark.parametrize("place", ["unix:{}/a.sock", "off"])
def test_a_record_that_nobody_has_taken_away(lab, tmp_path, place):
    """It says nothing, from the moment its daemon was killed: neither that there is no admin socket,
    nor where."""
    service = Service(lab, tmp_path, admin_config(place.format(tmp_path)))
    service.proxy.kill()
    assert service.record.read_text() == place.format(tmp_path) + "\n"
    service.write(admin_config(f"unix:{tmp_path}/c.sock"))
    result = service.run("status")
    assert result.returncode == 1
    assert result.stderr.startswith(
        f"viaduct: unix:{tmp_path}/c.sock: No such file or directory; asked there because "
        f"{service.proxy.config}:4 says so; is viaduct running?"
    )
    again = lab.fresh(config=admin_config(f"unix:{tmp_path}/b.sock"), env=service.env)
    wait_until(lambda: "b.sock" in service.record.read_text(), "the new address")
    assert service.run("status").returncode == 0
    again.stop()


def test_the_end_of_another_daemon(lab, tmp_path):
    """It takes away its own record, not that of one which came after it."""
    service = Service(lab, tmp_path, admin_config(f"unix:{tmp_path}/a.sock"))
    second = lab.fresh(config=admin_config(f"unix:{tmp_path}/b.sock"), env=service.env)
    wait_until(lambda: "b.sock" in service.record.read_text(), "the new address")
    service.proxy.stop()
    assert "b.sock" in service.record.read_text()
    second.stop()
    assert not service.record.exists()


def test_a_runtime_directory_that_is_not_there(lab, tmp_path):
    """The daemon serves all the same, and says so."""
    proxy = lab.fresh(
        config=admin_config(f"unix:{tmp_path}/a.sock"), env={"RUNTIME_DIRECTORY": f"{tmp_path}/no"}
    )
    assert f"{tmp_path}/no/admin.address: No such file" in proxy.stderr()
    result = run("status", "-c", proxy.config, env={"RUNTIME_DIRECTORY": f"{tmp_path}/no"})
    assert result.returncode == 0


@pytest.fixture
def public():
    """A directory that everybody may read; named before lab, so that it outlives the daemon."""
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o755)
        yield Path(directory)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_a_directory_that_is_not_the_daemons_any_more(public, lab):
    """Made for root, who then becomes server.user."""
    lab.directory = public
    config = "[server]\nuser = nobody\n" + admin_config("127.0.0.1:{}", "write = on\n")
    service = Service(lab, public, config.format(wire.free_port()))
    first = service.record.read_text()
    service.write(config.format(wire.free_port()))
    result = service.run("reload")
    assert result.returncode == 0, result
    assert service.record.read_text() != first
    assert service.run("status").returncode == 0
    service.proxy.stop()
    assert service.record.read_text() == ""


@pytest.mark.parametrize("junk", ["", "unix:/cut.sock", "nonsense\n", "a" * 5000, "\0\n"])
def test_a_record_that_says_nothing(lab, tmp_path, junk):
    service = Service(lab, tmp_path, admin_config(f"unix:{tmp_path}/a.sock"))
    service.record.write_text(junk)
    assert service.run("status").returncode == 0


def test_a_record_that_would_write_to_the_terminal(lab, tmp_path):
    service = Service(lab, tmp_path, admin_config(f"unix:{tmp_path}/a.sock"))
    service.record.write_text("unix:/no\x1b[2Jwhere\x9b\u202e\n")
    assert "unix:/no?[2Jwhere??:" in service.run("status").stderr
    assert service.run("status").stderr[:-1].isprintable()


# ---- Why there ----

USUAL = "unix:/run/viaduct/admin.sock"


@pytest.mark.parametrize(
    "config, why",
    [
        ("", "the configuration names no place, and that is the usual one"),
        ("[admin]\naddress = off\n", "the configuration names no place, and that is the usual one"),
        ("[admin]\naddress = unix:{}/a.sock\n", "{}/v.ini:2 says so"),
    ],
)
def test_it_tells_where_it_has_asked_and_why(tmp_path, config, why):
    path = tmp_path / "v.ini"
    path.write_text(config.format(tmp_path))
    result = run("status", "-c", path)
    place = f"unix:{tmp_path}/a.sock" if "unix:" in config else USUAL
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith(
        f"viaduct: {place}: No such file or directory; asked there because "
        f"{why.format(tmp_path)}; is viaduct running?"
    )


@pytest.mark.parametrize(
    "config, message",
    [
        ("[admin]\naddress = somewhere\n", "{}/v.ini:2: admin.address = somewhere: expected "),
        ("[server]\nnmae = x\n[admin]\naddress = x\n", "{}/v.ini:4: admin.address = x: expected "),
        ("[serv]\nnmae = x\n", "{}/v.ini:1: "),
        (None, "{}/v.ini: cannot be read: "),
    ],
)
def test_a_guess_is_told(lab, tmp_path, config, message):
    """Before it asks: who answers there may be somebody else."""
    path = tmp_path / "v.ini"
    if config:
        path.write_text(config)
    result = run("status", "-c", path)
    first = result.stderr.splitlines()[0]
    assert first.startswith("viaduct: " + message.format(tmp_path))
    assert first.endswith(f"; asking at {USUAL}")
    assert result.returncode == 1
