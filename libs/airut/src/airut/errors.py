"""The one error the command line catches: a sentence for the operator and an exit code."""


class UsageError(Exception):
    """Something the operator can put right; the text says what and how."""


class InstallationBusy(UsageError):
    """Another `airut up` holds this state folder."""
