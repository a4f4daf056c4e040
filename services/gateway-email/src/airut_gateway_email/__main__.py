"""`python -m airut_gateway_email`: run the mail gateway."""

import sys

from airut_common.lifecycle import run_service
from airut_gateway_email.app import NAME, run
from airut_gateway_email.memory import return_large_blocks


def main() -> int:
    """Run until asked to stop; the exit code."""
    return_large_blocks()
    return run_service(NAME, run)


if __name__ == "__main__":
    sys.exit(main())
