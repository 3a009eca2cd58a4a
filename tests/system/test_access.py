# SPDX-License-Identifier: MIT
"""The rules of [access] on the wire: who is let through, and that every refusal says by which rule.
The whole language is pinned by tests/data/policy.txt; here is what the proxy makes of a verdict."""

import pytest

from dns_server import DnsServer
from wire import response_bytes

OK = response_bytes(body=b"ok")


@pytest.fixture
def dns():
    with DnsServer() as server:
        yield server


def start(lab, dns, *rules):
    return lab.viaduct(f"dns.servers={dns.address}", "timeouts.dns=3s", *rules)


def ask(lab, proxy, target, method="GET"):
    client = lab.client(proxy)
    client.request(method, target)
    return client.read_response(to=method)


@pytest.mark.parametrize("method", ["GET", "CONNECT"])
def test_report_lines_are_told_and_decide_nothing(lab, dns, method):
    origin = lab.origin(OK)
    dns.add("www.test", a=["127.0.0.1"])
    proxy = start(
        lab,
        dns,
        "access.first=report from loopback host .test",
        "access.other=report from loopback host .example",
        "access.inside=report from loopback to loopback",
        "access.local=allow from loopback to any",
    )
    target = f"www.test:{origin.port}"
    url = target if method == "CONNECT" else f"http://{target}/"
    client = lab.client(proxy)
    client.request(method, url)
    assert client.read_response(to=method).status == 200
    client.close()
    line = proxy.wait_request(url)
    assert (line["rule"], line["would_deny"], line["end"]) == ("local", "first,inside", "complete")


def test_report_lines_above_a_refusal_are_told(lab, dns):
    proxy = start(
        lab, dns, "access.learn=report host .test", "access.no=deny port 81", "access.yes=allow"
    )
    assert ask(lab, proxy, "http://www.test:81/").status == 403
    line = proxy.wait_request("http://www.test:81/")
    assert (line["rule"], line["would_deny"], line["end"]) == ("no", "learn", "denied")
    assert dns.count() == 0


@pytest.mark.parametrize("method", ["GET", "CONNECT"])
def test_refusal_names_its_rule(lab, dns, method):
    proxy = start(lab, dns, "access.ads=deny host .ads.test", "access.yes=allow port 80")
    target = "www.ads.test:80" if method == "CONNECT" else "http://www.ads.test/"
    response = ask(lab, proxy, target, method)
    assert (response.status, response.reason) == (403, "Denied by rule ads")
    assert "http_request_denied" in response.get("Proxy-Status")
    assert b"ads" in response.body
    assert proxy.wait_request(target)["rule"] == "ads"
    assert dns.count() == 0


def test_name_that_leads_inside_is_refused(lab, dns):
    """DNS rebinding: what is judged is the address that would be dialled."""
    origin = lab.origin(OK)
    dns.add("inside.test", a=["127.0.0.1"])
    dns.add("both.test", a=["127.0.0.1", "10.0.0.1"])
    proxy = start(lab, dns, "access.out=allow from loopback")
    for name in ("inside.test", "both.test"):
        url = f"http://{name}:{origin.port}/"
        response = ask(lab, proxy, url)
        assert (response.status, response.reason) == (403, "Denied by rule builtin:private-address")
        assert b"127.0.0.1" not in response.body and b"10.0.0.1" not in response.body
        line = proxy.wait_request(url)
        assert (line["rule"], line["upstream"]) == ("builtin:private-address", "-")
    assert origin.peers == []


@pytest.mark.parametrize(
    "spelling", ["2130706433", "0x7f000001", "0177.0.0.1", "127.1", "0", "[::ffff:127.0.0.1]", "localhost."]
)
def test_spellings_of_an_inner_address(lab, dns, spelling):
    origin = lab.origin(OK)
    proxy = start(lab, dns, "access.out=allow from loopback")
    response = ask(lab, proxy, f"http://{spelling}:{origin.port}/")
    assert response.status in (400, 403)
    assert origin.peers == []
    assert dns.count() == 0


def test_only_allowed_addresses_are_dialled(lab, dns):
    """Of two addresses the one that no rule allows is passed over, though it would answer."""
    origin = lab.origin(OK)
    dns.add("two.test", a=["127.0.0.2", "127.0.0.1"])
    proxy = start(lab, dns, "access.one=allow from loopback to 127.0.0.1")
    url = f"http://two.test:{origin.port}/"
    assert ask(lab, proxy, url).status == 200
    line = proxy.wait_request(url)
    assert (line["rule"], line["upstream"]) == ("one", f"127.0.0.1:{origin.port}")


def test_rules_are_asked_for_every_request_of_a_connection(lab, dns):
    origin = lab.origin(OK)
    proxy = start(
        lab, dns, "access.no=deny method DELETE", "access.local=allow from loopback to loopback"
    )
    client = lab.client(proxy)
    for method, status in (("GET", 200), ("DELETE", 403), ("GET", 200)):
        client.request(method, origin.url())
        assert client.read_response(to=method).status == status


def test_a_list_decides(lab, dns, tmp_path):
    names = tmp_path / "ads.txt"
    names.write_text("0.0.0.0 ads.test\n||track.test^\n=exact.test\n")
    proxy = start(lab, dns, f"access.ads=deny hosts {names}", "access.yes=allow")
    for name, rule in (
        ("ads.test", "ads"),
        ("a.track.test", "ads"),
        ("exact.test", "ads"),
    ):
        assert ask(lab, proxy, f"http://{name}/").reason == f"Denied by rule {rule}"
    dns.add("www.exact.test", a=["127.0.0.1"])
    response = ask(lab, proxy, "http://www.exact.test/")
    assert response.reason == "Denied by rule builtin:private-address"


def test_explain_class_and_none_keep_the_name(lab, dns):
    for explain, phrase in (("class", "Denied by a rule"), ("none", "Forbidden")):
        proxy = start(lab, dns, f"server.explain={explain}", "access.secret=deny", "access.x=allow")
        client = lab.client(proxy)
        client.request("GET", "http://www.test/")
        response = client.read_response()
        assert (response.status, response.reason) == (403, phrase)
        assert b"secret" not in response.body
        assert "secret" not in str(response.get("Proxy-Status"))
        assert proxy.wait_request("http://www.test/")["rule"] == "secret"
