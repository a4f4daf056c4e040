import stat

import nkeys

from airut.identities import ensure_identity, seed_file


def test_a_seed_is_made_once_and_only_its_owner_may_read_it(tmp_path) -> None:
    folder = tmp_path / "keys"
    first = ensure_identity(folder, "admin")
    assert first.startswith("U")
    assert ensure_identity(folder, "admin") == first
    assert ensure_identity(folder, "dashboard") != first
    assert stat.S_IMODE(seed_file(folder, "admin").stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_the_seed_signs_for_the_public_key(tmp_path) -> None:
    public = ensure_identity(tmp_path, "admin")
    pair = nkeys.from_seed(bytearray(seed_file(tmp_path, "admin").read_bytes()))
    assert pair.public_key.decode() == public
    assert pair.verify(b"text", pair.sign(b"text"))
