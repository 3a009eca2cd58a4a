# SPDX-License-Identifier: MIT
"""NTLM and Negotiate authenticate a connection, not a request: an upstream connection on which an
origin asked for one of them, or a client answered with one, serves that one client connection for
as long as it lives, and then nobody."""

import threading
import time

import pytest

from splits import Faults
from wire import request_bytes, response_bytes, wait_until

SCHEMES = ["NTLM", "Negotiate"]
CHALLENGE = "TlRMTVNTUAACAAAA"


class Guarded:
    """An origin that says over which connection each request came, and challenges as NTLM does:
    401 with the scheme, 401 with a token, then whatever comes over that connection is welcome."""

    def __init__(self, lab, scheme="NTLM", field="WWW-Authenticate", challenge=None):
        self.scheme, self.field = scheme, field
        self.challenge = challenge or scheme
        self.seen = []  # (number of the connection, target, credentials)
        self.ended = []
        self.lock = threading.Lock()
        self.origin = lab.origin(self.script)

    def script(self, peer):
        number = peer.origin.peers.index(peer)
        user = None
        while (request := peer.read_request()) is not None:
            credentials = request.get("Authorization")
            with self.lock:
                self.seen.append((number, request.target, credentials))
            fields = [("X-Connection", str(number))]
            if request.target == "/open":
                peer.send(response_bytes(fields=[*fields, ("X-User", str(user))], body=b"ok"))
                continue
            if credentials == f"{self.scheme} one":
                fields.append((self.field, f"{self.scheme} {CHALLENGE}"))
                user = "half"
            elif credentials == f"{self.scheme} two" and user == "half":
                user = "alice"
            elif user != "alice":
                fields.append((self.field, self.challenge))
            status = "200 OK" if user == "alice" else "401 No"
            peer.send(response_bytes(status, [*fields, ("X-User", str(user))], b"body"))
        self.ended.append(number)

    def url(self, path="/secret"):
        return self.origin.url(path)

    def log_in(self, client):
        """The three steps of a client; returns the number of the connection that was used."""
        answers = [
            client.get(self.url(), fields)
            for fields in ([], self.credentials("one"), self.credentials("two"))
        ]
        assert [answer.status for answer in answers] == [401, 401, 200], answers
        assert answers[1].get("WWW-Authenticate") == f"{self.scheme} {CHALLENGE}"
        numbers = {answer.get("X-Connection") for answer in answers}
        assert len(numbers) == 1, f"the steps came over connections {numbers}"
        return int(numbers.pop())

    def credentials(self, step):
        return [("Authorization", f"{self.scheme} {step}")]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_handshake_stays_on_one_connection_and_nobody_else_gets_it(lab, scheme):
    guarded = Guarded(lab, scheme)
    proxy = lab.viaduct()
    alice, mallory = lab.client(proxy), lab.client(proxy)
    number = guarded.log_in(alice)
    for client in (mallory, lab.client(proxy)):
        for path in ("/open", "/secret", "/open"):
            answer = client.get(guarded.url(path))
            assert int(answer.get("X-Connection")) != number and answer.get("X-User") != "alice"
    for _ in range(3):
        answer = alice.get(guarded.url())
        assert answer.status == 200 and int(answer.get("X-Connection")) == number


@pytest.mark.parametrize("step", ["asked", "half", "whole"])
@pytest.mark.parametrize("scheme", SCHEMES)
def test_from_the_first_sign_on(lab, scheme, step):
    """The challenge alone binds, and so do credentials that nobody asked for."""
    guarded = Guarded(lab, scheme)
    proxy = lab.viaduct()
    alice = lab.client(proxy)
    if step == "asked":
        first = alice.get(guarded.url())
    elif step == "half":
        first = alice.get(guarded.url(), guarded.credentials("one"))
    else:
        first = alice.get(guarded.url("/open"), guarded.credentials("one"))
    number = first.get("X-Connection")
    for _ in range(2):
        assert lab.client(proxy).get(guarded.url("/open")).get("X-Connection") != number
    assert alice.get(guarded.url("/open")).get("X-Connection") == number


