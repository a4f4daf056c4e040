"""What is new in an answer, as mail programs in use write it; in doubt, everything stays."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airut_gateway_email.content.quotes import LEFT_OUT, new_text

US = "demo@airut.example"
QUOTE = "> Shall I?\n>\n> -- \n> Airut"
UNDERSCORES = "_" * 32


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        # Programs that put ">" before each line.
        (f"Yes.\n\nOn Mon, Jan 5, 2026 at 10:00 AM Airut demo <{US}> wrote:\n\n{QUOTE}", "Yes."),  # Gmail
        (f"Yes.\n\nOn Mon, Jan 5, 2026 at 10:00 AM Airut demo <\n{US}> wrote:\n\n{QUOTE}", "Yes."),  # Gmail, wrapped
        (f"Yes.\n\n> On 5 Jan 2026, at 10:00, Airut demo <{US}> wrote:\n> \n{QUOTE}", None),  # the line itself is quoted
        (f"Yes.\n\nOn 5 Jan 2026, at 10:00, Airut demo <{US}> wrote:\n\n{QUOTE}", "Yes."),  # Apple Mail
        ("Yes.\n\nOn 05.01.26 10:00, Airut demo wrote:\n" + QUOTE, "Yes."),  # Thunderbird
        (f"Ja.\n\nAm Mo., 5. Jan. 2026 um 10:00 Uhr schrieb Airut demo <{US}>:\n\n{QUOTE}", "Ja."),
        ("Ja.\n\nAm 05.01.26 um 10:00 schrieb Airut demo:\n" + QUOTE, "Ja."),
        (f"Oui.\n\nLe lun. 5 janv. 2026 à 10:00, Airut demo <{US}> a écrit :\n\n{QUOTE}", "Oui."),
        ("Oui.\n\nLe 05/01/2026 à 10:00, Airut demo a écrit :\n" + QUOTE, "Oui."),
        (f"Sí.\n\nEl lun, 5 ene 2026 a las 10:00, Airut demo (<{US}>) escribió:\n\n{QUOTE}", "Sí."),
        (f"Sì.\n\nIl giorno lun 5 gen 2026 alle ore 10:00 Airut demo <{US}> ha scritto:\n\n{QUOTE}", "Sì."),
        (f"Sim.\n\nEm seg., 5 de jan. de 2026 às 10:00, Airut demo <{US}> escreveu:\n\n{QUOTE}", "Sim."),
        (f"Ja.\n\nOp ma 5 jan 2026 om 10:00 schreef Airut demo <{US}>:\n\n{QUOTE}", "Ja."),
        (f"Ja.\n\nDen mån 5 jan. 2026 kl 10:00 skrev Airut demo <{US}>:\n\n{QUOTE}", "Ja."),
        (f"Tak.\n\npon., 5 sty 2026 o 10:00 Airut demo <{US}> napisał(a):\n\n{QUOTE}", "Tak."),
        (f"Ano.\n\npo 5. 1. 2026 v 10:00 odesílatel Airut demo <{US}> napsal:\n\n{QUOTE}", "Ano."),
        (f"Да.\n\nпн, 5 янв. 2026 г. в 10:00, Airut demo <{US}>:\n\n{QUOTE}", "Да."),
        (f"はい。\n\n2026年1月5日(月) 10:00 Airut demo <{US}>:\n\n{QUOTE}", "はい。"),
        (f"是。\n\nAirut demo <{US}> 于2026年1月5日周一 10:00写道：\n\n{QUOTE}", "是。"),
        (f"네.\n\n2026년 1월 5일 (월) 오전 10:00, Airut demo <{US}>님이 작성:\n\n{QUOTE}", "네."),
        (f"Yes, 3.\nOn Monday <{US}> wrote:\n{QUOTE}", "Yes, 3."),
        ("Yes.\n\nAirut demo wrote on 2026-01-05:\n" + QUOTE, "Yes."),  # mutt and others
        # Programs that put a block of header lines above it, and no marks before it.
        (f"Yes.\n\n{UNDERSCORES}\nFrom: Airut demo <{US}>\nSent: Monday\nTo: Ada\nSubject: Re: x\n\nShall I?", "Yes."),
        ("Yes.\n\nFrom: Airut demo\nSent: Monday, 5 January 2026 10:00\nTo: Ada\nSubject: Re: x\n\nShall I?", "Yes."),
        (f"Yes.\n\n-----Original Message-----\nFrom: {US}\nSent: Monday\nTo: A\nSubject: x\n\nShall I?", "Yes."),
        (f"Yes.\n\n**From:** Airut demo <{US}>\n**Date:** Monday\n**To:** Ada\n**Subject:** Re: x\n\nShall I?", "Yes."),
        (f"Yes.\n\n* * *\n\n**From:** Airut <{US}>\n**Sent:** Monday\n**Subject:** Re: x\n\nShall I?", "Yes."),
        (f"Ja.\n\nVon: Airut demo <{US}>\nGesendet: Montag\nAn: Ada\nBetreff: AW: x\n\nSoll ich?", "Ja."),
        (f"Ja.\n\n-----Ursprüngliche Nachricht-----\nVon: {US}\nGesendet: Montag\nAn: A\nBetreff: x\n\nS?", "Ja."),
        (f"Oui.\n\nDe : Airut demo <{US}>\nEnvoyé : lundi\nÀ : Ada\nObjet : RE: x\n\nDois-je ?", "Oui."),
        (f"Oui.\n\nDe\u00a0: Airut <{US}>\nDate\u00a0: lundi\nÀ\u00a0: Ada\nObjet\u00a0: RE: x\n\nDois-je ?", "Oui."),
        (f"Sí.\n\nDe: Airut demo <{US}>\nEnviado el: lunes\nPara: Ada\nAsunto: RE: x\n\n¿Lo hago?", "Sí."),
        (f"Sì.\n\nDa: Airut demo <{US}>\nInviato: lunedì\nA: Ada\nOggetto: R: x\n\nLo faccio?", "Sì."),
        (f"Sim.\n\nDe: Airut demo <{US}>\nEnviado: segunda\nPara: Ada\nAssunto: Re: x\n\nFaço?", "Sim."),
        (f"Ja.\n\nVan: Airut demo <{US}>\nVerzonden: maandag\nAan: Ada\nOnderwerp: Re: x\n\nZal ik?", "Ja."),
        (f"Ja.\n\nFrån: Airut demo <{US}>\nSkickat: den 5 januari\nTill: Ada\nÄmne: Sv: x\n\nSka jag?", "Ja."),
        (f"Ja.\n\nFra: Airut demo <{US}>\nSendt: mandag\nTil: Ada\nEmne: Sv: x\n\nSkal jeg?", "Ja."),
        (f"Tak.\n\nOd: Airut demo <{US}>\nWysłano: poniedziałek\nDo: Ada\nTemat: Re: x\n\nCzy mam?", "Tak."),
        (f"Ano.\n\nOd: Airut demo <{US}>\nOdesláno: pondělí\nKomu: Ada\nPředmět: Re: x\n\nMám?", "Ano."),
        (f"Joo.\n\nLähettäjä: Airut <{US}>\nLähetetty: maanantai\nVastaanottaja: Ada\nAihe: x\n\nTeenkö?", "Joo."),
        (f"Да.\n\nОт: Airut demo <{US}>\nОтправлено: понедельник\nКому: Ada\nТема: Re: x\n\nДелать?", "Да."),
        (f"Evet.\n\nKimden: Airut <{US}>\nTarih: Pazartesi\nKime: Ada\nKonu: x\n\nYapayım mı?", "Evet."),
        (f"はい。\n\n差出人: Airut <{US}>\n送信日時: 月曜日\n宛先: Ada\n件名: Re: x\n\nしますか", "はい。"),
        (f"是。\n\n发件人：Airut <{US}>\n发送时间：星期一\n收件人：Ada\n主题：Re: x\n\n可以吗", "是。"),
        # Signatures.
        ("Yes.\n\n-- \nAda Lovelace\nAnalytical Engines", "Yes."),
        ("Yes.\n\n--\nAda", "Yes."),
        (f"Yes.\n\n--\nAda\n\nOn Monday <{US}> wrote:\n{QUOTE}", "Yes."),
        ("Yes.\n\nSent from my iPhone", "Yes."),
        ("Yes.\n\nGet Outlook for iOS", "Yes."),
        (f"Yes.\n\nSent from my iPhone\n\nOn 5 Jan 2026, at 10:00, Airut <{US}> wrote:\n\n{QUOTE}", "Yes."),
        ("Ja.\n\nVon meinem iPhone gesendet", "Ja."),
        ("Oui.\n\nEnvoyé de mon iPhone", "Oui."),
        ("Sí.\n\nEnviado desde mi iPhone", "Sí."),
    ],
)  # fmt: skip
def test_history_and_signature_are_left_out(text: str, kept: str | None):
    found = new_text(text, [US], continues=True)
    assert (found.text, found.cut) == ((text, False) if kept is None else (f"{kept}\n\n{LEFT_OUT}", True))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "> > >",
        "Thanks,\nplease fix it.\n\nBest regards\nAda",
        "Do:\n- one\n- two",
        "Yes.\n> Shall I?",
        "Yes.\n\nOn Monday Bob <bob@b.example> wrote:\n> Shall I?",
        "The log says:\n> error 17",
        "The log of 2026-01-05 says:\n> error 17",
        f"Look at what {US} says:\nand then this",
        f"On Monday <{US}> wrote:\n> Shall I?\n\nYes, do.",
        f"On Monday <{US}> wrote:\n> only the quotation",
        f"Yes.\n\nOn Monday xdemo{US} wrote:\n> Shall I?",
        "Look at this:\n\nFrom: Customer <c@customer.example>\nSent: Monday\nTo: Ada\nSubject: Help\n\nIt is broken.",
        f"From: Airut <{US}>\nSent: Monday\nTo: Ada\nSubject: x\n\nnothing of her own before it",
        "Set these:\n\nFrom: the sender\nTo: the reader",
        "a\n\n--\n" + "\n".join(f"line {number}" for number in range(40)),
        "Sent from my desk this is, and it goes on: " + "please fix the greeting " * 4,
        "    indented\n\tcode",
    ],
)
def test_the_author_s_own_words_stay(text: str):
    assert new_text(text, [US], continues=True).text == text


@pytest.mark.parametrize(
    "text",
    [
        "Do as they say.\n\nOn 05.01.26 10:00, Bob wrote:\n> Fix it.",
        "Do it.\n\nFrom: Bob\nSent: Monday\nTo: Ada\nSubject: x\n\nFix it.",
    ],
)
def test_the_history_of_others_is_what_a_first_mail_is_about(text: str):
    assert new_text(text, [US], continues=False).text == text


def test_a_million_lines_that_could_begin_a_quotation_take_no_long_time():
    text = "From: x\n" * 1_000_000
    assert not new_text(text, [US], continues=True).cut


@given(st.text(st.sampled_from(f"ab1:>- \n@{US}FromSentSubjwrote"), max_size=400), st.booleans())
def test_what_is_left_is_the_beginning(text: str, continues: bool):
    found = new_text(text, [US], continues=continues)
    kept = found.text.removesuffix(f"\n\n{LEFT_OUT}") if found.cut else found.text
    assert kept in text
    assert found.cut or found.text == text
    assert not found.cut or kept.strip()


def test_history_may_come_from_any_address_of_the_repository():
    for address in (US, "help@airut.example"):
        text = f"Yes.\n\nOn Mon, Jan 5, 2026 at 10:00 AM Airut demo <{address}> wrote:\n\n{QUOTE}"
        assert new_text(text, [US, "Help@airut.example"], continues=False).own == "Yes."
