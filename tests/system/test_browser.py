# SPDX-License-Identifier: MIT
"""A browser behind the proxy: pages, tunnels, WebSocket, streams, files, credentials; and what the
person in front of it reads when a request is refused or fails."""

import hashlib
import os
import threading

import pytest

import programs
import wire
from browser import Browser
from dns_server import DnsServer
from test_auth import QUICK
from wire import response_bytes, wait_until

pytestmark = pytest.mark.browser

PARTS = 20  # images, scripts and style sheets of the page, of each so many
LARGE = 50_000_000

SCRIPT = b"window.scripts = (window.scripts || 0) + 1;"
IMAGE = b'<svg xmlns="http://www.w3.org/2000/svg" width="2" height="2"/>'

# How many of each the page has got. A style sheet that did not come leaves its property unset.
LOADED = """
({
    images: [...document.images].filter((image) => image.naturalWidth === 2).length,
    scripts: window.scripts,
    styles: [...Array(%d).keys()].filter((number) =>
        getComputedStyle(document.body).getPropertyValue(`--style${number}`) === 'yes').length,
})
""" % PARTS


def write_page(root):
    """index.html and all that belongs to it."""
    parts = []
    for number in range(PARTS):
        (root / f"image{number}.svg").write_bytes(IMAGE)
        (root / f"script{number}.js").write_bytes(SCRIPT)
        (root / f"style{number}.css").write_text(f"body {{ --style{number}: yes }}")
        parts.append(
            f'<link rel="stylesheet" href="style{number}.css">'
            f'<img src="image{number}.svg"><script src="script{number}.js"></script>'
        )
    (root / "index.html").write_text(f"<!doctype html><body>page {''.join(parts)}")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """nginx with the page and a large file; .certificate is its own."""
    certificate = programs.Certificate(tmp_path_factory.mktemp("certificate"))
    server = programs.Nginx(tmp_path_factory.mktemp("nginx"), certificate)
    server.certificate = certificate
    write_page(server.root)
    server.large = server.file("large.bin", LARGE)
    yield server
    server.close()


@pytest.fixture
def start(lab):
    """start(option...): a daemon that serves *.site.test, which is this machine, and has a rule
    against refused.test."""
    dns = DnsServer()
    lab.at_end(dns.close)
    for name in ("www.site.test", "refused.test"):
        dns.add(name, a=["127.0.0.1"], aaaa=[])

    def make(*options, allow="allow from loopback to loopback host .test"):
        return lab.fresh(
            f"dns.servers={dns.address}",
            "pool.idle=300ms",
            "access.no-games=deny host refused.test",
            f"access.site={allow}",
            *options,
        )

    return make


@pytest.fixture
def browse(lab, program):
    """browse(proxy): a browser behind it."""

    def make(proxy):
        browser = Browser(program("chromium"), proxy.url)
        lab.at_end(browser.close)
        return browser

    return make


def origin_url(origin, path="/", host="www.site.test"):
    return f"http://{host}:{origin.port}{path}"


# --- Pages ----------------------------------------------------------------------------------------


def test_page_with_sixty_parts(start, browse, site):
    proxy = start()
    browser = browse(proxy)
    url = site.url("/index.html", "www.site.test")
    assert browser.open(url) is None
    assert browser.evaluate(LOADED) == {"images": PARTS, "scripts": PARTS, "styles": PARTS}
    for number in range(PARTS):
        for part in (f"image{number}.svg", f"script{number}.js", f"style{number}.css"):
            line = proxy.wait_request(url.replace("index.html", part))
            assert (line["status"], line["end"]) == ("200", "complete")
    assert proxy.wait_request(url)["rule"] == "site"


def test_page_with_sixty_parts_over_tls(start, browse, site):
    proxy = start()
    browser = browse(proxy)
    assert browser.open(site.tls_url("/index.html", "www.site.test")) is None
    assert browser.evaluate(LOADED) == {"images": PARTS, "scripts": PARTS, "styles": PARTS}
    browser.close()
    authority = f"www.site.test:{site.tls_port}"
    tunnels = wait_until(
        lambda: proxy.find_lines(event="request", target=authority), "a tunnel's line"
    )
    assert all((line["method"], line["status"]) == ("CONNECT", "200") for line in tunnels)
    assert all(line["rule"] == "site" for line in tunnels)


# --- What goes on for long ------------------------------------------------------------------------

CONVERSE = """
new Promise((resolve) => {
    const texts = ['hello', 'x'.repeat(100000), 'y'.repeat(1000000)], got = [];
    const socket = new WebSocket('%s');
    const next = () => got.length < texts.length ? socket.send(texts[got.length]) : socket.close();
    socket.onopen = next;
    socket.onmessage = (event) => { got.push(event.data); next(); };
    socket.onclose = (event) =>
        resolve({ same: texts.every((text, i) => text === got[i]), clean: event.wasClean });
})
"""


