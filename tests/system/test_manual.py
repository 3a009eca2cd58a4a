# SPDX-License-Identifier: MIT
"""What the manual and the README say is what the program does: keys with their defaults and ranges,
options, fields and ends of log lines, events, what is refused, and the samples."""

import json
import re
import signal
import subprocess

import pytest

from viaduct_harness import ROOT, binary, parse_logfmt
from wire import wait_until

INI = "viaduct.ini.5"
LOG = "viaduct-log.5"
DAEMON = "viaduct.8"
README = ROOT / "README.md"

ITEM = re.compile(r"\.It (.*)")
MACRO = re.compile(r"(?<!\S)(?:Ar|Cm|Dv|Ev|Fl|Ic|Li|No|Ns|Pa|Pq|Ql|Xr|Dq)(?!\S)")


def page(name):
    return (ROOT / "man" / name).read_text()


def section(name, title):
    """From one .Sh or .Ss to the next of its kind or above."""
    text = page(name)
    match = re.search(rf"^\.S[hs] {re.escape(title)}$", text, re.M)
    assert match, f"{name} has no section {title}"
    ends = r"^\.Sh " if match.group().startswith(".Sh") else r"^\.S[hs] "
    return re.split(ends, text[match.end() :], maxsplit=1, flags=re.M)[0]


def items(roff):
    """[(tag, text)] of its lists, without what follows the end of a list."""
    found = []
    for line in roff.splitlines():
        match = ITEM.fullmatch(line)
        if match:
            found.append((match.group(1), []))
        elif found:
            found[-1][1].append(line)
    return [(tag, words(lines)) for tag, lines in found]


def words(lines):
    """Running text without markup."""
    text = " ".join(re.sub(r"^\.[A-Z][a-z]\b", "", line) for line in lines)
    text = MACRO.sub("", text.replace(r"\&", "").replace(r"\e", "\\"))
    return re.sub(r" ([,.;:])", r"\1", " ".join(text.split()))


def samples(roff):
    """Literal displays, each as the lines that it has."""
    return [
        block.replace(r"\e", "\\").replace(r"\(dq", '"').strip("\n").splitlines()
        for block in re.findall(r"^\.Bd -literal.*?\n(.*?)^\.Ed", roff, re.M | re.S)
    ]


def sources(*patterns):
    paths = [path for pattern in patterns for path in ROOT.glob(f"src/{pattern}")]
    return "\n".join(path.read_text() for path in sorted(paths))


def viaduct(*args):
    return subprocess.run(
        [binary(), *args], capture_output=True, text=True, timeout=20, check=False
    )


# --- viaduct.ini(5) -----------------------------------------------------------


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    """{name: (default, whether a change needs a restart)} as the program has them, in its order."""
    empty = tmp_path_factory.mktemp("manual") / "empty.ini"
    empty.write_text("")
    found, name = {}, None
    for line in viaduct("config", "-c", str(empty)).stdout.splitlines():
        if line.startswith("["):
            name = line.strip("[]").replace("listen local", "listen NAME")
        elif line and not line.startswith("#") and name != "access":
            key, _, rest = line.partition(" =")
            value, _, origin = rest.strip().rpartition("; built-in")
            full = f"{name}.{key}"
            if full in found:
                value = f"{found[full][0]}, {value}"
            found[full] = (value.strip(), "restart" in origin)
    assert "server.workers" in found and found["server.workers"][1]
    return found


@pytest.fixture(scope="module")
def described():
    """{name: (default, restart, text)} as the page has them, in its order."""
    tag = re.compile(r"Ic (\w+(?: NAME)?\.\w+) Pq (?:default (\S.*?)|no default)( ; restart)?")
    found = {}
    for text, body in items(page(INI)):
        match = tag.fullmatch(text)
        if match:
            found[match.group(1)] = (match.group(2) or "", bool(match.group(3)), body)
    return found


def test_the_page_has_every_key_with_its_default_in_order(keys, described):
    assert [(name, *what[:2]) for name, what in described.items()] == [
        (name, *what) for name, what in keys.items()
    ]


