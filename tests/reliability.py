"""The fault bench: which tests inject which fault, and the page that says what came of them.

A test that injects a fault of `catalogue.FAULTS` is marked ``@pytest.mark.fault("its name")``,
wherever it stands. ``pytest -m fault --reliability=docs/reliability.md`` runs them all and writes
the table.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from faults.catalogue import FAULTS

BEGIN, END = (
    "<!-- written by the fault bench: begin -->",
    "<!-- written by the fault bench: end -->",
)
_outcomes = pytest.StashKey[dict[str, Counter]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--reliability", type=Path, help="Write the fault bench's table to this page.")
    parser.addoption(
        "--fuzz-cases",
        type=int,
        default=None,
        help="Cases for each parser; default: a few hundred.",
    )
    parser.addoption(
        "--fuzz-minutes", type=float, default=None, help="Minutes for each parser, of new cases."
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "fault(name): injects a fault of tests/faults/catalogue.py")
    config.stash[_outcomes] = {fault.name: Counter() for fault in FAULTS}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    known = {fault.name for fault in FAULTS}
    for item in items:
        for mark in item.iter_markers("fault"):
            if mark.args[0] not in known:
                raise pytest.UsageError(f"{item.nodeid}: there is no fault '{mark.args[0]}'")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: Any) -> Any:
    report = yield
    if report.when == "call" or (report.when == "setup" and report.skipped) or report.failed:
        cases = dict(report.user_properties).get("cases") or _examples(item)
        for mark in item.iter_markers("fault"):
            found = item.config.stash[_outcomes][mark.args[0]]
            found[report.outcome] += 1
            found["cases"] += cases if report.passed else 0
    return report


def _examples(item: pytest.Item) -> int:
    """Return how many cases a test tries: of hypothesis as many as it is set to at most, else 1."""
    function = getattr(item, "function", None)
    if not getattr(function, "is_hypothesis_test", False):
        return 1
    settings = getattr(function, "_hypothesis_internal_use_settings", None)
    return settings.max_examples if settings is not None else 1


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Say how many cases each parser was given in a long form."""
    if config.getoption("--fuzz-minutes") is None:
        return
    for report in terminalreporter.getreports("passed"):
        found = dict(report.user_properties)
        if "cases" in found:
            terminalreporter.write_line(
                f"{found['cases']:>9} cases, {found['ended']} of which ended the process that read "
                f"them: {report.nodeid}"
            )


def pytest_sessionfinish(session: pytest.Session) -> None:
    page = session.config.getoption("--reliability")
    if page is None:
        return
    text = page.read_text()
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    page.write_text(f"{before}{BEGIN}\n{_table(session.config.stash[_outcomes])}{END}{after}")


def _table(outcomes: dict[str, Counter]) -> str:
    lines = ["| fault | promise | tests | cases | result |", "|---|---|---|---|---|"]
    for fault in FAULTS:
        found = outcomes[fault.name]
        n = sum(found[k] for k in ("passed", "failed", "skipped"))
        words = [f"**{found['failed']} failed**"] if found["failed"] else []
        if found["passed"]:
            words.append("held" if not found["failed"] else f"{found['passed']} held")
        if found["skipped"]:
            words.append(f"{found['skipped']} skipped")
        result = ", ".join(words) or "**no test**"
        lines.append(f"| {fault.what} | {fault.promise} | {n} | {found['cases']} | {result} |")
    return "\n".join(lines) + "\n"
