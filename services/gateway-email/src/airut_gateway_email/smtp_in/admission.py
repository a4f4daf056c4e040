"""Who may come in: counts connections and transfers, and turns away whom the settings do not welcome."""

import asyncio
from collections import Counter
from ipaddress import IPv6Address, ip_address, ip_network

from airut_gateway_email.errors import MailError, MailLater, MailRefused
from airut_gateway_email.smtp_in.settings import SmtpSettings

MAX_CONNECTIONS = 300
MAX_CONNECTIONS_PER_PEER = 20
MAX_TRANSFERS = 40
"""Mails being received or judged at the same moment; each may take the largest allowed size on the disk."""
MAX_TRANSFERS_PER_PEER = 8
"""One client, however slow, leaves room for others."""

UNKNOWN = "?"
"""Stands for a client whose address nobody has said."""


class Gate:
    """Counts who is inside. Clients whose address is not known yet count in the total alone; those of one IPv6 network
    of 64 bits, which is what a single customer has (RFC 6177, section 2), are one."""

    def __init__(self) -> None:
        self._clients: Counter[str] = Counter()
        self._transfers: Counter[str] = Counter()
        self.no_transfers = asyncio.Event()
        self.no_transfers.set()

    def enter(self, client: str, settings: SmtpSettings) -> MailError | None:
        """Take a client in, or say why not."""
        if client != UNKNOWN and not settings.welcomes(client):
            return MailRefused("mail is taken from known mail servers only", code=554)
        counted = _customer(client)
        full = client != UNKNOWN and self._clients[counted] >= MAX_CONNECTIONS_PER_PEER
        if full or self._clients.total() >= MAX_CONNECTIONS:
            return MailLater("too many connections; try again later", code=421, status="4.7.0")
        self._clients[counted] += 1
        return None

    def leave(self, client: str) -> None:
        """Forget a client who was taken in."""
        self._clients[_customer(client)] -= 1
        self._clients += Counter()  # forgets clients that are at zero

    def begin_transfer(self, client: str) -> bool:
        """Whether one more mail may be received from a client now."""
        counted = _customer(client)
        if self._transfers.total() >= MAX_TRANSFERS or self._transfers[counted] >= MAX_TRANSFERS_PER_PEER:
            return False
        self._transfers[counted] += 1
        self.no_transfers.clear()
        return True

    def end_transfer(self, client: str) -> None:
        """One mail less."""
        self._transfers[_customer(client)] -= 1
        self._transfers += Counter()
        if not self._transfers:
            self.no_transfers.set()


def _customer(client: str) -> str:
    if client == UNKNOWN:
        return UNKNOWN
    address = ip_address(client)
    return str(ip_network((address, 64), strict=False)) if isinstance(address, IPv6Address) else client


def plain_address(text: object) -> str:
    """An IP address as the rest of the world writes it: an IPv4 one never inside an IPv6 one."""
    try:
        address = ip_address(str(text))
    except ValueError:
        return UNKNOWN
    return str(getattr(address, "ipv4_mapped", None) or address)