def test_the_page_has_the_type_and_range_that_the_program_wants(keys, described):
    """What `check` expects in place of a bad value is what the page promises."""
    checked = 0
    for name in keys:
        option = name.replace("NAME", "local") + "=[]?"
        message = re.search(r"\[\]\?: expected (.*)", viaduct("check", "-o", option).stdout)
        if message:
            wanted = re.sub(r" \([KMGmshd, ]+\)", "", message.group(1))
            assert wanted.lower() in described[name][2].lower(), name
            checked += 1
    assert checked > 30


def test_the_syntax_sample_is_accepted(tmp_path):
    """With the addresses of the sample taken for any of this machine, since they are only read."""
    for number, lines in enumerate(samples(page(INI))):
        file = tmp_path / f"sample-{number}.ini"
        text = "\n".join(lines).replace("group   = www-data", "group   = root")
        text = text.replace("/var/log/viaduct/", "/tmp/")
        file.write_text(text)
        result = viaduct("check", "-c", str(file))
        assert (result.returncode, result.stdout) == (0, f"{file}: ok\n"), text


def effective(path):
    """The lines of the effective configuration, without where they come from."""
    made = viaduct("config", "-c", str(path))
    assert (made.returncode, made.stderr) == (0, ""), made.stderr
    return [line.partition(" ; ")[0] for line in made.stdout.splitlines()[1:]]


def test_the_example_with_nothing_commented_out_is_the_built_in_configuration(tmp_path):
    """That its keys are those of the table, in its order, is a unit test's matter."""
    example = (ROOT / "conf" / "viaduct.ini").read_text()
    empty, whole = tmp_path / "empty.ini", tmp_path / "whole.ini"
    empty.write_text("")
    whole.write_text(re.sub(r"^;", "", example, flags=re.M))
    assert viaduct("check", "-c", str(whole)).stdout == f"{whole}: ok\n"
    assert effective(whole) == effective(empty)
    assert effective(ROOT / "conf" / "viaduct.ini") == effective(empty)
    for line in example.splitlines():
        assert len(line) <= 100 and (line == "" or line[0] in ";#["), line


# --- viaduct(8) ---------------------------------------------------------------


def test_the_page_has_the_options_commands_and_exit_codes_of_the_help():
    text = viaduct("--help").stdout
    options = {
        f"-{word}"
        for tag, _ in items(section(DAEMON, "OPTIONS"))
        for word in tag.removeprefix("Fl ").partition(" Ar ")[0].split(" , ")
    }
    assert options == set(re.findall(r"(?<![\w-])(--?[a-zA-Z][\w-]*)", text))
    commands = [tag.removeprefix("Cm ") for tag, _ in items(section(DAEMON, "COMMANDS"))]
    assert commands == re.findall(r"^  viaduct \[?([a-z]+)", text, re.M)
    codes = [tag for tag, _ in items(section(DAEMON, "EXIT STATUS"))]
    assert codes == re.findall(r"(?<![\w/])(\d+) ", text.partition("Exit status:")[2])


def test_the_page_has_every_status_of_an_answer():
    rows = set(re.findall(r"\.status = (\d+)", sources("http/reply_rows.c"))) - {"200"}
    assert set(re.findall(r"\b[45]\d\d\b", section(DAEMON, "REFUSALS"))) == rows


OFFICE = """\
[listen lan]
address = 127.0.0.1:0
[auth]
users = {users}
[access]
local = allow from loopback to any
office = allow from 10.0.0.0/8 port 80,443
staff = allow user * port 443
"""


def unfolded(lines):
    """The log lines of a sample; a line that begins with a blank belongs to the one above."""
    text = re.sub(r"\n(?= )", "", "\n".join(lines))
    return [parse_logfmt(line) for line in text.splitlines()]


