# SPDX-License-Identifier: MIT
"""The programs that are compared, and how each is set up.

Every one gets what suits it best: an access log, written in batches where it can; no cache; one
worker on one core; connections kept open for ten minutes on both sides; room for 9,000 clients.
README.md says what of that each of them cannot do.
"""

import contextlib
import functools
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import meter
import rules

PATH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def find(program):
    return shutil.which(program, path=PATH)


class Peer:
    """A program under measure. `http_port` takes absolute-form requests."""

    name = ""
    program = ""
    package = ""
    tunnel = 1  # how load.c gets a tunnel: 1 by CONNECT, 2 by a relay's port, None not at all
    load = {}  # options of load.c that it wants beside a row's
    names = True  # can be told the address of a name that only the benchmark knows
    lists = False  # can be told a list of names to refuse
    list_line = "{}"  # how it writes one
    keeps = True  # keeps an idle client's connection
    wrk = True  # wrk counts no errors with it
    pids_matter = True  # there is a process whose memory counts
    traced = True  # lives under strace -f
    quit_signal = signal.SIGTERM

    def __init__(self, lab, workers=1, refused=None):
        self.lab = lab
        self.workers = workers
        self.refused = refused  # a file of names
        self.process = None
        self.http_port = None

    @property
    def cores(self):
        return self.lab.proxy_cores[: self.workers]

    def available(self):
        return find(self.program) is not None

    def version(self):
        return ""

    def ask_version(self, *argv):
        found = subprocess.run([find(self.program), *argv], capture_output=True, text=True)
        number = re.search(r"\d+\.\d+(\.\d+)?", found.stdout + found.stderr)
        return number[0] if number else "?"

    def tunnel_port(self, echo):
        """Where a tunnel to the origin's HTTP port, or its echo port, begins."""
        return self.http_port

    def argv(self):
        raise NotImplementedError

    def start(self, prefix=(), patience=30):
        self.dir = self.lab.new_dir(self.name)
        self.http_port = free_port()
        self.output = open(self.dir / "output", "w")
        self.process = subprocess.Popen(
            [*prefix, *self.argv()],
            stdin=subprocess.DEVNULL,
            stdout=self.output,
            stderr=subprocess.STDOUT,
            cwd=self.dir,
            env={**os.environ, "PATH": PATH},
            preexec_fn=lambda: os.sched_setaffinity(0, self.cores),
        )
        self.wait_until_open(90 if prefix else patience)
        self.pin()

    def pin(self):
        """Back to its cores with each thread that has chosen others, as Traffic Server's do."""
        for pid in self.pids():
            with contextlib.suppress(OSError):
                for task in os.listdir(f"/proc/{pid}/task"):
                    os.sched_setaffinity(int(task), self.cores)

    def wait_until_open(self, patience):
        deadline = time.monotonic() + patience
        while True:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", self.http_port), 5).close()
                return
            if self.process.poll() is not None or time.monotonic() > deadline:
                text = (self.dir / "output").read_text(errors="replace")[-800:]
                self.stop()
                raise RuntimeError(f"{self.name} did not start: {text}")
            time.sleep(0.02)

    def stop(self):
        if self.process:
            pids = self.pids()
            self.process.send_signal(self.quit_signal)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                for pid in pids:
                    with contextlib.suppress(OSError):
                        os.kill(pid, 9)
                self.process.wait(10)
            self.process = None
            self.output.close()
            shutil.rmtree(self.dir, ignore_errors=True)

    def pids(self):
        return meter.family(self.process.pid)


class Direct(Peer):
    """No proxy: what load and origin do on their own core."""

    name = "direct"
    tunnel = 2
    pids_matter = False

    def available(self):
        return True

    def start(self, prefix=(), patience=0):
        self.http_port = self.lab.origin_port

    def tunnel_port(self, echo):
        return self.lab.echo_port if echo else self.lab.origin_port

    def stop(self):
        pass

    def pids(self):
        return []


