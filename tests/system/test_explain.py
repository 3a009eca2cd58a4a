# SPDX-License-Identifier: MIT
"""`viaduct explain`: the tables of cases beside the example configurations, what it shows and how, its
exit status, the names that it resolves, and that the proxy does what it says."""

import json
import os
import pty
import re
import shlex
import subprocess

import pytest

from dns_server import DnsServer
from viaduct_harness import ROOT, binary

CONF = ROOT / "conf"
EXAMPLES = sorted(path.stem for path in CONF.glob("*.ini"))

# What the examples name: anna, bert and carl, who all have the password "x".
PASSWORD = "$5$abcdefgh$sI6g8tHKrJ6RX7w.YoN9B7a/5wK5jYEOMmMnt3tPl0/"
USERS = "".join(f"{name}:{PASSWORD}\n" for name in ("anna", "bert", "carl"))
NAMES = "# a list\n0.0.0.0 ads.example\n||tracker.example^\n"

STATUS = {"allow": 0, "deny": 1, "challenge": 1, "undecided": 3}

RULES = """
[access]
ads = deny host ads.example
local = allow from loopback to 127.0.0.0/8,::1 port 1-1023
world = allow from loopback port 80,443
"""


def explain(*args, **kwargs):
    return subprocess.run(
        [binary(), "explain", *map(str, args)],
        stdout=kwargs.pop("stdout", subprocess.PIPE), stderr=subprocess.PIPE, text=True, timeout=30,
        check=False, **kwargs
    )


def answer(*args):
    result = explain("--json", *args)
    assert result.stderr == ""
    assert result.stdout.count("\n") == 1
    found = json.loads(result.stdout)
    assert result.returncode == STATUS[found["verdict"]]
    return found


def install(name, directory):
    """An example with the files that it names."""
    text = (CONF / f"{name}.ini").read_text(encoding="utf-8")
    path = directory / f"{name}.ini"
    path.write_text(text.replace("/etc/viaduct/", f"{directory}/"), encoding="utf-8")
    (directory / "users").write_text(USERS, encoding="utf-8")
    for list_name in ("ads.txt", "blocked.txt"):
        (directory / list_name).write_text(NAMES, encoding="utf-8")
    return path


@pytest.fixture
def rules(tmp_path):
    path = tmp_path / "rules.ini"
    path.write_text(RULES, encoding="utf-8")
    return path


# ---- The tables of the examples ----


def cases():
    for name in EXAMPLES:
        lines = (CONF / "tests" / f"{name}.cases").read_text(encoding="utf-8").splitlines()
        for number, line in enumerate(lines, 1):
            if line and not line.startswith("#"):
                yield pytest.param(name, line, id=f"{name}:{number}")


def test_every_example_has_a_table():
    assert {"viaduct", "example", "office", "sandbox"} <= set(EXAMPLES)
    assert EXAMPLES == sorted(path.stem for path in (CONF / "tests").glob("*.cases"))


@pytest.mark.parametrize("name, line", cases())
def test_example_decides(name, line, tmp_path):
    verdict, rule, *words = shlex.split(line)
    would_deny = []
    if words[-1].startswith("would_deny="):
        would_deny = words.pop().split("=")[1].split(",")
    found = answer("-c", install(name, tmp_path), *words)
    assert (found["verdict"], found["rule"] or "-") == (verdict, rule), found
    assert found["would_deny"] == would_deny


def access_rules(path):
    text = re.split(r"^\[access\]$", path.read_text(encoding="utf-8"), flags=re.M)
    found = re.findall(r"^([^;#\s]\S*)\s*=", re.split(r"^\[", text[1], flags=re.M)[0], flags=re.M)
    return set(found) if len(text) > 1 else set()


@pytest.mark.parametrize("name", ["example", "office", "sandbox"])
def test_every_rule_of_an_example_decides_a_case(name):
    table = (CONF / "tests" / f"{name}.cases").read_text(encoding="utf-8")
    decided = {line.split()[1] for line in table.splitlines() if line and line[0] != "#"}
    assert access_rules(CONF / f"{name}.ini") <= decided