def test_connection_of_the_pool_is_bound_when_it_is_asked_over_it(lab):
    """One that has served others before, freely."""
    guarded = Guarded(lab)
    proxy = lab.viaduct()
    bob, alice = lab.client(proxy), lab.client(proxy)
    assert bob.get(guarded.url("/open")).get("X-Connection") == "0"
    assert guarded.log_in(alice) == 0
    assert bob.get(guarded.url("/open")).get("X-Connection") == "1"
    assert alice.get(guarded.url()).get("X-User") == "alice"


@pytest.mark.parametrize("how", ["close", "finish", "reset"])
def test_it_ends_with_its_client(lab, how):
    guarded = Guarded(lab)
    proxy = lab.viaduct()
    alice = lab.client(proxy)
    number = guarded.log_in(alice)
    getattr(alice, how)()
    wait_until(lambda: number in guarded.ended, "the bound connection to be closed")
    answer = lab.client(proxy).get(guarded.url())
    assert answer.status == 401 and int(answer.get("X-Connection")) != number


@pytest.mark.parametrize("how", ["close after the response", "1.0"])
def test_it_ends_with_a_client_that_asks_once(lab, how):
    guarded = Guarded(lab)
    proxy = lab.viaduct()
    alice = lab.client(proxy)
    fields = guarded.credentials("one") + ([("Connection", "close")] if how != "1.0" else [])
    alice.request("GET", guarded.url(), fields, version="1.0" if how == "1.0" else "1.1")
    assert alice.read_response().status == 401
    alice.expect_end("fin")
    alice.close()
    wait_until(lambda: guarded.ended == [0], "the bound connection to be closed")
    assert lab.client(proxy).get(guarded.url("/open")).get("X-Connection") == "1"


def test_client_that_goes_while_it_is_served(lab):
    """Its connection carries a request at that moment: it is nobody's afterwards."""
    gate = threading.Event()
    asked = threading.Event()

    def script(peer):
        while (request := peer.read_request()) is not None:
            if request.target == "/slow":
                asked.set()
                assert gate.wait(20)
            fields = [("X-Connection", str(peer.origin.peers.index(peer)))]
            try:
                peer.send(response_bytes(fields=fields, body=b"ok"))
            except OSError:
                return

    origin = lab.origin(script)
    proxy = lab.viaduct()
    alice = lab.client(proxy)
    alice.request("GET", origin.url("/slow"), [("Authorization", "NTLM one")])
    assert asked.wait(20)
    alice.close()
    proxy.wait_request(origin.url("/slow"))
    gate.set()
    assert lab.client(proxy).get(origin.url("/x")).get("X-Connection") == "1"


CHALLENGES = {
    "NTLM": True,
    "ntlm": True,
    "NEGOTIATE": True,
    "Negotiate oYG2MIGzoAMKAQ==": True,
    'Basic realm="x", NTLM': True,
    'NTLM, Basic realm="x"': True,
    'Digest realm="a, b", nonce="c", Negotiate': True,
    ", ,NTLM": True,
    "NTLM\tTlRM": True,
    'Basic realm="x"': False,
    'Digest realm="x", nonce="y", qop="auth"': False,
    "Bearer": False,
    "NTLMv9": False,
}


@pytest.mark.parametrize("kind", ["one field", "two fields"])
def test_challenges(lab, kind):
    """However the challenge is spelled; schemes that authenticate requests leave the connection to
    all."""
    proxy = lab.viaduct()
    faults = Faults()
    for challenge, binds in CHALLENGES.items():
        with faults(challenge):
            fields = [("WWW-Authenticate", challenge)]
            if kind == "two fields":
                fields = [("WWW-Authenticate", 'Basic realm="y"'), ("www-authenticate", challenge)]
            origin = lab.origin(response_bytes("401 No", fields))
            alice, bob = lab.client(proxy), lab.client(proxy)
            for client in (alice, bob, alice, bob):
                assert client.get(origin.url()).status == 401
            assert len(origin.peers) == (2 if binds else 1)
            alice.close()
            bob.close()
            origin.close()
    faults.check()


