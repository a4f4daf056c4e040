"""`python -m airut_orchestrator`: run tasks."""

import sys

from airut_common.lifecycle import run_service
from airut_orchestrator.app import run


def main() -> int:
    """Run until asked to stop; the exit code."""
    return run_service("orchestrator", run)


if __name__ == "__main__":
    sys.exit(main())