@pytest.mark.parametrize("name", EXAMPLES)
def test_example_is_fit_to_serve(name, tmp_path):
    path = install(name, tmp_path)
    result = subprocess.run([binary(), "check", "-c", path], capture_output=True, text=True,
                            timeout=30, check=False)
    *warnings, last = result.stdout.splitlines()
    assert (result.returncode, result.stderr, last) == (0, "", f"{path}: ok")
    # Passwords cross the office in clear text: that is what its administrators have to decide.
    expected = ["access.admins: asks for passwords"] if name == "office" else []
    assert len(warnings) == len(expected)
    assert all(text in line for text, line in zip(expected, warnings))


# ---- What it shows ----


def test_text_is_short_and_has_all(rules):
    result = explain("-c", rules, "--resolve", "192.168.1.1,93.184.216.34", "http://example.com/")
    assert result.returncode == 0
    assert result.stdout == (
        f"ALLOWED by world at {rules}:5\n"
        "  request     GET http://example.com/\n"
        "  client      127.0.0.1 on listener local, without credentials\n"
        "  address     192.168.1.1    denied by builtin:private-address\n"
        f"              93.184.216.34  allowed by world at {rules}:5\n"
    )


def test_text_of_a_denial_names_the_nearest_rule(rules):
    result = explain("-c", rules, "--resolve", "93.184.216.34", "example.com:22")
    assert result.returncode == 1
    assert result.stdout == (
        "DENIED by builtin:default: no rule allows it\n"
        "  request     CONNECT example.com:22\n"
        "  client      127.0.0.1 on listener local, without credentials\n"
        "  address     93.184.216.34  denied by builtin:default\n"
        f"  nearest     world at {rules}:5, but for 'port 80,443'\n"
        "              allow from loopback port 80,443\n"
    )


def test_json_has_the_same_members_whatever_the_answer(rules):
    allowed = answer("-c", rules, "--resolve", "93.184.216.34", "http://example.com/")
    denied = answer("-c", rules, "http://ads.example/")
    open_end = answer("-c", rules, "-o", "access.world=allow time mon port 80",
                      "--resolve", "93.184.216.34", "http://example.com/")
    assert list(allowed) == list(denied) == list(open_end)
    assert allowed["origin"] == f"{rules}:5"
    assert allowed["addresses"] == [{
        "address": "93.184.216.34", "verdict": "allow", "rule": "world", "origin": f"{rules}:5",
        "details": None,
    }]
    assert allowed["nearest"] is None
    assert (denied["rule"], denied["addresses"], denied["dns"]) == ("ads", [], None)
    assert denied["nearest"]["rule"] == "local"
    assert (open_end["missing"], open_end["rule"]) == ("time", None)


def on_terminal(*args, **env):
    """What a terminal would show."""
    master, slave = pty.openpty()
    with os.fdopen(master, "rb", buffering=0) as screen:
        environment = {key: value for key, value in os.environ.items() if key != "NO_COLOR"}
        result = explain(*args, stdout=slave, env={**environment, **env})
        os.close(slave)
        assert result.stderr == ""
        return screen.read(65536).decode()


def test_colours_are_for_terminals_and_for_who_wants_them(rules):
    question = ("-c", rules, "--resolve", "93.184.216.34", "http://example.com/")
    assert on_terminal(*question).startswith("\033[1;32mALLOWED\033[0m by world")
    assert on_terminal(*question, NO_COLOR="").startswith("\033[1;32mALLOWED\033[0m by world")
    assert "\033" not in on_terminal(*question, NO_COLOR="1")
    assert "\033" not in on_terminal("--json", *question)
    assert "\033" not in explain(*question).stdout


# ---- Exit status ----


@pytest.mark.parametrize("words", [
    [], ["example.com"], ["http://example.com/", "http://example.org/"], ["--client", "x", "a.example:1"],
    ["--listener", "wan", "a.example:1"], ["--time", "noon", "a.example:1"], ["--resolve", "b", "a.example:1"],
    ["--method", "get", "http://a.example/"], ["-s", "/run/viaduct/admin.sock", "a.example:1"],
    ["--verbose", "a.example:1"], ["ftp://a.example/"], ["http://a\n\033[31m.example/"], ["--show-secrets", "a.example:1"],
])
def test_wrong_usage_is_2_with_one_line(rules, words):
    result = explain("-c", rules, *words)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith("viaduct: ")
    assert result.stderr.count("\n") == 1
    assert "\033" not in result.stderr


