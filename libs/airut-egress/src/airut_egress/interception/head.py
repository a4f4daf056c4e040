"""The head of an HTTP/1 request, checked on its raw bytes before anything parses it (field notes 15).

What passes is parsed and written anew, so that an upstream never sees a byte sequence that two parsers could
read in two ways.
"""

import re
from typing import Final

MAX_HEAD_BYTES: Final = 64 * 1024
MAX_HEADERS: Final = 256
_END: Final = b"\r\n\r\n"
_TOKEN: Final = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
# RFC 9112 §3: single spaces, and only the versions that we speak.
_REQUEST_LINE: Final = re.compile(_TOKEN + rb" [^\x00-\x20\x7f]+ HTTP/1\.[01]")
_OTHER_VERSION: Final = re.compile(_TOKEN + rb" [^\x00-\x20\x7f]+ HTTP/[0-9.]+")
_FIELD_NAME: Final = re.compile(_TOKEN)
# A CR may be the last byte of what has arrived so far.
_BARE_CR: Final = re.compile(rb"\r(?!\n|\Z)")
_BARE_LF: Final = re.compile(rb"(?<!\r)\n")
_CONTROL: Final = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


def head_problem(buffer: bytes) -> str | None:
    """What is wrong with the request head at the beginning of a buffer; None as long as nothing is.

    A buffer without the end of the head is judged as far as it goes.
    """
    end = buffer.find(_END)
    head = buffer[:end] if end >= 0 else buffer
    if len(head) > MAX_HEAD_BYTES:
        return f"its head is larger than {MAX_HEAD_BYTES // 1024} KiB"
    if _BARE_LF.search(head) or _BARE_CR.search(head) or (end >= 0 and head.endswith(b"\r")):
        return "its head has a line end that is not CRLF"
    if _CONTROL.search(head):
        return "its head has a control character"
    lines = head.split(b"\r\n")
    if (end >= 0 or len(lines) > 1) and (problem := _request_line_problem(lines[0])):
        return problem
    return _fields_problem(lines[1:]) if end >= 0 else None


def _request_line_problem(line: bytes) -> str | None:
    if _REQUEST_LINE.fullmatch(line):
        return None
    if _OTHER_VERSION.fullmatch(line):
        return "it speaks another version than HTTP/1.1 or HTTP/1.0"
    return "it is not HTTP"


def _fields_problem(lines: list[bytes]) -> str | None:
    if len(lines) > MAX_HEADERS:
        return f"it has more than {MAX_HEADERS} headers"
    seen: set[bytes] = set()
    for line in lines:
        if line[:1] in {b" ", b"\t"}:
            return "it has a folded header line"
        name, colon, value = line.partition(b":")
        if not colon or _FIELD_NAME.fullmatch(name) is None:
            return "it has a malformed header name"
        key = name.lower()
        if key in {b"host", b"content-length", b"transfer-encoding"}:
            if key in seen:
                return f"it has two {key.decode()} headers"
            seen.add(key)
        if key == b"transfer-encoding" and value.strip().lower() != b"chunked":
            return "it has a transfer coding other than chunked"
    if b"content-length" in seen and b"transfer-encoding" in seen:
        return "it has both content-length and transfer-encoding"
    return None
