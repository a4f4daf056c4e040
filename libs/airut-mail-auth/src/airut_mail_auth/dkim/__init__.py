"""DKIM (RFC 6376, 8301, 8463): `signatures.py`, `keys.py` and `canonical.py` are pure, `check.py` has effects."""
