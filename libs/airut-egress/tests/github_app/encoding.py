"""Node ids as GitHub makes them, written here independently of the reader."""

import base64


def packed(*elements: int | str) -> bytes:
    """A MessagePack array, https://github.com/msgpack/msgpack/blob/master/spec-old.md."""
    assert len(elements) < 16
    return bytes([0x90 | len(elements)]) + b"".join(map(_packed, elements))


def _packed(element: int | str) -> bytes:
    if isinstance(element, str):
        raw = element.encode()
        return bytes([0xA0 | len(raw)]) + raw if len(raw) < 32 else b"\xda" + len(raw).to_bytes(2) + raw
    if element < 128:
        return bytes([element])
    width = next(width for width in (1, 2, 4, 8) if element < 256**width)
    return {1: b"\xcc", 2: b"\xcd", 4: b"\xce", 8: b"\xcf"}[width] + element.to_bytes(width)


def new(prefix: str, payload: bytes) -> str:
    return f"{prefix}_{base64.urlsafe_b64encode(payload).decode().rstrip('=')}"


def old(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def issue(repository: int) -> str:
    return new("I", packed(0, repository, 7))