@pytest.mark.parametrize("scheme", ["ws", "wss"])
def test_websocket(lab, start, browse, site, scheme):
    server = programs.WebSocketServer(site.certificate if scheme == "wss" else None)
    lab.at_end(server.close)
    proxy = start()
    authority = f"www.site.test:{server.port}"
    answer = browse(proxy).evaluate(CONVERSE % f"{scheme}://{authority}/")
    assert answer == {"same": True, "clean": True}
    line = proxy.wait_request(authority)
    assert (line["method"], line["status"], line["end"]) == ("CONNECT", "200", "complete")


def serve(routes):
    """An origin's script: what to answer by path, HTML or a function of peer and request."""

    def script(peer):
        while (request := peer.read_request()) is not None:
            answer = routes.get(request.target)
            if callable(answer):
                answer(peer, request)
            elif answer is None:
                peer.send(response_bytes("404 Not Found"))
            else:
                peer.send(response_bytes(fields=[("Content-Type", "text/html")], body=answer))

    return script


EVENTS = b"""<!doctype html><body><script>
const source = new EventSource('/stream');
source.onmessage = (event) => {
    document.body.append(event.data + ' ');
    if (event.data === 'three') source.close();
};
</script>"""

FETCH = b"""<!doctype html><body><script>
fetch('/stream').then(async (response) => {
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    for (let part; !(part = await reader.read()).done;) document.body.append(part.value);
});
</script>"""


@pytest.mark.parametrize(
    "page, kind, form",
    [(EVENTS, "text/event-stream", "data: %s\n\n"), (FETCH, "text/plain", "%s ")],
    ids=["event-source", "fetch"],
)
def test_stream_arrives_while_it_goes_on(lab, start, browse, page, kind, form):
    words, gates = ["one", "two", "three"], [threading.Event() for _ in range(3)]

    def stream(peer, _):
        peer.send(
            b"HTTP/1.1 200 OK\r\nContent-Type: %s\r\nTransfer-Encoding: chunked\r\n\r\n"
            % kind.encode()
        )
        for word, gate in zip(words, gates):
            text = (form % word).encode()
            peer.send(b"%x\r\n%s\r\n" % (len(text), text))
            assert gate.wait(wire.DEADLINE)
        peer.send(b"0\r\n\r\n")

    origin = lab.origin(serve({"/": page, "/stream": stream}))
    proxy = start()
    browser = browse(proxy)
    browser.open(origin_url(origin))
    for word, gate in zip(words, gates):
        browser.wait_text(word)
        gate.set()
    line = proxy.wait_request(origin_url(origin, "/stream"))
    assert line["status"] == "200"


# --- Files ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_download(start, browse, site, tmp_path, scheme):
    url = site.url if scheme == "http" else site.tls_url
    browse(start()).download(url("/large.bin", "www.site.test"), tmp_path)
    assert (tmp_path / "large.bin").read_bytes() == site.large


FORM = b"""<!doctype html><form method="post" action="/upload" enctype="multipart/form-data">
<input type="file" name="file"></form>"""


def test_upload(lab, start, browse, tmp_path):
    content = os.urandom(20_000_000)
    (tmp_path / "file").write_bytes(content)

    def upload(peer, request):
        part = request.body.partition(b"\r\n\r\n")[2]
        digest = hashlib.sha256(part[: part.rindex(b"\r\n--")]).hexdigest()
        peer.send(response_bytes(body=digest.encode(), fields=[("Content-Type", "text/plain")]))

    origin = lab.origin(serve({"/": FORM, "/upload": upload}))
    proxy = start()
    browser = browse(proxy)
    browser.open(origin_url(origin))
    browser.choose_file("input", tmp_path / "file")
    browser.evaluate("document.forms[0].submit()")
    browser.wait_text(hashlib.sha256(content).hexdigest())
    line = proxy.wait_request(origin_url(origin, "/upload"))
    assert (line["method"], line["status"], line["end"]) == ("POST", "200", "complete")


# --- Credentials ----------------------------------------------------------------------------------


@pytest.fixture
def staff(start, tmp_path):
    """A daemon that serves alice, whose password is "secret"."""
    (tmp_path / "users").write_text(f"alice:{QUICK}\n")
    return start(
        f"auth.users={tmp_path}/users", allow="allow from loopback user * to loopback host .test"
    )


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_credentials(staff, browse, site, scheme):
    """Asked for once; what comes later goes with them."""
    url = (site.url if scheme == "http" else site.tls_url)("/index.html", "www.site.test")
    browser = browse(staff)
    asked = browser.log_in(("alice", "secret"))
    assert browser.open(url) is None
    assert browser.evaluate(LOADED) == {"images": PARTS, "scripts": PARTS, "styles": PARTS}
    assert [(one["source"], one["scheme"], one["realm"]) for one in asked] == [
        ("Proxy", "basic", "viaduct")
    ]
    browser.close()
    target = url if scheme == "http" else f"www.site.test:{site.tls_port}"
    assert staff.wait_request(target, user="alice")["status"] == "200"