def reloaded(proxy, text):
    """What the log says of a reload of that text, save that it was asked for."""
    before = len(proxy.lines)
    proxy.config.write_text(text)
    proxy.signal(signal.SIGHUP)
    wait_until(lambda: any("generation" in line for line in proxy.lines[before:]), "the last line")
    lines = [dict(line) for line in proxy.lines[before:] if "by" not in line]
    for line in lines:
        line.pop("time"), line.pop("raw")
        line["msg"] = line["msg"].replace(str(proxy.config), "/etc/viaduct/viaduct.ini")
    return [line for line in lines if line["level"] != "warning"]


def test_the_samples_of_a_reload_are_what_the_log_says(lab, tmp_path):
    users = tmp_path / "users"
    users.write_text("")
    office = OFFICE.format(users=users)
    proxy = lab.fresh(config=office)
    refused, done = (unfolded(lines) for lines in samples(section(DAEMON, "RELOAD")))
    assert reloaded(proxy, office.replace("allow from 10.", "allow form 10.")) == refused
    assert reloaded(proxy, office.replace("port 443", "port 443,22")) == done


def test_the_page_has_every_route_of_the_admin_socket():
    row = r'\{"(/[^"]*)", EVHTTP_REQ_(\w+),'
    routes = {
        f"{method} {path}" for path, method in re.findall(row, sources("server/admin_routes.c"))
    }
    text = " ".join(tag for tag, _ in items(section(DAEMON, "ADMIN SOCKET")))
    described = set(re.findall(r"(?:GET|POST|DELETE) /[a-z/]*", text))
    assert "GET /status" in routes and routes == described


HOST = b"Host: HERE\r\n"
GET = b"GET http://HERE/ HTTP/1.1\r\n" + HOST
POST = b"POST http://HERE/ HTTP/1.1\r\n" + HOST
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
CODING = b"Transfer-Encoding: "

