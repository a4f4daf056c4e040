"""DMARC (RFC 9989): `record.py` is pure, `walk.py` and `policy.py` ask the DNS."""
