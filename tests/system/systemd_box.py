# SPDX-License-Identifier: MIT
"""A real systemd as first process of namespaces of its own, on a copy of this machine's root that is
thrown away: an overlay, its own network with nothing but lo, its own cgroup tree."""

import json
import os
import re
import secrets
import shutil
import subprocess
from pathlib import Path

import pytest

import networks
from wire import DEADLINE, wait_until

# Two of them at once must not take each other's units for their own: a cgroup for each, which $2 names
# and which is the root of what it sees.
BEGIN = r"""
set -e
base=$1
mount --make-rprivate /
mkdir "$base/cgroup"
mount -t cgroup2 cgroup2 "$base/cgroup"
own=$base/cgroup$(sed -n 's/^0:://p' /proc/self/cgroup)/$2
mkdir "$own"
echo $$ >"$own/cgroup.procs"
exec unshare --pid --mount --cgroup --uts --ipc --net --fork --kill-child bash -c "$3" boot "$base"
"""

END = r"""
mount -t cgroup2 cgroup2 "$1"
cd "$1$(sed -n 's/^0:://p' /proc/self/cgroup)"
echo 1 >"$2/cgroup.kill"
for _ in $(seq 100); do
    ! find "$2" -depth -type d -exec rmdir {} + 2>/dev/null || break
    sleep 0.05
done
"""

# $1 is the directory to work in; $1/files goes into the root.
BOOT = r"""
set -e
base=$1
mount --make-rprivate /
mount -t tmpfs -o size=256m tmpfs "$base/space"
mkdir "$base/space/upper" "$base/space/work" "$base/space/root"
root=$base/space/root
mount -t overlay -o "lowerdir=/,upperdir=$base/space/upper,workdir=$base/space/work" overlay "$root"
mount -t proc proc "$root/proc"
mount -t sysfs -o ro sysfs "$root/sys"
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
for device in null zero full random urandom tty; do
    touch "$root/dev/$device"
    mount --bind "/dev/$device" "$root/dev/$device"
done
ln -s /proc/self/fd "$root/dev/fd"
ln -s /proc/self/fd/0 "$root/dev/stdin"
ln -s /proc/self/fd/1 "$root/dev/stdout"
ln -s /proc/self/fd/2 "$root/dev/stderr"
mkdir "$root/dev/shm" "$root/dev/pts"
mount -t devpts -o newinstance,ptmxmode=666 devpts "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"
touch "$root/dev/console"
mount --bind "$base/console" "$root/dev/console"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
mount -t tmpfs -o mode=755 tmpfs "$root/run"
rm -rf "$root/var/log/journal" "$root/etc/viaduct"
cp -a "$base/files/." "$root/"
ip link set lo up
: >"$root/etc/machine-id"
cd "$root"
mkdir old
pivot_root . old
umount -l /old
# As a container manager does it; credentials are mounts that are to be seen outside of where they
# are made.
mount --make-rshared /
exec env -i container=other PATH=/usr/sbin:/usr/bin:/sbin:/bin \
    /lib/systemd/systemd --system --unit=basic.target --log-target=console --show-status=0
"""

NAMESPACES = ["-p", "-m", "-C", "-u", "-i", "-n"]


