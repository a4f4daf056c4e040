"""Fixtures that several packages' tests ask for; pytest takes plugins from the root alone."""

pytest_plugins = ["airut_common.testing.fixtures", "airut_mail_auth.testing.fixtures"]
