"""A Podman that does something else than it is told: `python flag_changer.py PREFIX REPLACEMENT ARGUMENTS…`.

Of the arguments to `podman create`, those that begin with PREFIX are replaced; an empty REPLACEMENT removes them.
For tests that show that a sandbox with the wrong flags never runs anything. Standard library only.
"""

import os
import sys


def main(prefix: str, replacement: str, arguments: list[str]) -> None:
    """Become Podman."""
    if arguments[:1] == ["create"]:
        end = arguments.index("--")
        options = [replacement if option.startswith(prefix) else option for option in arguments[:end]]
        arguments = [option for option in options if option] + arguments[end:]
    os.execvp("podman", ["podman", *arguments])  # noqa: S606 - no shell is wanted


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