@pytest.mark.parametrize(
    "credentials, binds",
    [
        ("NTLM TlRM", True),
        ("ntlm TlRM", True),
        ("NTLM", True),
        ("Negotiate YII", True),
        ("negotiate\tYII", True),
        ("Basic bnRsbTp4", False),
        ("Bearer NTLM", False),
    ],
)
def test_credentials(lab, credentials, binds):
    origin = lab.origin()
    proxy = lab.viaduct()
    alice, bob = lab.client(proxy), lab.client(proxy)
    assert alice.get(origin.url(), [("Authorization", credentials)]).status == 200
    assert bob.get(origin.url()).status == 200
    assert alice.get(origin.url()).status == 200
    assert len(origin.peers) == (2 if binds else 1)


def test_each_origin_has_its_own(lab):
    first, second = Guarded(lab), Guarded(lab, "Negotiate")
    proxy = lab.viaduct()
    alice = lab.client(proxy)
    first.log_in(alice)
    second.log_in(alice)
    for guarded in (first, second, first):
        assert alice.get(guarded.url()).get("X-User") == "alice"
    assert len(first.origin.peers) == len(second.origin.peers) == 1


def test_two_clients_that_log_in_have_one_each(lab):
    guarded = Guarded(lab)
    proxy = lab.viaduct()
    clients = [lab.client(proxy) for _ in range(3)]
    assert {guarded.log_in(client) for client in clients} == {0, 1, 2}
    for number, client in enumerate(clients):
        assert client.get(guarded.url()).get("X-Connection") == str(number)


def test_pipelined_requests_stay_on_it(lab):
    guarded = Guarded(lab)
    alice = lab.client(lab.viaduct())
    number = guarded.log_in(alice)
    alice.send(b"".join(request_bytes("GET", guarded.url()) for _ in range(5)))
    for _ in range(5):
        answer = alice.read_response()
        assert answer.status == 200 and answer.get("X-Connection") == str(number)


def test_post_stays_on_it_however_old_it_is(lab):
    """A request that may not be sent twice avoids old connections; on any other than its own this
    one would have to log in again."""
    guarded = Guarded(lab)
    alice = lab.client(lab.viaduct())
    number = guarded.log_in(alice)
    used = time.monotonic()
    wait_until(lambda: time.monotonic() - used > 1.1, "the connection to be old")
    alice.request("POST", guarded.url(), body=b"x")
    answer = alice.read_response()
    assert answer.status == 200 and answer.get("X-Connection") == str(number)


def test_client_goes_on_when_the_origin_ends_it(lab):
    """A new connection then, which must be logged in again, and is bound in its turn."""
    guarded = Guarded(lab)
    proxy = lab.viaduct()
    alice = lab.client(proxy)
    number = guarded.log_in(alice)
    guarded.origin.peers[number].finish()
    guarded.origin.threads[number].join(20)
    again = guarded.log_in(alice)
    assert again != number
    assert lab.client(proxy).get(guarded.url("/open")).get("X-Connection") not in (
        str(number),
        str(again),
    )


def test_proxy_credentials_bind_nothing(lab):
    """Proxy-Authorization ends here, and Proxy-Authenticate of an origin means nothing."""
    origin = lab.origin(response_bytes("407 No", [("Proxy-Authenticate", "NTLM")]))
    proxy = lab.viaduct()
    for _ in range(3):
        client = lab.client(proxy)
        answer = client.get(origin.url(), [("Proxy-Authorization", "NTLM x")])
        assert answer.status == 407 and not answer.has("Proxy-Authenticate")
    assert len(origin.peers) == 1


def test_no_pool_limit_gives_it_away(lab):
    """With room for one idle connection per host, and with room for none, a bound one is kept or
    closed, never shared."""
    for limit in ("pool.idle_per_host=1", "pool.idle_per_host=0"):
        guarded = Guarded(lab)
        proxy = lab.viaduct(limit)
        alice, bob = lab.client(proxy), lab.client(proxy)
        for client in (alice, bob, alice, bob):
            answer = client.get(guarded.url(), guarded.credentials("one"))
            assert answer.status == 401
        by_connection = {}
        for index, (number, _, _) in enumerate(guarded.seen):
            by_connection.setdefault(number, set()).add(index % 2)
        assert all(len(clients) == 1 for clients in by_connection.values()), guarded.seen
