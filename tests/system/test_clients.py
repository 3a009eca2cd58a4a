# SPDX-License-Identifier: MIT
"""Real programs through the proxy: curl, wget, git, apt, Python, Node; against nginx, plain and
with TLS."""

import gc
import hashlib
import json
import os
from pathlib import Path

import pytest
import requests

import programs
from programs import run
from wire import wait_until

SMALL, LARGE = 1000, 20_000_000


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    return programs.Certificate(tmp_path_factory.mktemp("certificate"))


@pytest.fixture(scope="module")
def nginx(tmp_path_factory, certificate):
    directory = tmp_path_factory.mktemp("nginx")
    server = programs.Nginx(directory, certificate)
    server.small = server.file("small", SMALL)
    server.large = server.file("large", LARGE)
    (server.root / "upload").mkdir()
    yield server
    server.close()


@pytest.fixture
def proxy(lab):
    """nginx keeps its connections: they are given up soon, so that descriptors can be counted."""
    return lab.viaduct("pool.idle=300ms")


@pytest.fixture
def curl(proxy, program, certificate):
    """curl(...) through the proxy; .proxy is the daemon."""
    path = program("curl")

    def call(*arguments, **how):
        return run(
            [
                path,
                "-q",
                "-sS",
                "--fail",
                "--noproxy",
                "",
                "-x",
                call.proxy.url,
                "--cacert",
                certificate.path,
                *arguments,
            ],
            **how,
        )

    call.proxy = proxy
    return call


# --- curl ---------------------------------------------------------------------


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_curl(curl, nginx, host):
    assert curl(nginx.url("/small", host)).stdout == nginx.small
    line = curl.proxy.wait_request(nginx.url("/small", host))
    assert (line["status"], line["end"]) == ("200", "complete")


def test_curl_large(curl, nginx):
    assert curl(nginx.url("/large")).stdout == nginx.large


def test_curl_many_on_one_connection(curl, nginx, tmp_path):
    urls = [
        word
        for number in range(30)
        for word in (nginx.url(f"/small?{number}"), "-o", tmp_path / str(number))
    ]
    curl(*urls)
    assert all((tmp_path / str(number)).read_bytes() == nginx.small for number in range(30))
    reused = [
        curl.proxy.wait_request(nginx.url(f"/small?{number}"))["reused"] for number in range(30)
    ]
    assert reused.count("yes") >= 20


def test_curl_http_1_0(curl, nginx):
    assert curl("--http1.0", nginx.url("/small")).stdout == nginx.small
    assert curl.proxy.wait_request(nginx.url("/small"))["version"] == "HTTP/1.0"


@pytest.mark.parametrize("option", [[], ["--proxytunnel"]], ids=["proxy", "proxytunnel"])
def test_curl_head_and_redirect(curl, nginx, option):
    assert f"Content-Length: {LARGE}" in curl(*option, "-I", nginx.url("/large")).stdout.decode()
    assert curl(*option, "-L", nginx.url("/redirect")).stdout == nginx.small


def test_curl_proxytunnel(curl, nginx):
    assert curl("--proxytunnel", nginx.url("/large")).stdout == nginx.large
    assert curl.proxy.wait_request(f"127.0.0.1:{nginx.port}")["method"] == "CONNECT"


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_curl_https(curl, nginx, host):
    assert curl(nginx.tls_url("/large", host)).stdout == nginx.large
    line = curl.proxy.wait_request(f"{host}:{nginx.tls_port}")
    assert (line["method"], line["status"]) == ("CONNECT", "200")


@pytest.mark.parametrize(
    "how",
    [
        [],
        ["-H", "Transfer-Encoding: chunked"],
        ["-H", "Expect: 100-continue"],
        ["-H", "Expect:"],
        ["--http1.0"],
    ],
    ids=["plain", "chunked", "expect", "no-expect", "http1.0"],
)
def test_curl_upload(curl, lab, tmp_path, how):
    """By a raw origin that strictly reads what arrives."""
    content = os.urandom(5_000_000)
    file = tmp_path / "file"
    file.write_bytes(content)

    def script(peer):
        request = peer.read_head()
        if request.has("Expect"):
            peer.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        peer.read_body(request, "chunked" if request.has("Transfer-Encoding") else "length")
        peer.send(
            b"HTTP/1.1 201 Created\r\nContent-Length: 64\r\n\r\n"
            + hashlib.sha256(request.body).hexdigest().encode()
        )

    origin = lab.origin(script)
    assert (
        curl(*how, "-T", file, origin.url("/file")).stdout.decode()
        == hashlib.sha256(content).hexdigest()
    )


