"""Fixtures that several packages' tests ask for; pytest takes plugins from the root alone."""

from hypothesis import settings

pytest_plugins = ["airut_common.testing.fixtures", "airut_mail_auth.testing.fixtures"]

# A slow moment of the machine is no finding: where the time matters, a test has a bound of its own.
settings.register_profile("airut", deadline=None)
settings.load_profile("airut")
