"""ARC (RFC 8617): `sets.py` is pure, `chain.py` verifies over the DNS, `trust.py` decides what a chain is worth."""