class Floor(Peer):
    """relay.c, one process for each of the origin's ports."""

    name = "floor"
    tunnel = 1

    def available(self):
        return True

    def start(self, prefix=(), patience=0):
        self.relays = []
        self.ports = []
        for target in (self.lab.origin_port, self.lab.echo_port):
            relay = subprocess.Popen(
                [*prefix, self.lab.binary("relay"), str(target)],
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                preexec_fn=lambda: os.sched_setaffinity(0, self.cores),
            )
            self.relays.append(relay)
            self.ports.append([int(port) for port in relay.stdout.readline().split()])
        self.http_port = self.ports[0][0]

    def tunnel_port(self, echo):
        return self.ports[1 if echo else 0][1]

    def stop(self):
        for relay in self.relays:
            relay.terminate()
            relay.wait()
            relay.stdout.close()

    def pids(self):
        return [relay.pid for relay in self.relays]


class Viaduct(Peer):
    """As shipped; `options` are -o options, `table` the lines of [access]."""

    name = "viaduct"
    lists = True

    def __init__(self, lab, name="viaduct", binary=None, options=(), table=(), load=None, **kw):
        super().__init__(lab, **kw)
        self.table = table
        self.load = load or {}
        self.name = name
        self.program = str(binary or lab.viaduct)
        self.options = options

    def available(self):
        return os.access(self.program, os.X_OK)

    def version(self):
        return self.ask_version("--version")

    @staticmethod
    def rules(path):
        return [f"access.refused=deny hosts {path}", "access.local=allow from loopback to any"]

    def has_lists(self):
        """Builds before the rule language have none."""
        rules = self.rules(self.lab.names_list("{}", 1))
        words = [word for option in rules for word in ("-o", option)]
        return subprocess.run([self.program, "check", *words], capture_output=True).returncode == 0

    def argv(self):
        # Its own default is as many workers as it may run on CPUs: here one, or self.workers.
        options = [
            f"listen bench.address=127.0.0.1:{self.http_port}",
            f"log.destination={self.dir}/access.log",
            f"dns.servers=127.0.0.1:{self.lab.dns_port}",
            *self.options,
        ]
        if len(self.cores) < self.workers:
            options.append(f"server.workers={self.workers}")
        if self.refused:
            options += self.rules(self.refused)
        argv = [self.program, *(word for option in options for word in ("-o", option))]
        if self.table:
            argv += ["-c", str(rules.file(self.dir / "rules.ini", self.table))]
        return argv


class HAProxy(Peer):
    """Asks for a name anew with each request, unless the last one is still waiting for it.

    Host and port come from Host, not by url_ip and url_port: these have no value for a name, the
    port would stay that of this frontend, and HAProxy would call itself without end.
    """

    name = program = package = "haproxy"
    tunnel = 2

    def version(self):
        return self.ask_version("-v")

    def tunnel_port(self, echo):
        return self.relay_ports[1 if echo else 0]

    def argv(self):
        self.relay_ports = [free_port(), free_port()]
        config = self.dir / "haproxy.cfg"
        config.write_text(
            f"""
global
    nbthread {self.workers}
    maxconn 9400
    maxpipes 256
    tune.pipesize 1048576
    tune.pool-low-fd-ratio 100
    tune.pool-high-fd-ratio 100
    log stdout len 1024 format raw local0
defaults
    log global
    timeout connect 10s
    timeout client 600s
    timeout server 600s
    timeout http-keep-alive 600s
    option splice-request
    option splice-response
    maxconn 9400
resolvers bench
    nameserver bench 127.0.0.1:{self.lab.dns_port}
    hold valid 600s
frontend forward
    mode http
    option httplog
    bind 127.0.0.1:{self.http_port} backlog 65535
    http-request set-dst hdr_ip(host) if {{ hdr_ip(host) -m found }}
    http-request do-resolve(txn.address,bench,ipv4) hdr(host),host_only unless {{ hdr_ip(host) -m found }}
    http-request set-dst var(txn.address) if {{ var(txn.address) -m found }}
    http-request set-dst-port hdr(host),port_only
    default_backend origins
backend origins
    mode http
    http-reuse always
    server origin 0.0.0.0:0 pool-max-conn 12000 pool-low-conn 12000 pool-purge-delay 600s
listen relay_http
    mode tcp
    option tcplog
    bind 127.0.0.1:{self.relay_ports[0]} backlog 65535
    server origin 127.0.0.1:{self.lab.origin_port}
listen relay_echo
    mode tcp
    option tcplog
    bind 127.0.0.1:{self.relay_ports[1]} backlog 65535
    server origin 127.0.0.1:{self.lab.echo_port}
"""
        )
        return [find("haproxy"), "-db", "-f", str(config)]


