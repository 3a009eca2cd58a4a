# SPDX-License-Identifier: MIT
"""Nothing that a client or an origin chooses may add to a log line, a header, an error page or
Proxy-Status anything that reads as ours."""

import base64
import html.parser
import json
import re
import unicodedata

import pytest

import wire
from splits import Faults, exact, fill_in
from viaduct_harness import parse_logfmt

# Bytes that may stand in a field value (RFC 9110 5.5) and mean something to a reader of a log, a
# page or a terminal.
VALUES = [
    b'"', b"\\", b'\\"', b'" end=complete x="', b'x" status=200 rule="y', b"a=b c=d", b"\\n", b"\\r\\n",
    b"a\tb", b'" 200 5 "-" "-', b'","status":200,"x":"', b'"}\t{"event":"request"}', b"%0d%0a%00", b"%",
    b"<script>alert(1)</script>", b"'\"><img src=x onerror=y>", b"&lt;&amp;&#60;", b"</title></html>",
    b"${jndi:ldap://x}", b"{{7*7}}", b"`id`", b"$(id)", b"; drop", b"| x", b"-", b"=", b"'",
    b"\x80", b"\xff", b"\xc0\x8a", b"\xe0\x80\x8a", b"\xc2\x85", b"\xc2\x9b31m", b"\x9b31m", b"\xc2\xa0",
    b"\xe2\x80\xa8", b"\xe2\x80\xae", b"\xe2\x80\x8b", b"\xef\xbb\xbf", b"\xed\xa0\x80", b"\xed\xb0\x80",
    b"\xf4\x90\x80\x80", b"\xf0\x9f\x98\x80", b"\xf3\xa0\x81\xa1", b"\xe4\xbd\xa0\xe5\xa5\xbd", b"\xe2\x80",
    bytes(range(0x20, 0x7F)), bytes(range(0x80, 0x100)), b"x" * 5000, b'"' * 5000, b"\xff" * 5000,
]  # fmt: skip

# The same without blanks, which end a target.
TARGETS = [re.sub(rb"[\t ]", b"_", value) for value in VALUES]

TIME = r"\[\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d \+0000\]"
QUOTED = r'"((?:[^"\\]|\\.)*)"'


RULES = ("local", "proto:target", "proto:scheme", "proto:not-proxy", "proto:malformed")


def check_logfmt(text, keys):
    fields = parse_logfmt(text)
    assert list(fields) == keys
    assert fields["event"] == "request" and re.fullmatch(r"\d{3}", fields["status"])
    assert fields["rule"] in RULES


def check_json(text, keys):
    fields = json.loads(text)
    assert list(fields) == keys
    assert fields["event"] == "request" and isinstance(fields["status"], int)
    assert fields["rule"] in RULES


def check_common(text, _, tail=""):
    match = re.fullmatch(rf"127\.0\.0\.1 - (\S+) {TIME} {QUOTED} \d{{3}} \d+{tail}", text)
    assert match and match[1] == "-"
    words = match[2].split(" ")
    assert words == ["-"] or (len(words) == 3 and words[2] == "HTTP/1.1") or len(words) == 2


def check_combined(text, keys):
    check_common(text, keys, rf" {QUOTED} {QUOTED}")


def check_squid(text, _):
    words = text.split()
    assert len(words) == 10 and words[2] == "127.0.0.1" and words[7] == "-"
    assert re.fullmatch(r"[A-Z_]+/\d{3}", words[3]) and words[8].startswith("HIER_")
    assert text.isascii()


FORMATS = {
    "logfmt": check_logfmt,
    "json": check_json,
    "combined": check_combined,
    "common": check_common,
    "squid": check_squid,
}


def check_harmless(text):
    """Readable as it stands: well-formed, no control, no mark that turns or hides text."""
    text.encode()  # fails on what was not UTF-8
    hidden = [
        c for c in text if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")
    ]
    assert not hidden, hidden


