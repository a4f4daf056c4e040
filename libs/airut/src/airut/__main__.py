"""`python -m airut`: the `airut` command."""

from airut.cli import main

if __name__ == "__main__":
    main()
