"""Mail as people's servers send it, and mail that no person wrote."""

from world import AT, LOVELACE, mail, proven

GOOD = LOVELACE.dkim(mail(), at=AT)


def _signed(text="Please fix the greeting.", **headers):
    return LOVELACE.dkim(mail(text, **headers), at=AT)


CASES = [
    proven("plain", GOOD),
    proven("signed-and-from-its-own-server", GOOD, peer="192.0.2.10", mail_from="ada@lovelace.example"),
    proven("with-received-lines", b"Received: from a by b; Sun, 1 Nov 2026 12:00:00 +0000\r\n" + GOOD),
    proven("to-others-as-well", _signed(To="bob@x.example, Airut <demo@airut.example>")),
    proven("in-cc", _signed(To="bob@x.example", Cc="demo@airut.example")),
    proven("with-a-model", _signed(To="demo+opus@airut.example")),
    proven(
        "answer-in-a-thread",
        _signed(In_Reply_To="<airut.c1.r1@airut.example>", References="<airut.c1.r1@airut.example>"),
    ),
    proven("automatic", _signed(Auto_Submitted="auto-replied"), answer=550),
    proven("bulk", _signed(Precedence="bulk"), answer=550),
    proven("list", _signed(List_Id="<l.x.example>"), answer=550),
    proven("bounce", GOOD, mail_from="", answer=550),
    proven("to-nobody-here", _signed(To="bob@x.example"), answer=550),
]