@pytest.mark.parametrize("kind", FORMATS)
def test_log_line_stays_one_line_with_its_own_fields(lab, kind):
    proxy = lab.fresh(f"log.access={kind}", "server.workers=1")
    answers = {}

    def script(peer):
        while peer.read_request() is not None:
            peer.send(answers["next"])

    origin = lab.origin(script)
    asked = []

    def ask(target, value):
        asked.append(target)
        client = lab.client(proxy)
        credentials = base64.b64encode(value + b":" + value)
        client.send(
            fill_in(b"GET " + target + b" HTTP/1.1\r\nHost: {o}\r\n", origin)
            + b"User-Agent: " + value + b"\r\nReferer: " + value + b"\r\nX: " + value
            + b"\r\nProxy-Authorization: Basic " + credentials + b"\r\n\r\n"
        )  # fmt: skip
        got = client.read_response()
        client.close()
        return got

    answers["next"] = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    assert ask(b"http://{o}/plain", b"agent").status == 200
    first = proxy.wait_for_log(lambda line: "/plain" in line["raw"])
    keys = [key for key in first if key != "raw"]
    start = len(proxy.lines)
    asked.clear()
    faults = Faults()
    for value, target in zip(VALUES, TARGETS):
        answers["next"] = (
            b"HTTP/1.1 200 " + value + b"\r\nContent-Type: " + value + b"\r\nServer: " + value
            + b"\r\nContent-Length: 0\r\n\r\n"
        )  # fmt: skip
        with faults(f"{value[:40]}"):
            assert ask(b"http://{o}/" + target.replace(b"#", b""), value).status in (200, 400)
        for form in (b"ftp://{o}/", b"http://a.test:0/", b"/", b"http://@"):
            with faults(f"{value[:40]} in a refused target"):
                assert ask(form + target, value).status in (400, 501)
    answers["next"] = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    assert ask(b"http://{o}/last", b"agent").status == 200
    proxy.wait_for_log(lambda line: "/last" in line["raw"])
    lines = [line["raw"] for line in proxy.lines[start:]]
    sent = {fill_in(target, origin) for target in asked}
    assert len(lines) == len(asked), "a line more or less than there were requests"
    for text in lines:
        with faults(text[:300]):
            check_harmless(text)
            FORMATS[kind](text, keys)
            if kind in ("logfmt", "json"):
                logged = {"logfmt": parse_logfmt, "json": json.loads}[kind](text)["target"]
                assert logged in (None, "-") or logged.encode() in sent
            assert len(text) < 80_000
    faults.check()


# --- Pages --------------------------------------------------------------------


