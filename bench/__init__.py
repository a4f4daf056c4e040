"""Measurements, each beside a baseline from the same run: `python -m bench [mail] [network] [egress]`."""
