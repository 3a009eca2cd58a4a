# SPDX-License-Identifier: MIT
"""Fixtures of the system tests; see viaduct_harness.py for what they hand out."""

import shutil

import pytest

import viaduct_harness


def pytest_configure(config):
    config.addinivalue_line("markers", "serial: needs the machine for itself; run without -n")
    config.addinivalue_line("markers", "notsan: measures what thread sanitizer makes meaningless")
    config.addinivalue_line("markers", "browser: drives a browser; run by ./dev test --full")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    laboratory = getattr(item, "viaduct_lab", None)
    if laboratory and report.failed:
        for daemon in [*laboratory.used, *laboratory.own]:
            report.sections.append(("viaduct", daemon.describe()))


@pytest.fixture(scope="session")
def shared_daemons():
    """Daemons that several tests use, by their options."""
    daemons = {}
    yield daemons
    faults = []
    for daemon in daemons.values():
        try:
            daemon.stop()
        except AssertionError as fault:
            faults.append(fault)
            daemon.kill()
    if faults:
        raise faults[0]


@pytest.fixture
def lab(request, shared_daemons, tmp_path):
    laboratory = viaduct_harness.Lab(shared_daemons, tmp_path)
    request.node.viaduct_lab = laboratory
    yield laboratory
    faults = laboratory.close()
    if faults:
        raise faults[0]


@pytest.fixture
def program():
    """Finds a program, or fails and says what to install."""

    def find(name, package=None):
        path = shutil.which(name, path="/usr/bin:/bin:/usr/sbin:/sbin:/usr/local/bin")
        if path is None:
            pytest.fail(f"{name} is missing; ./dev test installs the package {package or name}")
        return path

    return find


@pytest.fixture
def figure(record_property):
    """figure(text): a measured figure, printed at the end of the run."""

    def note(text):
        record_property("figure", text)

    return note


def pytest_terminal_summary(terminalreporter):
    figures = [
        value
        for reports in terminalreporter.stats.values()
        for report in reports
        for name, value in getattr(report, "user_properties", ())
        if name == "figure" and getattr(report, "when", "") == "call"
    ]
    if figures:
        terminalreporter.section("figures")
        for text in figures:
            terminalreporter.line(text)
