"""AWS Signature Version 4 and 4A: a surrogate's signature is verified, and the real key's put in its place.

Pure: no clock, no network, no state but that of one body. See field notes, section 5.
"""

from airut_egress.swap import Refused

from .body import BodyCheck, BodyRule
from .chunked import MAX_SIGNED_CHUNK, ChunkedResigner
from .claims import AUTH_PARAMETERS, find_key_id
from .keys import KeyPair
from .resigning import MAX_SKEW, Resigned, resign

__all__ = [
    "AUTH_PARAMETERS",
    "MAX_SIGNED_CHUNK",
    "MAX_SKEW",
    "BodyCheck",
    "BodyRule",
    "ChunkedResigner",
    "KeyPair",
    "Refused",
    "Resigned",
    "find_key_id",
    "resign",
]
