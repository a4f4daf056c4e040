"""SPF (RFC 7208): `record.py` and `macros.py` are pure, `check.py` evaluates over a `Resolver`.

An evaluator of our own, because pyspf blocks a thread in every lookup, reads the network through a module global and
caps neither the work of one check nor its time. It is measured by the public test suite for RFC 7208.
"""
