"""Authentication-Results (RFC 8601): `grammar.py` reads one, `trusted.py` decides which one counts. Both are pure."""