def test_wrong_credentials_are_asked_for_again(staff, browse, site):
    browser = browse(staff)
    asked = browser.log_in(("alice", "wrong"), ("alice", "secret"))
    url = site.url("/index.html", "www.site.test")
    assert browser.open(url) is None
    assert len(asked) == 2
    assert staff.wait_request(url, user="alice")["status"] == "200"
    staff.wait_for_log(event="auth", client="127.0.0.1")


def test_no_credentials(staff, browse, site):
    """Who gives none reads what asked for them; for a tunnel, the status alone."""
    browser = browse(staff)
    browser.log_in()
    browser.open(site.url("/index.html", "www.site.test"))
    assert browser.text().startswith("407 Proxy Authentication Required by rule site")
    error = browser.open(site.tls_url("/index.html", "www.site.test"))
    assert error == "net::ERR_HTTP_RESPONSE_CODE_FAILURE"
    assert "HTTP ERROR 407" in browser.text()


# --- What the person reads when it does not work ----------------------------------------------------

NO_TUNNEL = "net::ERR_TUNNEL_CONNECTION_FAILED"


def check_words(browser, url, *words):
    """The answer is ours, and a page that a person can read."""
    assert browser.open(url) is None
    for word in words:
        assert word in browser.text()
    assert browser.evaluate("document.contentType") == "text/html"


def check_no_tunnel(browser, authority):
    """Of a refused CONNECT browsers show nothing but a page of their own."""
    assert browser.open(f"https://{authority}/") == NO_TUNNEL
    assert "ERR_TUNNEL_CONNECTION_FAILED" in browser.text()


def test_refusal_names_its_rule(start, browse):
    browser = browse(start())
    check_words(
        browser,
        "http://refused.test/play?level=1",
        "403 Denied by rule no-games",
        "http://refused.test/play?level=1",
    )
    assert browser.evaluate("document.title") == "403 Denied by rule no-games"
    check_no_tunnel(browser, "refused.test")


def test_refusal_of_a_private_address(start, browse):
    browser = browse(start(allow="allow from loopback host .test"))
    check_words(
        browser, "http://www.site.test/", "403 Denied by rule builtin:private-address", "site"
    )
    check_no_tunnel(browser, "www.site.test")


def test_origin_that_is_down(start, browse):
    browser = browse(start())
    authority = f"www.site.test:{wire.free_port()}"
    check_words(browser, f"http://{authority}/", "502 Connection Refused", "nothing listens")
    check_no_tunnel(browser, authority)


def test_name_that_does_not_exist(start, browse):
    browser = browse(start())
    check_words(
        browser, "http://nowhere.test/", "502 Host Not Found", "There is no such host name"
    )
    check_no_tunnel(browser, "nowhere.test")


# --- The browser's end ----------------------------------------------------------------------------
# The lab sees afterwards that nothing is left of it.


@pytest.mark.parametrize("end", [Browser.close, Browser.kill])
def test_browser_that_ends_amid_a_page(lab, start, browse, end):
    def endless(peer, _):
        peer.send(
            b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nContent-Length: 1000000000\r\n\r\n"
        )
        try:
            while True:
                peer.send(b"x" * 10000)
        except OSError:
            pass

    page = "".join(f'<img src="/endless{number}">' for number in range(6)).encode()
    routes = {f"/endless{number}": endless for number in range(6)}
    origin = lab.origin(serve({"/": page, **routes}))
    proxy = start()
    browser = browse(proxy)
    browser.open(origin_url(origin), loaded=False)
    origin.wait_requests(7)
    end(browser)
    for path in routes:
        assert proxy.wait_request(origin_url(origin, path))["end"] == "client-closed"


OPEN = """
new Promise((resolve) => {
    const socket = new WebSocket('%s');
    socket.onopen = () => socket.send('open');
    socket.onmessage = (event) => resolve(event.data);
})
"""


@pytest.mark.parametrize("end", [Browser.close, Browser.kill])
def test_browser_that_ends_amid_tunnels(lab, start, browse, site, end):
    servers = [programs.WebSocketServer(certificate) for certificate in (None, site.certificate)]
    proxy = start()
    browser = browse(proxy)
    for server, scheme in zip(servers, ("ws", "wss")):
        lab.at_end(server.close)
        url = f"{scheme}://www.site.test:{server.port}/"
        assert browser.evaluate(OPEN % url) == "open"
    end(browser)
    for server in servers:
        line = proxy.wait_request(f"www.site.test:{server.port}")
        assert (line["method"], line["status"]) == ("CONNECT", "200")