# By the name in the page: requests that must get its status; HERE is an origin that only reads.
REFUSED = {
    "repeated-length": [
        POST + b"Content-Length: 1\r\nContent-Length: 1\r\n\r\nx",
        POST + b"Content-Length: 1, 1\r\n\r\nx",
        POST + b"Content-Length: 9223372036854775808\r\n\r\n",
    ],
    "length-and-coding": [POST + b"Content-Length: 5\r\n" + CODING + b"chunked\r\n\r\n0\r\n\r\n"],
    "other-coding": [
        POST + CODING + coding + b"\r\n\r\n" for coding in (b"identity", b"gzip, chunked", b"x")
    ],
    "doubtful-coding": [
        POST + CODING + coding + b"\r\n\r\n0\r\n\r\n"
        for coding in (b"chunked, chunked", b"chunked, gzip", b"chunked;a=b", b"chunked,")
    ],
    "coding-in-1.0": [b"POST http://HERE/ HTTP/1.0\r\n" + CODING + b"chunked\r\n\r\n0\r\n\r\n"],
    "content-on-connect": [
        b"CONNECT HERE HTTP/1.1\r\n" + HOST + b"Content-Length: 1\r\n\r\nx",
        b"TRACE http://HERE/ HTTP/1.1\r\n" + HOST + b"Content-Length: 1\r\n\r\nx",
    ],
    "bare-lf": [GET + b"\n", b"GET http://HERE/ HTTP/1.1\nHost: HERE\r\n\r\n"],
    "empty-lines": [5 * b"\r\n" + GET + b"\r\n"],
    "folded-line": [GET + b"A: b\r\n c\r\n\r\n", GET + b"A: b\r\n\tc\r\n\r\n"],
    "blank-before-colon": [GET + b"A : b\r\n\r\n"],
    "control-character": [GET + b"A: b\0\r\n\r\n", GET + b"A: \x07\r\n\r\n"],
    "chunk-blank": [
        CHUNKED + size + b"\r\na\r\n0\r\n\r\n" for size in (b"1 ", b" 1", b"1 ;a", b"1; a=b")
    ],
    "chunk-digits": [CHUNKED + 20 * b"0" + b"1\r\na\r\n0\r\n\r\n"],
    "chunk-extensions": [CHUNKED + b"1;a=" + 70_000 * b"b" + b"\r\na\r\n0\r\n\r\n"],
    "trailer-framing": [
        CHUNKED + b"0\r\nContent-Length: 1\r\n\r\n",
        CHUNKED + b"0\r\n" + CODING + b"chunked\r\n\r\n",
    ],
    "connection-options": [GET + b"Connection: a" + 100 * b",a" + b"\r\n\r\n"],
    "repeated-host": [
        b"GET http://HERE/ HTTP/1.1\r\n\r\n",
        GET + HOST + b"\r\n",
        b"GET http://HERE/ HTTP/1.1\r\nHost: a, b\r\n\r\n",
    ],
    "max-forwards": [
        b"OPTIONS http://HERE/ HTTP/1.1\r\n" + HOST + b"Max-Forwards: x\r\n\r\n",
        b"TRACE http://HERE/ HTTP/1.1\r\n" + HOST + b"Max-Forwards: 1\r\nMax-Forwards: 0\r\n\r\n",
    ],
    "userinfo": [b"GET http://u:p@HERE/ HTTP/1.1\r\n" + HOST + b"\r\n"],
    "fragment": [
        b"GET http://HERE/#f HTTP/1.1\r\n" + HOST + b"\r\n",
        b"GET http://HERE/ b HTTP/1.1\r\n" + HOST + b"\r\n",
        b"GET http://HERE/caf\xc3\xa9 HTTP/1.1\r\n" + HOST + b"\r\n",
    ],
    "host-name": [
        b"GET http://%s/ HTTP/1.1\r\nHost: a\r\n\r\n" % host
        for host in (b"ex%61mple.com", b"1.2.3.4.5", b"[fe80::1%25lo]")
    ],
    "port": [
        b"GET http://127.0.0.1:0/ HTTP/1.1\r\nHost: a\r\n\r\n",
        b"CONNECT 127.0.0.1:65536 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"CONNECT 127.0.0.1 HTTP/1.1\r\nHost: a\r\n\r\n",
    ],
    "not-a-proxy": [
        b"GET / HTTP/1.1\r\nHost: HERE\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\nHost: HERE\r\n\r\n",
    ],
    "https-target": [
        b"GET https://HERE/ HTTP/1.1\r\n" + HOST + b"\r\n",
        b"GET ftp://HERE/ HTTP/1.1\r\n" + HOST + b"\r\n",
    ],
    "method": [
        b"BREW http://HERE/ HTTP/1.1\r\n" + HOST + b"\r\n",
        b"get http://HERE/ HTTP/1.1\r\n" + HOST + b"\r\n",
    ],
    "version": [
        b"GET http://HERE/\r\n",
        b"GET http://HERE/ HTTP/1.2\r\n" + HOST + b"\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ],
}

OK = b"HTTP/1.1 200 OK\r\n"
# Responses that must give 502.
BAD_RESPONSES = {
    "unasked-101": [b"HTTP/1.1 101 Go\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"],
    "interim-flood": [65 * b"HTTP/1.1 102 Wait\r\n\r\n" + OK + b"Content-Length: 0\r\n\r\n"],
    "status-line": [b"HTTP/1.1 600 X\r\n\r\n", b"HTTP/1.1 20 X\r\n\r\n"],
    "repeated-length": [OK + b"Content-Length: 1\r\nContent-Length: 1\r\n\r\nx"],
    "length-and-coding": [OK + b"Content-Length: 5\r\n" + CODING + b"chunked\r\n\r\n0\r\n\r\n"],
    "other-coding": [OK + CODING + b"gzip, chunked\r\n\r\n0\r\n\r\n"],
    "coding-in-1.0": [b"HTTP/1.0 200 OK\r\n" + CODING + b"chunked\r\n\r\n0\r\n\r\n"],
    "bare-lf": [OK + b"A: b\nContent-Length: 0\r\n\r\n"],
    "empty-lines": [b"\r\n" + OK + b"Content-Length: 0\r\n\r\n"],
    "folded-line": [OK + b"A: b\r\n c\r\nContent-Length: 0\r\n\r\n"],
    "control-character": [OK + b"A: b\0\r\nContent-Length: 0\r\n\r\n"],
    "connection-options": [OK + b"Connection: a" + 100 * b",a" + b"\r\nContent-Length: 0\r\n\r\n"],
    "version": [b"HTTP/1.2 200 OK\r\nContent-Length: 0\r\n\r\n"],
}
STRICT = "Stricter than the standard"


def strict_items():
    return {
        name: int(status)
        for tag, _ in items(section(DAEMON, STRICT))
        for status, name in [re.fullmatch(r"Li (\d+) Pq (\S+)", tag).groups()]
    }


def test_the_list_of_what_is_refused_is_the_one_tested():
    assert set(strict_items()) == set(REFUSED) | set(BAD_RESPONSES)


@pytest.mark.parametrize("name", REFUSED)
def test_what_the_page_says_is_refused_is_refused(lab, name):
    proxy = lab.viaduct()
    origin = lab.origin(lambda peer: peer.read_to_end())  # may see a broken chunked body begin
    for request in REFUSED[name]:
        client = lab.client(proxy)
        client.send(request.replace(b"HERE", origin.authority.encode()))
        response = client.read_response()
        assert response.status == strict_items()[name], request
        assert response.has("Proxy-Status") and response.get("Connection") == "close", request


@pytest.mark.parametrize("name", BAD_RESPONSES)
def test_what_the_page_says_of_responses_holds(lab, name):
    proxy = lab.viaduct()
    for answer in BAD_RESPONSES[name]:
        origin = lab.origin(answer)
        assert lab.client(proxy).get(origin.url()).status == 502, answer


# --- viaduct-log(5) -----------------------------------------------------------


def fields_of_the_page():
    tags = [tag for tag, _ in items(section(LOG, "FIELDS OF A REQUEST").partition(".Ss")[0])]
    return [tag.removeprefix("Li ") for tag in tags]


def test_the_page_has_the_fields_in_order(lab):
    proxy, origin = lab.viaduct(), lab.origin()
    lab.client(proxy).get(origin.url("/fields"))
    line = proxy.wait_request(origin.url("/fields"))["raw"]
    assert list(parse_logfmt(line)) == fields_of_the_page()


def test_the_samples_are_log_lines():
    logfmt, as_json, combined, common, squid = samples(section(LOG, "FORMATS"))
    assert list(parse_logfmt("".join(logfmt))) == fields_of_the_page()
    assert list(json.loads("".join(as_json))) == fields_of_the_page()
    clf = r'\S+ - \S+ \[\d\d/\w{3}/\d{4}:\d\d:\d\d:\d\d \+0000\] "\S+ \S+ HTTP/1\.1" \d{3} \d+'
    assert re.fullmatch(clf + r' "[^"]*" "[^"]*"', "".join(combined))
    assert re.fullmatch(clf, "".join(common))
    assert re.fullmatch(
        r"\d{10}\.\d{3} +\d+ \S+ TCP_TUNNEL/200 \d+ CONNECT \S+ - HIER_DIRECT/\S+ -", "".join(squid)
    )
    listener = parse_logfmt("".join(samples(section(LOG, "EVENTS"))[0]))
    assert list(listener) == ["time", "event", "level", "listener", "address", "msg"]


def test_the_page_has_every_end_with_its_status():
    rows = {}
    for row in re.findall(r"\[REPLY_\w+\] = \{(.*?)\n    \}", sources("http/reply_rows.c"), re.S):
        status = re.search(r"\.status = (\d+)", row).group(1)
        rows.setdefault(re.search(r'\.end = "(.*?)"', row).group(1), set()).add(status)
    rows = {end: ", ".join(sorted(statuses)) for end, statuses in rows.items()}
    rows["complete"] = None
    for end in re.findall(r'"((?:error|timeout):[a-z_-]+)"', sources("proxy/*.c")):
        rows.setdefault(end, None)
    described = {}
    for tag, _ in items(section(LOG, "Values of end")):
        match = re.fullmatch(r"Li ([\w:-]+)(?: Pq (\d+(?:, \d+)*))?", tag)
        described[match.group(1)] = match.group(2)
    plain = {"client-closed", "upstream-closed", "truncated", "shutdown", "killed"}
    assert described == rows | {end: None for end in plain}
    for end in plain:
        assert f'"{end}"' in sources("proxy/*.c"), end


def test_the_page_has_every_rule_that_is_built_in():
    text = section(LOG, "FIELDS OF A REQUEST")
    for rule in re.findall(r'"((?:builtin|proto|limit):\w[\w-]*)"', sources("*/*.c")):
        assert re.search(rf"Li {rule}(?![\w-])", text), rule


def test_the_page_has_every_event():
    text = sources("*/*.c")
    events = set(re.findall(r'log_(?:event|fields)\(\s*LOG_\w+,\s*"(\w+)"', text))
    events |= set(re.findall(r'event_line_put\([^;]*?level, "(\w+)"', text))
    tags = [tag for tag, _ in items(section(LOG, "EVENTS"))]
    assert {word for tag in tags for word in tag.removeprefix("Li ").split(" , ")} == events


def test_the_page_has_every_field_of_an_event():
    fields = set(re.findall(r'LOG_(?:TEXT|NUM|ADDR)\("(\w+)"', sources("*/*.c")))
    text = section(LOG, "EVENTS")
    named = {
        word for line in re.findall(r"^(?:\.Pq )?\.?Li (.*)$", text, re.M) for word in line.split()
    }
    assert "generation" in fields and fields <= named, fields - named


# --- README.md ----------------------------------------------------------------


def readme_blocks():
    return re.findall(r"^```\w*\n(.*?)^```", README.read_text(), re.M | re.S)


def test_the_readme_names_only_keys_options_and_verbs_that_exist(keys):
    text = README.read_text()
    short = {name.replace(" NAME", "") for name in keys}
    sections = "|".join({name.partition(".")[0].split()[0] for name in keys})
    for name in re.findall(rf"\b((?:{sections})(?: [a-z]+)?\.[a-z_]+)(?=[\s=`,.)])", text):
        assert re.sub(r" [a-z]+", "", name) in short | {"viaduct.ini"}, name
    for command in re.findall(r"^\s*(?:\$ )?viaduct( .*)?$", "\n".join(readme_blocks()), re.M):
        for option in re.findall(r"(?<!\S)(--?[a-zA-Z][\w-]*)", command):
            assert re.search(rf"(?<![\w-]){option}(?![\w-])", viaduct("--help").stdout), command
    help_text = subprocess.run(
        [ROOT / "dev", "help"], capture_output=True, text=True, check=True
    ).stdout
    for verb in re.findall(r"\./dev (\w+)", text):
        assert re.search(rf"\b{verb}\b", help_text), verb


def test_the_readme_links_to_files_that_exist():
    for target in re.findall(r"\]\(([^)#:]+)\)", README.read_text()):
        assert (ROOT / target).exists(), target


def test_the_log_line_of_the_readme_is_one():
    lines = [block for block in readme_blocks() if block.startswith("time=")]
    assert lines
    for block in lines:
        assert list(parse_logfmt(" ".join(block.split()))) == fields_of_the_page()


def test_the_refusal_of_the_readme_is_the_real_one(lab):
    def same(text):
        text = re.sub(r"(Date: ).*", r"\1-", text.replace("\r", ""))
        text = re.sub(r"(Content-Length: ).*", r"\1-", text)
        return re.sub(r"(localhost|127\.0\.0\.1):\d+", "HERE", text).strip()

    proxy = lab.viaduct()
    response = lab.client(proxy).get(f"{proxy.url}/")
    real = same(response.raw_head.decode() + response.body.decode())
    shown = [block for block in readme_blocks() if "403 Denied by rule" in block]
    assert shown and all(real == same(block.partition("\n")[2]) for block in shown)
