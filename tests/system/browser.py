# SPDX-License-Identifier: MIT
"""Debian's Chromium, without a window, behind a proxy.

    with Browser(program("chromium"), proxy.url) as browser:
        browser.open("http://site.test/")
        assert "hello" in browser.text()

Driven by the DevTools protocol over a pair of pipes (descriptors 3 and 4 of the browser; a zero
byte ends each message), so that no port and no further program is needed.
"""

import json
import os
import signal
import subprocess
import tempfile
import threading
from pathlib import Path

from wire import DEADLINE, wait_until

# No sandbox: the tests may run as root, and all pages are theirs. What Chromium asks of its maker
# goes through the proxy like everything else and is refused there; most of it is switched off.
OPTIONS = """
    --headless --no-sandbox --disable-gpu --disable-dev-shm-usage --disable-quic --no-first-run
    --disable-background-networking --disable-component-update --disable-sync --disable-extensions
    --disable-default-apps --no-pings --remote-debugging-pipe --window-size=900,600
    --ignore-certificate-errors --disable-features=HttpsUpgrades
""".split()

# Debian's launcher reads what is installed for everybody; the home is the browser's own.
ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"}


def ignore(_):
    pass


class BrowserError(AssertionError):
    """The browser answered a command with an error, or a page's script failed."""


