"""The key of surrogates."""

from pathlib import Path

import pytest

from airut_egress_proxy.keys import KEY_BYTES, installation_key


def test_the_key_is_made_once_and_is_private(tmp_path: Path) -> None:
    path = tmp_path / "surrogates.key"
    key = installation_key(path)
    assert len(key) == KEY_BYTES
    assert path.stat().st_mode & 0o777 == 0o600
    assert installation_key(path) == key
    assert list(tmp_path.iterdir()) == [path]


def test_a_damaged_key_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "surrogates.key"
    path.write_bytes(b"short")
    with pytest.raises(ValueError, match="32 bytes"):
        installation_key(path)
    assert path.read_bytes() == b"short"
