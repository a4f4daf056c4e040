"""What went out is remembered, across a restart, too."""

from datetime import timedelta
from pathlib import Path

from airut_gateway_email import ledger
from airut_gateway_email.ledger import SentLedger


def test_sent_replies_survive_a_restart(tmp_path: Path):
    first = SentLedger(tmp_path / "sent")
    assert "a" not in first
    first.sent("a")
    assert "a" in first
    assert "a" in SentLedger(tmp_path / "sent")
    assert (tmp_path / "sent").stat().st_mode & 0o777 == 0o600


def test_the_file_stays_small(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(ledger, "KEPT", 10)
    (tmp_path / "sent").write_text("".join(f"{n}\n" for n in range(50)))
    kept = SentLedger(tmp_path / "sent")
    assert "49" in kept
    assert "39" not in kept
    assert len((tmp_path / "sent").read_text().split()) == 10


def test_a_full_disk_does_not_lose_what_memory_knows(tmp_path: Path):
    kept = SentLedger(tmp_path / "missing" / "sent")
    kept.sent("a")
    assert "a" in kept


def test_waiting_grows_to_a_limit(tmp_path: Path):
    kept = SentLedger(tmp_path / "sent")
    waits = [kept.next_try("a") for _ in range(40)]
    assert waits[:3] == [timedelta(seconds=5), timedelta(seconds=10), timedelta(seconds=20)]
    assert waits[-1] == timedelta(minutes=15)
    assert kept.next_try("b") == timedelta(seconds=5)