class Page(html.parser.HTMLParser):
    """The tags of a page, with their attributes, and its text."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.tags, self.text = [], ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, attrs))

    def handle_endtag(self, tag):
        self.tags.append(("/" + tag, None))

    def handle_data(self, data):
        self.text += data

    def handle_comment(self, data):
        self.tags.append(("!--", data))

    def handle_decl(self, decl):
        self.tags.append(("!", decl))


def check_head(got):
    """Proxy-Status as RFC 9209 and RFC 8941 write it; nothing in the head that is not ours."""
    value = got.get("Proxy-Status")
    assert re.fullmatch(
        r'viaduct; error=[a-z_]+(?:; rcode="[A-Z]+")?; details="(?:[ !#-\[\]-~]|\\["\\])*"', value
    ), value
    assert got.names() == [
        "Date", "Content-Type", "Content-Length", "Cache-Control", "Proxy-Status", "Connection"
    ]  # fmt: skip
    assert re.fullmatch(r"[ -~]+", got.start)


def shapes(got):
    """What of a page must be the same whatever the client put into it."""
    kind = got.get("Content-Type")
    text = got.body.decode()
    if kind.startswith("text/html"):
        return Page(text).tags
    if kind == "application/json":
        return [(key, type(value)) for key, value in json.loads(text).items()]
    return [line.partition(":")[0] if ":" in line[:9] else "-" for line in text.split("\n")]


@pytest.mark.parametrize("accept", ["text/plain", "text/html", "application/json"])
def test_page_has_only_our_own_parts(lab, accept):
    proxy = lab.viaduct()
    faults = Faults()
    wanted = {}  # by the reason, as Proxy-Status tells it
    for form, host in [
        (b"ftp://host/", b"host"),
        (b"http://host:0/", b"host"),
        (b"/", b"proxy.test:8080"),
        (b"*", b"proxy.test"),
        (b"http://@", b"host"),
    ]:
        for value in [b"plain", *TARGETS]:
            with faults(f"{form} {value[:40]}"):
                client = lab.client(proxy)
                client.send(
                    b"GET " + form + value + b" HTTP/1.1\r\nHost: " + host + b"\r\nConnection: close\r\n"
                    b"Accept: " + accept.encode() + b"\r\nReferer: " + value + b"\r\n\r\n"
                )  # fmt: skip
                got = client.read_response()
                client.close()
                check_head(got)
                # Of a head that could not be read nothing counts, Accept neither.
                unread = "proto:malformed" in got.get("Proxy-Status")
                assert got.get("Content-Type").startswith("text/plain" if unread else accept)
                assert got.status in (400, 501)
                check_harmless(got.body.decode().replace("\n", ""))
                shape = wanted.setdefault((host, got.get("Proxy-Status")), shapes(got))
                assert shapes(got) == shape, got.body
    faults.check()


HOSTS = [
    b"<b>.test:80", b"a\"b:80", b"a.test:80\"", b"a b:80", b"a.test:80 <x>", b"'a':80", b"a&b:80",
    b"a.test:80;x", b"\xff:80", b"a.test:+80", b"$(id):80", b"a.test:80/<script>",
]  # fmt: skip


def test_page_does_not_show_a_host_that_is_none(lab):
    """The example of how to use a proxy shows the address the client used, if it is one."""
    proxy = lab.viaduct()
    for accept in ("text/plain", "text/html", "application/json"):
        for host in HOSTS:
            client = lab.client(proxy)
            client.send(
                b"GET / HTTP/1.1\r\nHost: " + host + b"\r\nAccept: " + accept.encode() + b"\r\n\r\n"
            )
            got = client.read_response()
            client.close()
            assert got.status == 400 and host not in got.body and b"<script>" not in got.body


def test_refused_connect_target_is_shown_harmlessly(lab):
    proxy = lab.viaduct()
    for value in TARGETS:
        client = lab.client(proxy)
        client.send(
            b"CONNECT "
            + value
            + b" HTTP/1.1\r\nHost: x\r\nAccept: text/html\r\nConnection: close\r\n\r\n"
        )
        got = client.read_response()
        client.close()
        assert got.status == 400
        check_head(got)
        tags = [tag for tag, _ in Page(got.body.decode()).tags]
        assert not {"script", "img", "!--"} & set(tags)
    count = len(TARGETS)
    proxy.wait_for_log(event="request", method="CONNECT", count=count)
    assert len(proxy.find_lines(event="request")) == count


# --- Heads --------------------------------------------------------------------


def test_values_go_on_as_they_are_and_add_no_field(lab):
    """Both ways: the head has our fields and this one, whatever is in it."""
    proxy = lab.viaduct()
    answer = {}

    def script(peer):
        while peer.read_request() is not None:
            peer.send(answer["next"])

    origin = lab.origin(script)
    client = lab.client(proxy)
    faults = Faults()
    for value in VALUES:
        with faults(f"{value[:40]}"):
            value = value.strip(b" \t")
            answer["next"] = (
                b"HTTP/1.1 200 " + value + b"\r\nX: " + value + b"\r\nContent-Length: 0\r\n\r\n"
            )
            client.send(
                fill_in(b"GET http://{o}/ HTTP/1.1\r\nHost: {o}\r\nX: ", origin)
                + value
                + b"\r\n\r\n"
            )
            got = client.read_response_head()
            assert exact(
                b"GET / HTTP/1.1\r\nHost: {o}\r\nX: " + value + b"\r\nVia: 1.1 <me>\r\n\r\n", origin
            ).fullmatch(origin.requests[-1].raw_head)
            assert exact(
                b"HTTP/1.1 200 " + value + b"\r\nX: " + value
                + b"\r\nContent-Length: 0\r\nDate: <date>\r\nVia: 1.1 <me>\r\n\r\n"
            ).fullmatch(got.raw_head), got.raw_head  # fmt: skip
    faults.check()


@pytest.mark.parametrize(
    "option, field, ours",
    [
        ("rfc7239", b"Forwarded", b"for=127.0.0.1"),
        ("x-forwarded-for", b"X-Forwarded-For", b"127.0.0.1"),
    ],
)
def test_client_cannot_speak_for_the_proxy_in_forwarded(lab, option, field, ours):
    """What it claims stands in front, ours behind it in a line of its own."""
    proxy = lab.viaduct("listen test.address=127.0.0.1:0", f"listen test.forwarded={option}")
    origin = lab.origin()
    client = lab.client(proxy)
    for claim in (b"for=10.0.0.1", b'for="10.0.0.1', b"10.0.0.1, 127.0.0.1", b"a,", b'"', b""):
        client.send(
            fill_in(b"GET http://{o}/ HTTP/1.1\r\nHost: {o}\r\n", origin)
            + field + b": " + claim + b"\r\n" + field.lower() + b": second\r\n\r\n"
        )  # fmt: skip
        assert client.read_response().status == 200
        assert exact(
            b"GET / HTTP/1.1\r\nHost: {o}\r\n" + field + b": " + claim + b"\r\n" + field.lower()
            + b": second\r\n" + field + b": " + ours + b"\r\nVia: 1.1 <me>\r\n\r\n", origin,
        ).fullmatch(origin.requests[-1].raw_head)  # fmt: skip


@pytest.mark.parametrize(
    "fields", [b"", b"Proxy-Status: evil; error=x\r\nProxy-Status: viaduct\r\n"]
)
def test_origin_cannot_speak_for_the_proxy(lab, fields):
    """A bad response is answered in our name alone."""
    origin = lab.origin(b"HTTP/1.1 200 OK\r\n" + fields + b"Content-Length: x\r\n\r\n")
    got = lab.client(lab.viaduct()).get(origin.url())
    assert got.status == 502 and got.get("Proxy-Status").startswith("viaduct; ")
    assert b"evil" not in got.raw_head + got.body
    wire.wait_until(lambda: not origin.threads[0].is_alive(), "its connection to be closed")
