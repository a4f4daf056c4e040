"""Mails that two readers would cut differently: smuggling (VU#302671, CVE-2023-51764 to -51766, CVE-2024-27305), line
ends, and headers that come twice. Each carries a true signature of the author's domain where it can."""

from world import ADA, AT, LOVELACE, attack, mail, proven, refused

GOOD = LOVELACE.dkim(mail(), at=AT)
SMUGGLED = b"MAIL FROM:<root@lovelace.example>\r\nRCPT TO:<demo@airut.example>\r\nDATA\r\nFrom: root@lovelace.example\r\n\r\nrm\r\n"
VU = "VU#302671"


def _doubled(name: str, value: str) -> bytes:
    return f"{name}: {value}\r\n".encode() + GOOD


CASES = [
    attack("smuggled-lf-dot-lf", GOOD + b"\n.\n" + SMUGGLED, "malformed", "bare CR or LF", source=VU),
    attack("smuggled-lf-dot-crlf", GOOD + b"\n.\r\n" + SMUGGLED, "malformed", "bare CR or LF", source=VU),
    attack("smuggled-cr-dot-cr", GOOD + b"\r.\r" + SMUGGLED, "malformed", "bare CR or LF", source=VU),
    attack("smuggled-cr-dot-crlf", GOOD + b"\r.\r\n" + SMUGGLED, "malformed", "bare CR or LF", source=VU),
    attack("smuggled-crcrlf", GOOD + b"\r\r\n.\r\r\n" + SMUGGLED, "malformed", "bare CR or LF", source=VU),
    attack("smuggled-nul", GOOD + b"\0\r\n.\r\n" + SMUGGLED, "malformed", "NUL", source=VU),
    attack(
        "bare-lf-in-header",
        GOOD.replace(b"\r\nSubject:", b"\nFrom: mallory@evil.example\r\nSubject:", 1),
        "malformed",
        "bare CR or LF",
        source="RFC 5321 §2.3.8",
    ),
    attack(
        "bare-cr-in-header",
        GOOD.replace(b"The greeting", b"The\rFrom: mallory@evil.example", 1),
        "malformed",
        "bare CR or LF",
    ),
    attack("unix-line-ends", GOOD.replace(b"\r\n", b"\n"), "malformed", "bare CR or LF"),
    attack(
        "two-subjects",
        _doubled("Subject", "Delete everything"),
        "malformed",
        "more than one Subject",
        source="RFC 6376 §8.15",
    ),
    attack(
        "two-dates",
        _doubled("Date", "Sun, 01 Nov 2026 12:00:00 +0000"),
        "malformed",
        "more than one Date",
        source="RFC 6376 §8.15",
    ),
    attack(
        "two-message-ids",
        _doubled("Message-ID", "<2@lovelace.example>"),
        "malformed",
        "more than one Message-Id",
        source="RFC 6376 §8.15",
    ),
    attack("two-tos", _doubled("To", "demo@airut.example"), "malformed", "more than one To"),
    attack(
        "two-content-types",
        _doubled("Content-Type", "text/html"),
        "malformed",
        "more than one Content-Type",
        source="RFC 6376 §8.15",
    ),
    attack("two-mime-versions", _doubled("MIME-Version", "1.0"), "malformed", "more than one Mime-Version"),
    attack("two-transfer-encodings", _doubled("Content-Transfer-Encoding", "base64"), "malformed"),
    attack(
        "two-reply-tos",
        LOVELACE.dkim(mail(extra="Reply-To: ada@lovelace.example\nReply-To: mallory@evil.example"), at=AT),
        "malformed",
    ),
    attack(
        "two-senders",
        LOVELACE.dkim(mail(extra=f"Sender: {ADA}\nSender: mallory@evil.example"), at=AT),
        "malformed",
    ),
    attack(
        "line-without-a-name", GOOD.replace(b"\r\nTo:", b"\r\nnonsense\r\nTo:", 1), "malformed", "no field"
    ),
    attack("header-begins-with-an-empty-line", b"\r\n" + GOOD, "malformed", "no header"),
    refused("eight-bit-subject", GOOD.replace(b"The greeting", b"Der Gru\xdf"), "malformed", "8-bit"),
    refused(
        "line-separator-in-header", GOOD.replace(b"The greeting", "a\u2028b".encode()), "malformed", "control"
    ),
    proven(
        "subject-in-utf8",
        LOVELACE.dkim(mail().replace(b"The greeting", "Der Gruß".encode()), at=AT),
        text="Please fix the greeting.",
        source="RFC 6532",
    ),
    refused("escape-sequence-in-header", GOOD.replace(b"The greeting", b"\x1b[2J"), "malformed", "control"),
    refused("empty", b"", "malformed"),
    refused("too-many-headers", b"X: y\r\n" * 500 + GOOD, "malformed", "header fields"),
    refused("header-too-large", b"X: " + b"y" * 270_000 + b"\r\n" + GOOD, "malformed", "KiB"),
    proven(
        "smtp-words-in-the-text",
        LOVELACE.dkim(mail("MAIL FROM:<root@lovelace.example>\nDATA\nFrom: root@lovelace.example"), at=AT),
        text="MAIL FROM:<root@lovelace.example>\nDATA\nFrom: root@lovelace.example",
    ),
    proven("dots-in-the-text", LOVELACE.dkim(mail("one\n.\n..\ntwo"), at=AT), text="one\n.\n..\ntwo"),
    proven("unknown-headers-many-times", b"X-A: 1\r\nX-A: 2\r\nReceived: x\r\nReceived: y\r\n" + GOOD),
]
