# SPDX-License-Identifier: MIT
"""Two independent readers of HTTP/1 with one way to ask them: Python's h11 and Node's parser."""

import base64
import json
import shutil
import subprocess
from pathlib import Path

import h11

HEAD_MAX = 1 << 20


class Seen:
    """One message as a reader saw it."""

    def __init__(self, method, target, status, headers, body, complete):
        self.method, self.target, self.status = method, target, status
        self.headers, self.body, self.complete = headers, body, complete

    def what(self):
        return self.method, self.target, self.status, self.body, self.complete

    def __repr__(self):
        start = f"{self.method} {self.target}" if self.method else str(self.status)
        return f"<{start} {self.body[:60]!r}({len(self.body)}) complete={self.complete}>"


class Reading:
    def __init__(self, messages, error):
        self.messages, self.error = messages, error

    def finals(self):
        return [m for m in self.messages if m.status >= 200 or m.status == 101]

    def __repr__(self):
        return f"{self.messages} error={self.error}"


def _fields(pairs):
    return [(name.lower(), value) for name, value in pairs]


def _of_event(event):
    headers = _fields((n.decode("latin-1"), v.decode("latin-1")) for n, v in event.headers)
    if isinstance(event, h11.Request):
        method, target = event.method.decode("latin-1"), event.target.decode("latin-1")
        return Seen(method, target, 0, headers, b"", False)
    interim = event.status_code < 200
    return Seen(None, "", event.status_code, headers, b"", interim)


def h11_requests(data, eof=True):
    """What an origin that is h11 would see."""
    conn = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_MAX)
    messages = []
    conn.receive_data(data)
    if eof:
        conn.receive_data(b"")
    try:
        while True:
            event = conn.next_event()
            if isinstance(event, h11.Request):
                messages.append(_of_event(event))
            elif isinstance(event, h11.Data):
                messages[-1].body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                messages[-1].complete = True
                # It must have answered before it reads on; keep-alive or not is not its business
                # here, so that all that stands in the stream is seen.
                rest = conn.trailing_data[0]
                if not rest:
                    return Reading(messages, None)
                conn = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_MAX)
                conn.receive_data(rest)
                if eof:
                    conn.receive_data(b"")
            else:
                return Reading(messages, None)
    except h11.RemoteProtocolError as error:
        return Reading(messages, str(error))


def h11_responses(data, methods):
    messages = []
    for method in methods:
        conn = h11.Connection(h11.CLIENT, max_incomplete_event_size=HEAD_MAX)
        headers = [("Host", "a")]
        if method == "GET-UPGRADE":
            headers += [("Connection", "upgrade"), ("Upgrade", "websocket")]
        conn.send(
            h11.Request(method="HEAD" if method == "HEAD" else "GET", target="/", headers=headers)
        )
        conn.send(h11.EndOfMessage())
        if not data:
            break
        conn.receive_data(data)
        conn.receive_data(b"")
        try:
            while True:
                event = conn.next_event()
                if isinstance(event, (h11.InformationalResponse, h11.Response)):
                    messages.append(_of_event(event))
                elif isinstance(event, h11.Data):
                    messages[-1].body += bytes(event.data)
                elif isinstance(event, h11.EndOfMessage):
                    messages[-1].complete = True
                    break
                else:
                    return Reading(messages, None)
        except h11.RemoteProtocolError as error:
            return Reading(messages, str(error))
        data = conn.trailing_data[0]
    return Reading(messages, f"{len(data)} bytes more" if data else None)


class Node:
    def __init__(self):
        program = shutil.which("nodejs") or shutil.which("node")
        assert program, "node is missing: install the package nodejs"
        script = Path(__file__).with_name("node_reader.js")
        self.process = subprocess.Popen(
            [program, "--no-deprecation", str(script)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def read(self, jobs):
        """jobs: (role, bytes, methods); a Reading for each."""
        lines = [
            {"role": role, "data": base64.b64encode(data).decode(), "eof": True, "methods": methods}
            for role, data, methods in jobs
        ]
        self.process.stdin.write(json.dumps(lines) + "\n")
        self.process.stdin.flush()
        return [self._reading(one) for one in json.loads(self.process.stdout.readline())]

    @staticmethod
    def _reading(answer):
        messages = []
        for one in answer["messages"]:
            pairs = list(zip(one["headers"][::2], one["headers"][1::2]))
            seen = Seen(
                one["method"], one["target"], one["status"], _fields(pairs), b"", one["complete"]
            )
            seen.body = base64.b64decode(one["body"])
            messages.append(seen)
        error = answer["error"]
        if not error and answer["rest"]:
            error = f"{answer['rest']} bytes more"
        return Reading(messages, error)

    def close(self):
        self.process.stdin.close()
        self.process.wait()