class Browser:
    """One Chromium with a home of its own and one page."""

    def __init__(self, program, proxy_url):
        # Not in the test's own directory: the browser makes a unix socket there, and a path may be
        # too long for one.
        self.home = tempfile.TemporaryDirectory(
            prefix="viaduct-browser-", ignore_cleanup_errors=True
        )
        self.errors_path = Path(self.home.name) / "stderr"
        self.messages = []  # all that is no answer, in order
        self.answers = {}
        self.handlers = {}  # by method; each is called as its event comes and may only send()
        self.changed = threading.Condition()
        self.sending = threading.Lock()
        self.ended = False
        self.number = 0
        self.session = None
        self._start(
            [
                program,
                *OPTIONS,
                f"--user-data-dir={self.home.name}/profile",
                f"--proxy-server={proxy_url}",
                "--proxy-bypass-list=<-loopback>",
                "about:blank",
            ],
            {**ENVIRONMENT, "HOME": self.home.name, "TMPDIR": self.home.name},
        )
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()
        try:
            self._attach()
        except BaseException:
            self.kill()
            raise

    def _start(self, command, environment):
        """Standard input and output become the browser's descriptors 3 and 4."""
        with open(self.errors_path, "wb") as errors:
            self.process = subprocess.Popen(
                ["/bin/sh", "-c", 'exec "$@" 3<&0 4>&1 </dev/null >/dev/null', "sh", *command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=environment,
                start_new_session=True,
                bufsize=0,
            )

    def _attach(self):
        def find_page():
            targets = self.call("Target.getTargets", browser=True)["targetInfos"]
            return next((t["targetId"] for t in targets if t["type"] == "page"), None)

        page = wait_until(find_page, "a page of the browser")
        self.session = self.call(
            "Target.attachToTarget", browser=True, targetId=page, flatten=True
        )["sessionId"]
        for domain in ("Page", "Runtime", "DOM"):
            self.call(f"{domain}.enable")
        self.call("Page.setLifecycleEventsEnabled", enabled=True)

    # The protocol

    def _read(self):
        try:
            self._read_messages()
        except BrokenPipeError:
            pass  # a handler had something to say, and nobody was there
        with self.changed:
            self.ended = True
            self.changed.notify_all()

    def _read_messages(self):
        rest = b""
        while data := self.process.stdout.read(1 << 20):
            *whole, rest = (rest + data).split(b"\0")
            with self.changed:
                for text in whole:
                    message = json.loads(text)
                    if "id" in message:
                        self.answers[message["id"]] = message
                    else:
                        self.messages.append(message)
                        self.handlers.get(message["method"], ignore)(message["params"])
                self.changed.notify_all()

    def _wait(self, find, what):
        """find() under the lock until it gives something."""
        found = []

        def ready():
            found[:] = [find()]
            return found[0] is not None or self.ended

        with self.changed:
            if not self.changed.wait_for(ready, DEADLINE) or found[0] is None:
                raise BrowserError(f"no {what}; the browser says: {self._errors()}")
        return found[0]

    def _errors(self):
        return self.errors_path.read_text(errors="replace")[-2000:]

    def send(self, method, browser=False, **params):
        """A command to the page, or to the browser as a whole; its number, for answer()."""
        message = {"method": method, "params": params}
        if not browser:
            message["sessionId"] = self.session
        with self.sending:
            self.number += 1
            message["id"] = self.number
            data = json.dumps(message).encode() + b"\0"
            while data:
                data = data[self.process.stdin.write(data) :]
        return message["id"]

    def answer(self, number, what="answer"):
        message = self._wait(lambda: self.answers.pop(number, None), what)
        if "error" in message:
            raise BrowserError(f"{what}: {message['error']}")
        return message["result"]

    def call(self, method, browser=False, **params):
        return self.answer(self.send(method, browser, **params), f"answer to {method}")

    def wait_event(self, method, predicate=lambda params: True):
        """The parameters of the first such event."""

        def find():
            for message in self.messages:
                if message["method"] == method and predicate(message["params"]):
                    return message["params"]
            return None

        return self._wait(find, f"event {method}")

    # What a person does

    def open(self, url, loaded=True):
        """Goes there. The browser's own name for what went wrong (net::ERR_...), or None."""
        answer = self.call("Page.navigate", url=url)
        if loaded:
            self.wait_event(
                "Page.lifecycleEvent",
                lambda event: (event["loaderId"], event["name"]) == (answer["loaderId"], "load"),
            )
        return answer.get("errorText")

    def text(self):
        """What the page shows."""
        return self.evaluate("document.body ? document.body.innerText : ''")

    def wait_text(self, part):
        """On this page or on the next; between the two there is none that could be asked."""

        def is_there():
            try:
                return part in self.text()
            except BrowserError:
                assert not self.ended, self._errors()
                return False

        wait_until(is_there, f"{part!r} on the page")

    def evaluate(self, expression):
        """The value of an expression in the page's script; a promise is awaited."""
        answer = self.call(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True
        )
        if "exceptionDetails" in answer:
            raise BrowserError(f"{expression}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def choose_file(self, selector, path):
        """For a field of a form that takes a file."""
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        node = self.call("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.call("DOM.setFileInputFiles", nodeId=node, files=[str(path)])

    def download(self, url, directory):
        """Returns once the file is there."""
        self.call(
            "Browser.setDownloadBehavior",
            browser=True,
            behavior="allow",
            downloadPath=str(directory),
            eventsEnabled=True,
        )
        self.open(url, loaded=False)
        self.wait_event("Browser.downloadProgress", lambda event: event["state"] == "completed")

    def log_in(self, *credentials):
        """Whoever asks for credentials gets these pairs, one after the other, and then no more.
        Returns the list of those who asked, which grows."""
        asked, left = [], list(credentials)

        def go_on(event):
            self.send("Fetch.continueRequest", requestId=event["requestId"])

        def give(event):
            asked.append(event["authChallenge"])
            answer = {"response": "CancelAuth"}
            if left:
                user, password = left.pop(0)
                answer = {
                    "response": "ProvideCredentials",
                    "username": user,
                    "password": password,
                }
            self.send(
                "Fetch.continueWithAuth",
                requestId=event["requestId"],
                authChallengeResponse=answer,
            )

        self.handlers = {"Fetch.requestPaused": go_on, "Fetch.authRequired": give}
        self.call("Fetch.enable", handleAuthRequests=True)
        return asked

    # Its end

    def close(self):
        """Ends as a browser ends that is told to; its pages are gone then."""
        if not self.ended:
            self.send("Browser.close", browser=True)
            try:
                self.process.wait(DEADLINE)
            except subprocess.TimeoutExpired:
                pass
        self.kill()

    def kill(self):
        """All of its processes at once; they are in a session of their own."""
        if self.process.stdin.closed:
            return
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()
        self.reader.join(DEADLINE)
        self.process.stdin.close()
        self.process.stdout.close()
        self.home.cleanup()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
