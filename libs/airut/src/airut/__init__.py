"""The airut command: run, check, configure and watch an installation."""
