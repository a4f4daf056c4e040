"""Fixtures that several packages' tests ask for, and their order; pytest takes plugins from the root alone."""

from collections import Counter

import pytest
from hypothesis import settings

pytest_plugins = ["airut_common.testing.fixtures", "airut_mail_auth.testing.fixtures"]

# A slow moment of the machine is no finding: where the time matters, a test has a bound of its own.
settings.register_profile("airut", deadline=None)
settings.load_profile("airut")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Modules that may take longest begin first, so that no worker is left alone with one at the end: those with
    the longest bound for a test, then those with the most tests."""
    bounds: dict[str, float] = {}
    tests = Counter(_module(item) for item in items)
    for item in items:
        marker = item.get_closest_marker("timeout")
        bounds[_module(item)] = max(bounds.get(_module(item), 0), marker.args[0] if marker is not None else 0)
    items.sort(key=lambda item: (-bounds[_module(item)], -tests[_module(item)]))


def _module(item: pytest.Item) -> str:
    return item.nodeid.partition("::")[0]


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    """Where tests run on workers, their names stand nowhere before the end."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if reporter is not None and config.pluginmanager.has_plugin("dsession"):
        config.pluginmanager.register(_NamesFailures(reporter))


class _NamesFailures:
    """Names each failed test at once: the whole suite takes a while."""

    def __init__(self, reporter: pytest.TerminalReporter) -> None:
        self._reporter = reporter

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self._reporter.ensure_newline()
            self._reporter.write_line(f"failed: {report.nodeid} ({report.when})")
