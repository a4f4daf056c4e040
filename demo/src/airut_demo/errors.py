"""What can go wrong with a demo, as sentences for the person who started it.

DemoFailed
└── InstallationFailed    `airut up` did not come up; the text ends with its log
"""


class DemoFailed(Exception):
    """The demo cannot go on; the text says why."""


class InstallationFailed(DemoFailed):
    """`airut up` did not come up; the text ends with its log."""