def test_curl_upload_to_nginx(curl, nginx, tmp_path):
    content = os.urandom(3_000_000)
    (tmp_path / "file").write_bytes(content)
    if not nginx._has_dav(programs.shutil.which("nginx", path=programs.PATH)):
        pytest.skip("this nginx has no dav module")
    curl("-T", tmp_path / "file", nginx.url("/upload/file"))
    assert (nginx.root / "upload" / "file").read_bytes() == content


def test_curl_form(curl, lab):
    origin = lab.origin(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    assert curl("-d", "a=1&b=2", origin.url()).stdout == b"ok"
    assert origin.requests[0].body == b"a=1&b=2"


def test_curl_resume(curl, nginx, tmp_path):
    file = tmp_path / "large"
    file.write_bytes(nginx.large[:7_000_000])
    curl("-C", "-", "-o", file, nginx.url("/large"))
    assert file.read_bytes() == nginx.large
    assert curl.proxy.wait_request(nginx.url("/large"))["status"] == "206"


def test_curl_range(curl, nginx):
    assert curl("-r", "100-199", nginx.url("/large")).stdout == nginx.large[100:200]


def test_curl_parallel(curl, nginx, tmp_path):
    words = [
        word
        for number in range(40)
        for word in (
            (nginx.url if number % 2 else nginx.tls_url)(
                f"/large?{number}" if number < 4 else f"/small?{number}"
            ),
            "-o",
            tmp_path / str(number),
        )
    ]
    curl("--parallel", "--parallel-max", "20", *words)
    for number in range(40):
        assert (tmp_path / str(number)).read_bytes() == (nginx.large if number < 4 else nginx.small)


def test_curl_shows_why_a_request_failed(curl, lab, program):
    origin = lab.origin()
    port = origin.port
    origin.close()
    result = programs.subprocess.run(
        [
            program("curl"),
            "-q",
            "-sS",
            "--noproxy",
            "",
            "-x",
            curl.proxy.url,
            "-w",
            "\n%{http_code}",
            f"http://127.0.0.1:{port}/",
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    body, _, status = result.stdout.rpartition("\n")
    assert status == "502" and "refused" in body.lower()


# --- wget ---------------------------------------------------------------------


def wget(program, proxy, *arguments, **how):
    return run(
        [program("wget"), "--no-config", "-q", *arguments],
        env={"http_proxy": proxy.url, "https_proxy": proxy.url, "no_proxy": ""},
        **how,
    )


def test_wget(lab, proxy, program, nginx, certificate, tmp_path):
    assert wget(program, proxy, "-O", "-", nginx.url("/large")).stdout == nginx.large
    assert (
        wget(
            program,
            proxy,
            f"--ca-certificate={certificate.path}",
            "-O",
            "-",
            nginx.tls_url("/large"),
        ).stdout
        == nginx.large
    )
    assert proxy.wait_request(nginx.url("/large"))["end"] == "complete"
    file = tmp_path / "large"
    file.write_bytes(nginx.large[:1000])
    wget(program, proxy, "-c", "-O", file, nginx.url("/large"), cwd=tmp_path)
    assert file.read_bytes() == nginx.large


# --- git ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    """A bare repository with a few hundred kilobytes in it; its parent directory is served."""
    root = tmp_path_factory.mktemp("git")
    work = root / "work"
    work.mkdir()
    git = [
        "git",
        "-c",
        "user.name=t",
        "-c",
        "user.email=t@example.com",
        "-c",
        "init.defaultBranch=main",
        "-C",
        work,
    ]
    run([*git, "init", "-q"])
    for number in range(20):
        (work / f"file{number}").write_bytes(os.urandom(20_000))
        run([*git, "add", "."])
        run([*git, "commit", "-q", "-m", f"commit {number}"])
    run(["git", "clone", "-q", "--bare", work, root / "repo.git"])
    run(["git", "-C", root / "repo.git", "config", "http.receivepack", "true"])
    return root


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_git_clone_fetch_and_push(lab, proxy, program, repository, certificate, tmp_path, scheme):
    program("git")
    server = programs.GitServer(repository, certificate if scheme == "https" else None)
    lab.at_end(server.close)
    env = {
        "http_proxy": proxy.url,
        "https_proxy": proxy.url,
        "no_proxy": "",
        "GIT_SSL_CAINFO": str(certificate.path),
        "HOME": str(tmp_path),
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_TERMINAL_PROMPT": "0",
    }
    clone = tmp_path / "clone"
    run(["git", "clone", "-q", f"{scheme}://localhost:{server.port}/repo.git", clone], env=env)
    assert (clone / "file19").read_bytes() == (repository / "work" / "file19").read_bytes()
    (clone / "pushed").write_bytes(
        os.urandom(2_000_000)
    )  # more than http.postBuffer: git sends chunked
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@example.com", "-C", clone]
    run([*git, "add", "."], env=env)
    run([*git, "commit", "-q", "-m", "pushed"], env=env)
    run([*git, "push", "-q", "origin", f"HEAD:refs/heads/{scheme}"], env=env)
    run([*git, "fetch", "-q", "origin"], env=env)
    ours = run([*git, "rev-parse", "HEAD"]).stdout
    assert run(["git", "-C", repository / "repo.git", "rev-parse", scheme]).stdout == ours
    if scheme == "https":
        assert proxy.wait_request(f"localhost:{server.port}")["method"] == "CONNECT"
    else:
        assert (
            proxy.wait_request(f"http://localhost:{server.port}/repo.git/git-receive-pack")[
                "status"
            ]
            == "200"
        )


# --- apt ----------------------------------------------------------------------


def build_package(program, directory, name, size):
    tree = directory / name
    (tree / "DEBIAN").mkdir(parents=True)
    (tree / "DEBIAN" / "control").write_text(
        f"Package: {name}\nVersion: 1.0\nArchitecture: all\nMaintainer: Test <t@example.com>\nDescription: a test\n"
    )
    (tree / "content").write_bytes(os.urandom(size))
    tree.chmod(0o755)
    run(
        [
            program("dpkg-deb"),
            "--root-owner-group",
            "--build",
            tree,
            directory / f"{name}_1.0_all.deb",
        ]
    )


def test_apt_get_update_and_download(lab, proxy, program, nginx, tmp_path):
    """Against a repository made here, with directories of the test instead of the system's."""
    packages = nginx.root / "debian"
    packages.mkdir()
    for number in range(4):
        build_package(program, tmp_path, f"viaduct-test-{number}", 300_000)
        (tmp_path / f"viaduct-test-{number}_1.0_all.deb").rename(
            packages / f"viaduct-test-{number}_1.0_all.deb"
        )
    ftparchive = program("apt-ftparchive", "apt-utils")
    (packages / "Packages").write_bytes(run([ftparchive, "packages", "."], cwd=packages).stdout)
    (packages / "Release").write_bytes(run([ftparchive, "release", "."], cwd=packages).stdout)

    system = tmp_path / "apt"
    for part in (
        "etc/apt.conf.d",
        "etc/sources.list.d",
        "etc/preferences.d",
        "etc/trusted.gpg.d",
        "state/lists/partial",
        "cache/archives/partial",
        "log",
    ):
        (system / part).mkdir(parents=True)
    (system / "status").touch()
    (system / "etc" / "sources.list").write_text(f"deb [trusted=yes] {nginx.url('/debian')} ./\n")
    config = system / "apt.conf"
    config.write_text(
        f"""
        Dir::Etc "{system}/etc"; Dir::State "{system}/state"; Dir::State::status "{system}/status";
        Dir::Cache "{system}/cache"; Dir::Log "{system}/log"; APT::Sandbox::User ""; Debug::NoLocking "true";
        Acquire::http::Proxy "{proxy.url}"; Acquire::Languages "none"; APT::Architecture "amd64";
    """
    )
    env = {"APT_CONFIG": str(config), "LC_ALL": "C"}
    run([program("apt-get"), "update"], env=env)
    names = [f"viaduct-test-{number}" for number in range(4)]
    into = tmp_path / "into"
    into.mkdir()
    run([program("apt-get"), "download", *names], env=env, cwd=into)
    for name in names:
        file = f"{name}_1.0_all.deb"
        assert (into / file).read_bytes() == (packages / file).read_bytes()
        assert (
            proxy.wait_for_log(lambda line, file=file: line.get("target", "").endswith(file))[
                "status"
            ]
            == "200"
        )


# --- Python and Node ----------------------------------------------------------


def test_python_requests(lab, proxy, nginx, certificate):
    with requests.Session() as session:
        session.trust_env = False
        session.proxies = {"http": proxy.url, "https": proxy.url}
        session.verify = str(certificate.path)
        for _ in range(3):
            assert session.get(nginx.url("/small")).content == nginx.small
            assert session.get(nginx.tls_url("/small")).content == nginx.small
        assert session.get(nginx.url("/missing")).status_code == 404
        assert (
            session.post(nginx.url("/small"), data=(b"x" * 1000 for _ in range(10))).status_code
            == 405
        )
        with session.get(nginx.url("/large"), stream=True) as response:
            assert (
                hashlib.sha256(response.raw.read()).digest() == hashlib.sha256(nginx.large).digest()
            )
        with pytest.raises(requests.exceptions.ProxyError) as refusal:
            session.get("https://127.0.0.1:1/")
    # urllib3 leaves the refused connection open for as long as its exception lives.
    del refusal
    gc.collect()


UNDICI = """
const { ProxyAgent, request } = require('undici');
const { createHash } = require('crypto');
const { readFileSync } = require('fs');
const [proxy, ca, ...urls] = process.argv.slice(2);
(async () => {
    const dispatcher = new ProxyAgent({ uri: proxy, requestTls: { ca: readFileSync(ca) } });
    const answers = await Promise.all(urls.map(async (url) => {
        const { statusCode, body } = await request(url, { dispatcher });
        return [statusCode, createHash('sha256').update(Buffer.from(await body.arrayBuffer())).digest('hex')];
    }));
    console.log(JSON.stringify(answers));
    await dispatcher.close();
})();
"""


def undici_path():
    for place in (
        os.environ.get("NODE_PATH"),
        programs.Path(__file__).parent / "node" / "node_modules",
    ):
        if place and (Path(place) / "undici").is_dir():
            return str(place)
    return None


def test_node_undici_proxy_agent(lab, proxy, program, nginx, certificate, tmp_path):
    """undici's ProxyAgent makes a tunnel for http too."""
    node = program("node", "nodejs")
    path = undici_path()
    if path is None:
        pytest.skip("undici is not installed: ./dev test fetches it from npm when it can")
    script = tmp_path / "undici.cjs"
    script.write_text(UNDICI)
    urls = [nginx.url("/small"), nginx.tls_url("/large"), nginx.tls_url("/small")] + [
        nginx.url(f"/small?{n}") for n in range(10)
    ]
    result = run([node, script, proxy.url, certificate.path, *urls], env={"NODE_PATH": path})
    expected = [nginx.large if "/large" in url else nginx.small for url in urls]
    assert json.loads(result.stdout) == [
        [200, hashlib.sha256(content).hexdigest()] for content in expected
    ]
    assert proxy.wait_request(f"localhost:{nginx.tls_port}")["method"] == "CONNECT"


def test_clients_that_are_killed_leave_nothing_behind(lab, proxy, program, nginx):
    """The lab counts descriptors at the end."""
    started = [
        programs.subprocess.Popen(
            [
                program("curl"),
                "-q",
                "-s",
                "--noproxy",
                "",
                "-x",
                proxy.url,
                "--limit-rate",
                "10K",
                "-o",
                "/dev/null",
                nginx.url(f"/large?{number}"),
            ]
        )
        for number in range(10)
    ]
    wait_until(lambda: proxy.socket_count() >= 20, "the downloads to run")
    for process in started:
        process.kill()
        process.wait()
    for number in range(10):
        assert proxy.wait_request(nginx.url(f"/large?{number}"))["end"] == "client-closed"