def test_wrong_configuration_is_78_with_every_error(tmp_path):
    path = tmp_path / "wrong.ini"
    path.write_text("[access]\na = allow hosts missing.txt\nb = permit\n", encoding="utf-8")
    result = explain("-c", path, "http://example.com/")
    assert (result.returncode, result.stdout) == (78, "")
    assert f"{path}:2: access.a: hosts {tmp_path}/missing.txt: No such file" in result.stderr
    assert f"{path}:3: access.b: " in result.stderr


def test_a_file_is_named_however_deep_it_lies(tmp_path):
    directory = tmp_path / ("d" * 250) / ("e" * 250) / ("f" * 250)
    directory.mkdir(parents=True)
    path = directory / "deep.ini"
    path.write_text("[access]\na = deny\na = deny\nb = deny port 80\n", encoding="utf-8")
    result = explain("-c", path, "http://example.com/")
    assert f"{path}:3: access.a: there is a rule of this name already, at {path}:2\n" in result.stderr
    path.write_text("[access]\na = deny\nb = deny port 80\n", encoding="utf-8")
    check = subprocess.run([binary(), "check", "-c", path], capture_output=True, text=True, timeout=30,
                           check=False)
    assert check.stdout.startswith(f"{path}:3: warning: access.b: never decides, because access.a at {path}:2 ")


def test_what_cannot_be_told_is_no_permission(rules):
    with open("/dev/full", "w", encoding="utf-8") as full:
        result = explain("-c", rules, "--resolve", "93.184.216.34", "http://example.com/", stdout=full)
    assert result.returncode == 3
    assert "No space left" in result.stderr


def test_unknown_user_is_said(tmp_path):
    path = install("office", tmp_path)
    question = ("-c", path, "--client", "10.1.0.7", "--resolve", "93.184.216.34", "a.example:22")
    assert "user anna\n" in explain("--user", "anna", *question).stdout
    assert "user dora (not in auth.users)\n" in explain("--user", "dora", *question).stdout


def test_credentials_count_where_a_rule_asks_for_them(lab, tmp_path):
    """As on the wire: where nobody asks, a request is judged as one without them."""
    (tmp_path / "users").write_text(USERS, encoding="utf-8")
    (tmp_path / "hosts").write_text("127.0.0.1 two.example\n127.0.0.2 two.example\n", encoding="utf-8")
    origin = lab.origin()
    config = f"""
[auth]
users = {tmp_path}/users
[dns]
hosts = {tmp_path}/hosts
[access]
anna = allow user anna to 127.0.0.2
seen = report user anna,bert
open = allow to 127.0.0.1 method GET
bert = deny user bert
"""
    proxy = lab.fresh(config=config)
    question = ("-c", proxy.config, "--user")
    field = [("Proxy-Authorization", "Basic YW5uYTp4")]  # anna:x
    url, other = f"http://two.example:{origin.port}/", f"http://127.0.0.3:{origin.port}/"

    found = answer(*question, "anna", url)
    assert [(row["verdict"], row["rule"]) for row in found["addresses"]] == [
        ("allow", "open"), ("challenge", "anna"),
    ]
    assert found["would_deny"] == []
    assert " user anna (no rule asks who that is)\n" in explain(*question, "anna", url).stdout
    response = lab.client(proxy).get(url, field)
    line = proxy.wait_request(url)
    assert (response.status, line["rule"], line["user"], line["would_deny"]) == (200, "open", "-", "-")

    found = answer(*question, "anna", other)
    assert (found["verdict"], found["rule"], found["would_deny"]) == ("deny", "builtin:default", ["seen"])
    assert " user anna\n" in explain(*question, "anna", other).stdout
    response = lab.client(proxy).get(other, field)
    line = proxy.wait_request(other)
    assert (response.status, line["rule"], line["user"], line["would_deny"]) == (
        403, "builtin:default", "anna", "seen",
    )


# ---- Names ----


@pytest.fixture
def dns():
    with DnsServer() as server:
        yield server


def ask_dns(dns, rules, *words):
    return answer("-c", rules, "-o", f"dns.servers={dns.address}", *words)


def test_resolves_as_the_proxy_does(dns, rules):
    dns.add("both.example", a=["93.184.216.34"], aaaa=["2606:2800:21f::1"])
    found = ask_dns(dns, rules, "http://both.example/")
    assert (found["verdict"], found["dns"]) == ("allow", "ok")
    assert [row["address"] for row in found["addresses"]] == ["2606:2800:21f::1", "93.184.216.34"]
    assert (dns.count("both.example", "A"), dns.count("both.example", "AAAA")) == (1, 1)
    found = ask_dns(dns, rules, "-o", "dns.family=ipv4", "http://both.example/")
    assert [row["address"] for row in found["addresses"]] == ["93.184.216.34"]


