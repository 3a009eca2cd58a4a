# SPDX-License-Identifier: MIT
"""Real servers for real clients: nginx, plain and with TLS, git over HTTP, WebSocket."""

import asyncio
import http.server
import os
import shutil
import ssl
import subprocess
import threading
from pathlib import Path

import websockets

from wire import DEADLINE, connect, free_port, wait_until

PATH = "/usr/bin:/bin:/usr/sbin:/sbin:/usr/local/bin"


def run(command, **how):
    """A program that must succeed, without any proxy settings of ours but those given in env."""
    env = {key: value for key, value in os.environ.items() if "proxy" not in key.lower()}
    env.update(how.pop("env", {}))
    result = subprocess.run(
        command, capture_output=True, timeout=6 * DEADLINE, check=False, env=env, **how
    )
    assert result.returncode == 0, (
        f"{' '.join(map(str, command))}: status {result.returncode}\n{result.stdout[-2000:]!r}\n"
        f"{result.stderr.decode(errors='replace')[-4000:]}"
    )
    return result


class Certificate:
    """A self-signed one for localhost and 127.0.0.1."""

    def __init__(self, directory):
        self.path, self.key = directory / "cert.pem", directory / "key.pem"
        run(
            [
                "openssl",
                "req",
                "-x509",
                "-newkey",
                "rsa:2048",
                "-nodes",
                "-days",
                "2",
                "-subj",
                "/CN=localhost",
                "-addext",
                "subjectAltName=DNS:localhost,IP:127.0.0.1",
                "-keyout",
                self.key,
                "-out",
                self.path,
            ]
        )

    def server_context(self):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.path, self.key)
        return context


class Nginx:
    """nginx as a child of the test, its files in a directory of the test. Serves .root, by HTTP
    on .port and by TLS on .tls_port; /upload/ takes PUT."""

    def __init__(self, directory, certificate):
        self.root = directory / "root"
        self.root.mkdir()
        self.port, self.tls_port = free_port(), free_port()
        program = shutil.which("nginx", path=PATH)
        assert program, "nginx is missing; ./dev test installs the package nginx"
        dav = "dav_methods PUT;" if self._has_dav(program) else ""
        config = directory / "nginx.conf"
        config.write_text(
            f"""
            daemon off; master_process off; worker_processes 1;
            pid {directory}/nginx.pid; error_log stderr;
            events {{ worker_connections 512; }}
            http {{
                access_log {directory}/access.log combined;
                client_body_temp_path {directory}/body; proxy_temp_path {directory}/proxy;
                fastcgi_temp_path {directory}/fastcgi; uwsgi_temp_path {directory}/uwsgi;
                scgi_temp_path {directory}/scgi; client_max_body_size 0;
                types {{ text/html html; text/css css; text/javascript js; image/svg+xml svg; }}
                default_type application/octet-stream;
                server {{
                    listen 127.0.0.1:{self.port};
                    listen 127.0.0.1:{self.tls_port} ssl;
                    ssl_certificate {certificate.path}; ssl_certificate_key {certificate.key};
                    root {self.root};
                    location /upload/ {{ {dav} }}
                    location /redirect {{ return 302 /small; }}
                }}
            }}"""
        )
        self.log = directory / "access.log"
        self.stderr = open(directory / "nginx.stderr", "wb")
        self.process = subprocess.Popen(
            [program, "-p", directory, "-c", config], stdout=subprocess.DEVNULL, stderr=self.stderr
        )
        wait_until(self._answers, f"nginx; see {directory}/nginx.stderr")

    @staticmethod
    def _has_dav(program):
        return (
            "dav_module"
            in subprocess.run([program, "-V"], capture_output=True, text=True, check=True).stderr
        )

    def _answers(self):
        assert self.process.poll() is None, Path(self.stderr.name).read_text()
        try:
            connect(("127.0.0.1", self.port)).close()
            connect(("127.0.0.1", self.tls_port)).close()
            return True
        except OSError:
            return False

    def file(self, name, size):
        """Makes a file and returns its content."""
        content = os.urandom(size)
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return content

    def url(self, path, host="127.0.0.1"):
        return f"http://{host}:{self.port}{path}"

    def tls_url(self, path, host="localhost"):
        return f"https://{host}:{self.tls_port}{path}"

    def close(self):
        self.process.terminate()
        self.process.wait(DEADLINE)
        self.stderr.close()


class GitServer:
    """git http-backend behind Python's HTTP server, plain or with TLS."""

    def __init__(self, root, certificate=None):
        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                self.backend(b"")

            def do_POST(self):
                self.backend(self.body())

            def body(self):
                if self.headers.get("Transfer-Encoding") == "chunked":
                    data = b""
                    while (size := int(self.rfile.readline(), 16)) > 0:
                        data += self.rfile.read(size)
                        self.rfile.readline()
                    self.rfile.readline()
                    return data
                return self.rfile.read(int(self.headers.get("Content-Length", 0)))

            def backend(self, body):
                path, _, query = self.path.partition("?")
                env = {
                    "PATH": PATH,
                    "GIT_PROJECT_ROOT": str(root),
                    "GIT_HTTP_EXPORT_ALL": "1",
                    "REMOTE_USER": "test",
                    "REMOTE_ADDR": "127.0.0.1",
                    "REQUEST_METHOD": self.command,
                    "PATH_INFO": path,
                    "QUERY_STRING": query,
                    "CONTENT_TYPE": self.headers.get("Content-Type", ""),
                    "CONTENT_LENGTH": str(len(body)),
                    "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
                    "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
                    "HOME": str(root),
                    "GIT_CONFIG_COUNT": "1",
                    "GIT_CONFIG_KEY_0": "safe.directory",
                    "GIT_CONFIG_VALUE_0": "*",
                }
                output = subprocess.run(
                    ["git", "http-backend"], input=body, env=env, capture_output=True, check=False
                ).stdout
                head, _, answer = output.partition(b"\r\n\r\n")
                fields = [line.partition(": ") for line in head.decode().split("\r\n")]
                status = next(
                    (int(value.split()[0]) for name, _, value in fields if name == "Status"), 200
                )
                self.send_response(status)
                for name, _, value in fields:
                    if name and name != "Status":
                        self.send_header(name, value)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        if certificate:
            self.server.socket = certificate.server_context().wrap_socket(
                self.server.socket, server_side=True
            )
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


class WebSocketServer:
    """python3-websockets, in a thread with a loop of its own; sends back what it gets."""

    def __init__(self, certificate=None):
        self.context = certificate and certificate.server_context()
        self.loop = asyncio.new_event_loop()
        self.ready = threading.Event()
        self.port = None
        self.thread = threading.Thread(
            target=self.loop.run_until_complete, args=(self._serve(),), daemon=True
        )
        self.thread.start()
        assert self.ready.wait(DEADLINE)

    async def _serve(self):
        self.done = asyncio.Event()

        async def echo(socket, *_):
            async for message in socket:
                await socket.send(message)

        async with websockets.serve(
            echo, "127.0.0.1", 0, max_size=None, ssl=self.context
        ) as server:
            self.port = server.sockets[0].getsockname()[1]
            self.ready.set()
            await self.done.wait()

    def close(self):
        self.loop.call_soon_threadsafe(self.done.set)
        self.thread.join(DEADLINE)
