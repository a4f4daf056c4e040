"""`python -m airut_dashboard`: serve the dashboard."""

import sys

from airut_common.lifecycle import run_service
from airut_dashboard.app import run


def main() -> int:
    """Run until asked to stop; the exit code."""
    return run_service("dashboard", run)


if __name__ == "__main__":
    sys.exit(main())
