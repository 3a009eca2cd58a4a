# SPDX-License-Identifier: MIT
"""Several workers share the work, over sockets of their own and over one that they share."""

from pathlib import Path

import pytest

from wire import wait_until


def wake_ups(proxy):
    """{thread: how often it has woken up}"""
    counts = {}
    for thread in proxy.threads():
        text = Path(f"/proc/{proxy.pid}/task/{thread}/status").read_text()
        counts[thread] = sum(
            int(line.split()[1]) for line in text.splitlines() if "voluntary_ctxt_switches" in line
        )
    return counts


@pytest.mark.notsan  # it has a thread of its own
@pytest.mark.parametrize("workers", [1, 4])
def test_number_of_workers(lab, workers):
    """Beside the main thread, which may have another of its name from the thread sanitizer."""
    proxy = lab.fresh(f"server.workers={workers}")
    expected = ["viaduct-log", *(f"viaduct-{n}" for n in range(workers))]

    def ours():
        return [name for name in proxy.threads().values() if name != "viaduct"]

    wait_until(lambda: len(ours()) >= len(expected), "the threads")
    assert sorted(ours()) == sorted(expected)


@pytest.mark.parametrize("address", ["127.0.0.1:0", "unix:{tmp}/proxy.sock"])
def test_two_workers_both_serve(lab, tmp_path, address):
    """Workers are told apart by the ids they give: WORKER-NUMBER."""
    proxy = lab.fresh(f"listen test.address={address.format(tmp=tmp_path)}", "server.workers=2")
    origin = lab.origin()
    where = str(tmp_path / "proxy.sock") if address.startswith("unix") else proxy.address

    def both_have_served():
        clients = [lab.client(where) for _ in range(50)]
        for client in clients:
            client.request("GET", origin.url())
        for client in clients:
            assert client.read_response().status == 200
            client.close()
        return len({line["id"].split("-")[0] for line in proxy.find_lines(event="request")}) == 2

    before = wake_ups(proxy)
    wait_until(both_have_served, "requests at both workers")
    after = wake_ups(proxy)
    assert sum(after[thread] > before[thread] for thread in before) >= 2


def test_each_worker_has_a_pool(lab):
    proxy = lab.fresh("server.workers=2")
    origin = lab.origin()
    for _ in range(60):
        assert lab.client(proxy).get(origin.url()).status == 200
    assert len(origin.peers) <= 2
