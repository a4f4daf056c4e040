"""Fixtures that every package's tests may ask for; pytest takes plugins from the root alone."""

pytest_plugins = ["airut_common.testing.fixtures"]