def test_a_name_that_does_not_resolve_is_not_decided(dns, rules):
    dns.add("empty.example", a=[], aaaa=[])
    for name, status in (("nowhere.example", "nxdomain"), ("empty.example", "nodata")):
        found = ask_dns(dns, rules, f"http://{name}/")
        assert (found["verdict"], found["missing"], found["dns"]) == ("undecided", "address", status)
        result = explain("-c", rules, "-o", f"dns.servers={dns.address}", f"http://{name}/")
        assert result.stdout.startswith(f"NOT DECIDED: the name does not resolve ({status})\n")


def test_asks_for_no_name_that_need_not_be_known(dns, rules):
    assert ask_dns(dns, rules, "http://ads.example/")["rule"] == "ads"
    assert ask_dns(dns, rules, "http://93.184.216.34/")["rule"] == "world"
    assert ask_dns(dns, rules, "http://localhost/")["rule"] == "local"
    assert ask_dns(dns, rules, "--resolve", "93.184.216.34", "http://a.example/")["rule"] == "world"
    assert not dns.queries


# ---- The proxy ----


def test_the_proxy_does_what_explain_says(dns, lab, rules):
    """The same rules, the same requests: asked, and made."""
    dns.add("private.example", a=["10.9.9.9"], aaaa=[])
    dns.add("here.example", a=["127.0.0.1"], aaaa=[])
    origin = lab.origin()
    options = (f"dns.servers={dns.address}", f"access.local=allow from loopback to loopback port {origin.port}")
    proxy = lab.fresh(*options, config=RULES)
    for url, rule in [
        ("http://ads.example/", "ads"),
        ("http://private.example/", "builtin:private-address"),
        ("http://private.example:8080/", "builtin:default"),
        ("http://here.example/", "builtin:private-address"),
        ("http://2130706433/", "builtin:private-address"),
        (f"http://here.example:{origin.port}/", "local"),
        (f"http://127.1:{origin.port}/", "local"),
    ]:
        assert answer("-c", rules, "-o", options[0], "-o", options[1], url)["rule"] == rule, url
        response = lab.client(proxy).get(url)
        assert response.status == (200 if rule == "local" else 403), url
        assert proxy.wait_request(url)["rule"] == rule


@pytest.mark.parametrize("method", ["GET", "M-SEARCH", "QUERY", "DESCRIBE", "PRI", "FOO"])
def test_a_method_that_the_proxy_does_not_know_is_never_allowed(lab, rules, method):
    """It is judged by no rule: 501."""
    proxy = lab.fresh(config=RULES)
    client = lab.client(proxy)
    client.request(method, "http://ads.example/")
    known = client.read_response().status == 403
    result = explain("-c", rules, "--method", method, "http://ads.example/")
    assert result.returncode == (1 if known else 2), result.stderr


# ---- The manual ----


def manual_examples():
    """The literal blocks of the page's examples: (heading, their text)."""
    page = (ROOT / "man" / "viaduct-policy.5").read_text(encoding="utf-8")
    for part in page.split(".Sh EXAMPLES\n")[1].split(".Sh ")[0].split(".Ss ")[1:]:
        heading = part.splitlines()[0]
        blocks = re.findall(r"^\.Bd -literal\n(.*?)^\.Ed$", part, flags=re.M | re.S)
        yield pytest.param([block.replace("\\e", "\\") for block in blocks], id=heading)


@pytest.mark.parametrize("blocks", manual_examples())
def test_the_manual_shows_what_is_so(blocks, tmp_path):
    """A block is the rules, a file that begins with its name, or a question with its answer."""
    (tmp_path / "users").write_text(USERS, encoding="utf-8")
    questions = 0
    for block in blocks:
        if block.startswith("$ viaduct explain "):
            end = re.search(r"[^\\]\n", block).end()
            words = shlex.split(block[len("$ viaduct explain ") : end].replace("\\\n", " "))
            assert explain(*words, cwd=tmp_path).stdout == block[end:], block
            questions += 1
        else:
            name = block[2:].splitlines()[0] if block.startswith("# ") else "rules.ini"
            (tmp_path / name).write_text(block, encoding="utf-8")
    assert questions > 0
