"""The README's first command, as root and as an unprivileged user (acceptance 1 and 4)."""
