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