class Nginx(Peer):
    """Its upstream connections cannot be kept where the target comes with the request."""

    name = program = package = "nginx"
    tunnel = None

    def version(self):
        return self.ask_version("-v")

    def argv(self):
        user = "user root;" if os.geteuid() == 0 else ""
        config = self.dir / "nginx.conf"
        config.write_text(
            f"""
{user}
daemon off;
worker_processes {self.workers};
worker_rlimit_nofile 20000;
pid {self.dir}/pid;
error_log {self.dir}/error.log;
events {{ worker_connections 19500; multi_accept on; }}
http {{
    access_log {self.dir}/access.log combined buffer=64k flush=1s;
    keepalive_timeout 600s;
    keepalive_requests 1000000000;
    resolver 127.0.0.1:{self.lab.dns_port} valid=600s ipv6=off;
    proxy_http_version 1.1;
    proxy_set_header Host $http_host;
    proxy_set_header Connection "";
    proxy_max_temp_file_size 0;
    proxy_buffers 8 64k;
    proxy_busy_buffers_size 128k;
    client_body_temp_path {self.dir}/t1;
    proxy_temp_path {self.dir}/t2;
    fastcgi_temp_path {self.dir}/t3;
    uwsgi_temp_path {self.dir}/t4;
    scgi_temp_path {self.dir}/t5;
    server {{
        listen 127.0.0.1:{self.http_port} backlog=65535;
        location / {{ proxy_pass http://$http_host$request_uri; }}
    }}
}}
"""
        )
        errors = f"{self.dir}/error.log"
        return [find("nginx"), "-p", str(self.dir), "-e", errors, "-c", str(config)]


class Squid(Peer):
    """Takes names from a hosts file: its name servers cannot stand at another port than 53."""

    name = program = package = "squid"
    lists = True
    list_line = ".{}"
    quit_signal = signal.SIGKILL  # it lets two seconds go by

    def version(self):
        return self.ask_version("-v")

    def argv(self):
        os.chmod(self.dir, 0o777)  # started as root, it goes on as the user proxy
        hosts = self.lab.hosts_file(self.dir / "hosts")
        refusal = ""
        if self.refused:
            refusal = f'acl refused dstdomain "{self.refused}"\nhttp_access deny refused'
        config = self.dir / "squid.conf"
        config.write_text(
            f"""
http_port 127.0.0.1:{self.http_port}
{refusal}
http_access allow all
cache deny all
cache_mem 8 MB
read_ahead_gap 64 KB
client_db off
access_log stdio:{self.dir}/access.log
buffered_logs on
cache_log {self.dir}/cache.log
pid_filename none
coredump_dir {self.dir}
hosts_file {hosts}
pinger_enable off
client_idle_pconn_timeout 10 minutes
server_idle_pconn_timeout 10 minutes
read_timeout 10 minutes
client_lifetime 1 day
max_filedescriptors 20000
shutdown_lifetime 0 seconds
visible_hostname bench
"""
        )
        return [find("squid"), "-N", "-f", str(config)]


