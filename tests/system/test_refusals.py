# SPDX-License-Identifier: MIT
"""What the person in front of each client reads of a refusal: word for word what curl, wget, git,
apt, Python, Node and npm print. It has the rule wherever the client shows more than the status. A
browser is in test_browser.py."""

import subprocess

import pytest

import programs
from test_auth import QUICK
from test_clients import undici_path
from wire import DEADLINE, wait_until

# The site that is refused; the status, the reason phrase.
CASES = {
    "rule": ("refused.test", 403, "Denied by rule no-games"),
    "guard": ("site.test", 403, "Denied by rule builtin:private-address"),
    "credentials": ("staff.test", 407, "Proxy Authentication Required by rule staff"),
    "limit": (
        "refused.test",
        429,
        "Too Many Requests by rule limit:max_connections_per_client",
    ),
}

URLLIB = "import sys, urllib.request; urllib.request.urlopen(sys.argv[1])"

REQUESTS = "import sys, requests; requests.get(sys.argv[1]).raise_for_status()"

UNDICI = """
const { ProxyAgent, request } = require('undici');
request(process.argv[1], { dispatcher: new ProxyAgent(process.env.http_proxy) })
    .catch((error) => console.log(String(error)));
"""

# Node's own http module knows no proxies: this is how programs without a library use one.
NODE_HTTP = """
const proxy = new URL(process.env.http_proxy), target = new URL(process.argv[1]);
const tunnel = target.protocol === 'https:';
const options = { host: proxy.hostname, port: proxy.port, agent: false,
    method: tunnel ? 'CONNECT' : 'GET', path: tunnel ? target.host + ':443' : target.href };
const show = (answer) => console.log(answer.statusCode, answer.statusMessage);
require('http').request(options).on('connect', show).on('response', show).end();
"""

PYTHON = "/usr/bin/python3"

# Each client: its command, where {url} is what it is asked for and {home} a directory of its own;
# then what it prints of a plain refusal and of a refused tunnel.
CLIENTS = {
    "curl": (
        ["curl", "-q", "-sS", "{url}"],
        "{status} {phrase}\n\n",
        "curl: (56) CONNECT tunnel failed, response {status}",
    ),
    "curl-i": (
        ["curl", "-q", "-i", "{url}"],
        "HTTP/1.1 {status} {phrase}\n",
        "HTTP/1.1 {status} {phrase}\n",
    ),
    "curl-fail": (
        ["curl", "-q", "-sS", "--fail", "{url}"],
        "curl: (22) The requested URL returned error: {status}",
        "{status}",
    ),
    "wget": (
        ["wget", "--no-config", "-t1", "-O", "-", "{url}"],
        "ERROR {status}: {phrase}.",
        "Proxy tunneling failed: {phrase}",
    ),
    "git": (
        ["git", "clone", "{url}", "{home}/clone"],
        "remote: {status} {phrase}\n",
        "CONNECT tunnel failed, response {status}",
    ),
    "git-trace": (
        ["env", "GIT_TRACE_CURL=1", "git", "clone", "{url}", "{home}/clone"],
        "HTTP/1.1 {status} {phrase}\n",
        "HTTP/1.1 {status} {phrase}\n",
    ),
    "urllib": (
        [PYTHON, "-c", URLLIB, "{url}"],
        "HTTP Error {status}: {phrase}\n",
        "Tunnel connection failed: {status} {phrase}\n",
    ),
    "requests": (
        [PYTHON, "-c", REQUESTS, "{url}"],
        "{status} Client Error: {phrase} for url",
        "Tunnel connection failed: {status} {phrase}",
    ),
    "undici": (
        ["node", "-e", UNDICI, "{url}"],
        "Proxy response ({status}) !== 200 when HTTP Tunneling",
        "Proxy response ({status}) !== 200 when HTTP Tunneling",
    ),
    "node": (["node", "-e", NODE_HTTP, "{url}"], "{status} {phrase}\n", "{status} {phrase}\n"),
    "npm": (
        ["npm", "view", "--registry={url}", "--fetch-retries=0", "--cache={home}/npm", "left-pad"],
        "{status} {phrase} - GET",
        "{status} {phrase} - GET",
    ),
    "apt": (
        ["env", "APT_CONFIG={home}/apt.conf", "apt-get", "update"],
        "{status}  {phrase} [IP:",
        "Invalid response from proxy: HTTP/1.1 {status} {phrase}  ",
    ),
}


def write_apt_settings(home, proxy_url, url):
    """Directories of the test's own, and one source."""
    for part in ("etc", "lists/partial", "cache/archives/partial"):
        (home / part).mkdir(parents=True)
    (home / "etc" / "sources.list").write_text(f"deb [trusted=yes] {url} ./\n")
    (home / "apt.conf").write_text(
        f"""
        Dir::Etc "{home}/etc"; Dir::State "{home}"; Dir::State::status "{home}/status";
        Dir::Cache "{home}/cache"; APT::Sandbox::User ""; Debug::NoLocking "true";
        Acquire::http::Proxy "{proxy_url}"; Acquire::https::Proxy "{proxy_url}";
        Acquire::Languages "none"; Acquire::Retries "0";
        """
    )
    (home / "status").touch()


def output_of(command, proxy_url, url, home):
    """All that it prints, with the line ends of Unix."""
    environment = {
        "PATH": programs.PATH,
        "HOME": str(home),
        "LC_ALL": "C.UTF-8",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "http_proxy": proxy_url,
        "https_proxy": proxy_url,
        "no_proxy": "",
        "NODE_PATH": undici_path() or "",
    }
    result = subprocess.run(
        [word.replace("{url}", url).replace("{home}", str(home)) for word in command],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=2 * DEADLINE,
        check=False,
    )
    return result.stdout.decode().replace("\r\n", "\n")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Names and users, the same for all daemons here."""
    directory = tmp_path_factory.mktemp("refusals")
    (directory / "hosts").write_text("127.0.0.1 refused.test site.test staff.test\n")
    (directory / "users").write_text(f"alice:{QUICK}\n")
    return directory


def hold_a_connection(lab, proxy):
    """Returns once ours is the one connection that a client may have."""

    def holds():
        client = lab.client(proxy)
        if client.get("ftp://hold/").status == 501:
            return True
        client.close()
        return False

    wait_until(holds, "a connection of our own")


def start(lab, files, case):
    options = [f"dns.hosts={files}/hosts", f"auth.users={files}/users"]
    if case == "limit":
        options.append("server.max_connections_per_client=1")
    proxy = lab.viaduct(
        *options,
        "access.no-games=deny host refused.test",
        "access.staff=allow from loopback user * to loopback host staff.test",
        "access.site=allow from loopback host site.test",
    )
    if case == "limit":
        hold_a_connection(lab, proxy)
    return proxy


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("case", CASES)
def test_what_the_client_prints(lab, files, program, tmp_path, case, client, scheme):
    command, plain, tunnel = CLIENTS[client]
    host, status, phrase = CASES[case]
    program(next(word for word in command if word != "env" and "=" not in word))
    if client == "undici" and undici_path() is None:
        pytest.skip("undici is not installed: ./dev test fetches it from npm when it can")
    proxy = start(lab, files, case)
    url = f"{scheme}://{host}/x"
    write_apt_settings(tmp_path, proxy.url, url)
    expected = (plain if scheme == "http" else tunnel).format(status=status, phrase=phrase)
    assert expected in output_of(command, proxy.url, url, tmp_path)