class Box:
    def __init__(self, directory, files):
        """files: {path in the root: text, bytes, or a Path to be copied}"""
        if not Path("/lib/systemd/systemd").exists():
            pytest.skip("systemd is not installed")
        if os.getuid() != 0:
            pytest.skip("only root can boot a systemd in namespaces of its own")
        (directory / "space").mkdir(parents=True)
        self.directory, self.cgroup = directory, f"viaduct-box-{secrets.token_hex(6)}"
        self.console = directory / "console"
        self.console.touch()
        for path, content in files.items():
            place = directory / "files" / path.lstrip("/")
            place.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, Path):
                shutil.copy(content, place)
            else:
                place.write_bytes(content if isinstance(content, bytes) else content.encode())
        with open(directory / "boot.log", "wb") as log:
            self.process = subprocess.Popen(
                ["unshare", "-m", "bash", "-c", BEGIN, "begin", directory, self.cgroup, BOOT],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self.init = None
        try:
            wait_until(self._is_up, "systemd to be up", deadline=30)
        except AssertionError:
            told = (directory / "boot.log").read_text() + self.console.read_text()
            self.close()
            pytest.skip(f"a systemd could not be booted here: {told[-400:]}")

    def _is_up(self):
        if self.process.poll() is not None:
            raise AssertionError("it has ended")
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        if not children.split():
            return False
        self.init = children.split()[0]
        try:
            if Path(f"/proc/{self.init}/comm").read_text().strip() != "systemd":
                return False
        except OSError:
            return False  # one of those that prepare the ground, and has ended
        state = self.run("systemctl", "is-system-running", check=False).stdout.strip()
        return state in ("running", "degraded")

    def enter(self, *command, only_network=False):
        """The words that run a command inside, or in its network alone."""
        # -r: where the tests run in a chroot, the root of the mount namespace is not that of the box.
        spaces = ["-n"] if only_network else [*NAMESPACES, "-r"]
        return ["nsenter", "-t", self.init, *spaces, *command]

    def run(self, *command, check=True, only_network=False):
        result = subprocess.run(
            self.enter(*command, only_network=only_network),
            capture_output=True,
            text=True,
            timeout=3 * DEADLINE,
            check=False,
        )
        if check and result.returncode != 0:
            journal = self.run("journalctl", "-b", "-n", "20", "--no-pager", check=False).stdout
            raise AssertionError(f"{command}: {result.stdout}{result.stderr}\n{journal}")
        return result

    def path(self, inside):
        """A path in the box, as seen from here."""
        return Path(f"/proc/{self.init}/root") / inside.lstrip("/")

    def network(self):
        """For with: the calling thread is in the box's network."""
        return networks.inside(f"/proc/{self.init}/ns/net")

    def process_of(self, unit):
        """The process id of a unit's main process, as seen from here."""
        inner = self.show(unit, "MainPID")
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                text = Path(f"/proc/{pid}/status").read_text()
            except OSError:
                continue
            ids = re.search(r"^NSpid:\s+(.*)$", text, re.M)[1].split()
            if len(ids) > 1 and ids[-1] == inner and ids[0] == pid and self._has(pid):
                return int(pid)
        return None

    def _has(self, pid):
        return os.readlink(f"/proc/{pid}/ns/pid") == os.readlink(f"/proc/{self.init}/ns/pid")

    def write(self, path, text):
        self.run("mkdir", "-p", str(Path(path).parent))
        words = self.enter("tee", path)
        subprocess.run(words, input=text.encode(), stdout=subprocess.DEVNULL, check=True)

    def show(self, unit, name):
        """One property of a unit."""
        return self.run("systemctl", "show", "-P", name, unit).stdout.strip()

    def journal(self, unit):
        """What a unit's process has written, with its priorities, as [(number, text)]."""
        lines = self.run("journalctl", "-u", unit, "-o", "json", "--no-pager").stdout.splitlines()
        entries = [json.loads(line) for line in lines]
        return [
            (int(e["PRIORITY"]), e["MESSAGE"]) for e in entries if e.get("_TRANSPORT") == "stdout"
        ]

    def wait_for_journal(self, unit, text, priority=None):
        """The same, once an entry has this text (and priority): the journal may be behind."""

        def found():
            entries = self.journal(unit)
            return any(text in m and priority in (None, p) for p, m in entries) and entries

        return wait_until(found, f"{text!r} in the journal")

    def close(self):
        if self.process.poll() is None:
            self.process.kill()  # takes the first process with it, and that all others
        self.process.wait()
        place = self.directory / "cgroup"
        if place.is_dir():
            subprocess.run(["unshare", "-m", "bash", "-c", END, "end", place, self.cgroup], check=False)
