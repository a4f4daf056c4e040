"""The words by which mail programs introduce what they quote, in lower case, by language."""

import re

FROM = frozenset(
    {
        "from", "von", "de", "da", "van", "från", "fra", "od", "lähettäjä", "от", "від", "kimden", "gönderen", "feladó",
        "de la", "από", "差出人", "发件人", "寄件者", "보낸 사람", "보낸사람", "מאת", "من",
    }
)  # fmt: skip
DATE = frozenset(
    {
        "sent", "date", "gesendet", "datum", "envoyé", "enviado", "enviado el", "fecha", "data", "inviato", "verzonden",
        "skickat", "sendt", "dato", "wysłano", "wysłane", "odesláno", "lähetetty", "päivämäärä", "отправлено", "дата",
        "надіслано", "tarih", "gönderildi", "elküldve", "dátum", "trimis", "ημερομηνία", "στάλθηκε", "送信日時", "日付",
        "发送时间", "日期", "寄件日期", "보낸 날짜", "날짜", "נשלח", "تاريخ الإرسال", "التاريخ",
    }
)  # fmt: skip
SUBJECT = frozenset(
    {
        "subject", "betreff", "objet", "asunto", "oggetto", "assunto", "onderwerp", "ämne", "emne", "temat", "předmět",
        "aihe", "тема", "konu", "tárgy", "subiect", "θέμα", "件名", "主题", "主旨", "제목", "נושא", "الموضوع",
    }
)  # fmt: skip
WROTE = (
    "wrote", "schrieb", "a écrit", "escribió", "escreveu", "ha scritto", "schreef", "skrev", "napsal", "napisał",
    "kirjoitti", "написал", "пишет", "написав", "yazdı", "írta", "a scris", "έγραψε",
    "書きました", "のメール", "写道", "寫道", "작성", "כתב", "كتب",
)  # fmt: skip
ON_THE_WAY = re.compile(
    r"(?:sent from (?:my|outlook|mail|proton|yahoo)|get outlook for|gesendet von|envoyé (?:de|depuis) mon|enviad[oa] "
    r"(?:desde|do|de) (?:mi|meu|outlook)|inviato da|verzonden vanaf|skickat från|sendt fra|wysłan[eo] z|odesláno z|"
    r"lähetetty|отправлено (?:с|из)).{0,60}|(?:von meinem|diese nachricht wurde von).{0,50}gesendet\.?",
    re.IGNORECASE,
)
"""A whole line that a telephone or its mail program adds."""