class Tinyproxy(Peer):
    """A thread for each client; closes after each answer; asks the system for names.

    So it gets a mount namespace in which /etc/hosts has them, where one can be made.
    """

    name = program = "tinyproxy"
    package = "tinyproxy-bin"
    lists = True
    keeps = False
    wrk = False
    traced = False
    namespace = ("unshare", "--mount") + (() if os.geteuid() == 0 else ("--map-root-user",))

    @functools.cached_property
    def names(self):
        with contextlib.suppress(OSError):
            script = ["sh", "-c", "mount --bind /etc/hosts /etc/hosts"]
            return subprocess.run([*self.namespace, *script], capture_output=True).returncode == 0
        return False

    def version(self):
        return self.ask_version("-v")

    def argv(self):
        config = self.dir / "tinyproxy.conf"
        refusal = ""
        if self.refused:  # patterns; as regular expressions they would take gigabytes
            refusal = f'Filter "{self.refused}"\nFilterType fnmatch'
        config.write_text(
            f"""
Port {self.http_port}
Listen 127.0.0.1
Timeout 600
LogFile "{self.dir}/access.log"
LogLevel Connect
MaxClients 20000
Allow 127.0.0.0/8
{refusal}
"""
        )
        argv = [find("tinyproxy"), "-d", "-c", str(config)]
        if not self.names:
            return argv
        hosts = self.lab.hosts_file(self.dir / "hosts")
        script = 'mount --bind "$0" /etc/hosts && exec "$@"'
        return [*self.namespace, "sh", "-c", script, str(hosts), *argv]


class TrafficServer(Peer):
    name = "trafficserver"
    program = "traffic_server"
    package = "trafficserver"
    quit_signal = signal.SIGKILL  # it lets a second go by

    def version(self):
        return self.ask_version("-V")

    def argv(self):
        for name in ("etc", "run", "log", "cache"):
            (self.dir / name).mkdir()
        shutil.copytree("/etc/trafficserver", self.dir / "etc", dirs_exist_ok=True)
        (self.dir / "etc/ip_allow.yaml").write_text(
            "ip_allow:\n  - {apply: in, ip_addrs: 127.0.0.0/8, action: allow, methods: ALL}\n"
        )
        layout = self.dir / "runroot.yaml"
        places = {"sysconfdir": "etc", "runtimedir": "run", "logdir": "log", "cachedir": "cache"}
        lines = ["prefix: /usr", "exec_prefix: /usr", "bindir: /usr/bin", "sbindir: /usr/sbin"]
        lines += [f"{key}: {self.dir / place}" for key, place in places.items()]
        lines += [f"localstatedir: {self.dir}"]
        layout.write_text("\n".join(lines) + "\n")
        settings = {
            "exec_thread.autoconfig INT": 0,
            "exec_thread.limit INT": self.workers,
            "exec_thread.affinity INT": 0,
            "accept_threads INT": 0,
            "task_threads INT": 1,
            "http.server_ports STRING": f"{self.http_port}:ip-in=127.0.0.1",
            "http.connect_ports STRING": "*",
            "http.cache.http INT": 0,
            "http.keep_alive_no_activity_timeout_in INT": 600,
            "http.keep_alive_no_activity_timeout_out INT": 600,
            "http.transaction_no_activity_timeout_in INT": 600,
            "http.transaction_no_activity_timeout_out INT": 600,
            "http.default_buffer_water_mark INT": 262144,
            "net.connections_throttle INT": 19500,
            "net.max_connections_in INT": 19500,
            "dns.nameservers STRING": f"127.0.0.1:{self.lab.dns_port}",
            "dns.resolv_conf STRING": "NULL",
            "log.logging_enabled INT": 3,
            "url_remap.remap_required INT": 0,
            "reverse_proxy.enabled INT": 0,
            "diags.output.diag STRING": "L",
            "admin.user_id STRING": "#-1",
        }
        (self.dir / "etc/records.config").write_text(
            "".join(f"CONFIG proxy.config.{key} {value}\n" for key, value in settings.items())
        )
        return [find("traffic_server"), f"--run-root={layout}"]


REAL = (HAProxy, Nginx, Squid, Tinyproxy, TrafficServer)
