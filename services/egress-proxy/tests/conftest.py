pytest_plugins = ["airut_common.testing.fixtures"]
