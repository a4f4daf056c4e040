"""One connection to a mailbox. Every method blocks: `imap_in` calls them in a thread."""

import contextlib
import logging
import select
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

from imapclient import IMAPClient, SocketTimeout
from imapclient.exceptions import IMAPClientError, LoginError

from airut_common.config.imap import ImapConfig
from airut_common.secrets import Secret
from airut_gateway_email.errors import printable
from airut_gateway_email.tls import verifying_context

CONNECT_SECONDS = 15.0
READ_SECONDS = 60.0
LIST_AT_ONCE = 200
MAX_LISTED = 10_000
"""Messages of a folder that one look takes in; the others come when these are gone."""

# It writes what it sends, access tokens among it.
logging.getLogger("imapclient").setLevel(logging.INFO)


class ImapFailed(Exception):
    """The mailbox cannot be used now."""


class ImapLoginFailed(ImapFailed):
    """The server does not accept our credentials."""


@dataclass(frozen=True)
class Listed:
    """A message that lies in the folder."""

    uid: int
    """Good for this look only."""
    size_bytes: int
    arrived_at: datetime
    """When the server got it (INTERNALDATE); aware."""


class ImapSession:
    """A connection that is logged in. UIDs are never kept longer than a look, so UIDVALIDITY may change at any time."""

    def __init__(self, config: ImapConfig, client: IMAPClient, *, announces: bool) -> None:
        self.announces = announces
        """Whether the server says when mail comes (IDLE, RFC 2177)."""
        self._config = config
        self._client = client
        self._made: set[str] = set()

    @classmethod
    def open(cls, config: ImapConfig, credential: Secret) -> "ImapSession":
        """Connect, verify the server, log in.

        Args:
            config: The mailbox.
            credential: Its password, or an access token where OAuth2 is configured.

        Raises:
            ImapLoginFailed: the credential is not accepted.
            ImapFailed: anything else.
        """
        with _translated(config):
            context = None if config.security == "plain" else verifying_context(config.ca_file)
            client = IMAPClient(
                config.host,
                config.port,
                ssl=config.security == "tls",
                ssl_context=context,
                timeout=SocketTimeout(connect=CONNECT_SECONDS, read=READ_SECONDS),
            )
            try:
                client.normalise_times = False
                if config.security == "starttls":
                    client.starttls(context)
                _log_in(client, config, credential)
                # Asked before the folder is looked at: what comes along with the answer later would be overheard.
                return cls(config, client, announces=bool(client.has_capability("IDLE")))
            except BaseException:
                _hang_up(client)
                raise

    def look(self) -> list[Listed]:
        """Select the folder anew and list what lies in it, oldest first.

        Raises:
            ImapFailed: it cannot be done.
        """
        with _translated(self._config):
            count = min(int(self._client.select_folder(self._config.folder)[b"EXISTS"]), MAX_LISTED)
            found: list[Listed] = []
            for first in range(1, count + 1, LIST_AT_ONCE):
                last = min(first + LIST_AT_ONCE - 1, count)
                uids = self._client.search([f"{first}:{last}", "UNDELETED"])
                answers = self._client.fetch(uids, ["RFC822.SIZE", "INTERNALDATE"])
                found += [
                    Listed(uid, int(item[b"RFC822.SIZE"]), item[b"INTERNALDATE"].astimezone(UTC))
                    for uid, item in sorted(answers.items())
                    if b"RFC822.SIZE" in item and b"INTERNALDATE" in item
                ]
            return found

    def fetch(self, uid: int, begin: int, count: int) -> bytes | None:
        """At most so many bytes of a message from `begin` on, none behind its end; None: it is gone.

        Raises:
            ImapFailed: it cannot be done.
        """
        with _translated(self._config):
            answer = self._client.fetch([uid], [f"BODY.PEEK[]<{begin}.{count}>"]).get(uid, {})
            key = f"BODY[]<{begin}>".encode()
            # Behind the end of a message, servers say "" or NIL.
            return bytes(answer[key] or b"") if key in answer else None

    def delete(self, uid: int) -> None:
        """Remove a message for good.

        Raises:
            ImapFailed: it cannot be done.
        """
        with _translated(self._config):
            self._client.delete_messages([uid], silent=True)
            # Without UIDPLUS (RFC 4315) only everything that is marked can be removed.
            if self._client.has_capability("UIDPLUS"):
                self._client.uid_expunge([uid])
            else:
                self._client.expunge()

    def move(self, uid: int, folder: str) -> None:
        """Put a message into another folder, which is made if need be.

        Raises:
            ImapFailed: it cannot be done.
        """
        with _translated(self._config):
            name = self._name_here(folder)
            if name not in self._made:
                with contextlib.suppress(
                    IMAPClientError
                ):  # it is there already, or the next command says what is wrong
                    self._client.create_folder(name)
                self._made.add(name)
            if self._client.has_capability("MOVE"):
                self._client.move([uid], name)
                return
            self._client.copy([uid], name)
        self.delete(uid)

    def wait(self, seconds: float) -> None:
        """Return when the server announces something, or after so many seconds.

        Raises:
            ImapFailed: the connection is gone.
        """
        with _translated(self._config):
            self._client.idle()
            if not self._has_unread():
                # Not idle_check(): it reads without blocking, and can lose half a line.
                poller = select.poll()
                poller.register(self._client.socket(), select.POLLIN)
                poller.poll(seconds * 1000)
            self._client.idle_done()

    def _has_unread(self) -> bool:
        """Whether something came along with the last answer. It lies in the library's buffer already, where poll() does
        not see it, and the library has no way to ask."""
        connection = self._client.socket()
        connection.settimeout(0)
        try:
            return bool(self._client._imap.file.peek(1))
        except (BlockingIOError, ssl.SSLWantReadError):
            return False
        finally:
            connection.settimeout(READ_SECONDS)

    def abort(self) -> None:
        """End what another thread waits for. The only method that may be called while another runs."""
        with contextlib.suppress(OSError):
            # Not SSLSocket's own shutdown: that changes the object under the other thread.
            socket.socket.shutdown(self._client.socket(), socket.SHUT_RDWR)

    def close(self) -> None:
        """Hang up."""
        _hang_up(self._client)

    def _name_here(self, folder: str) -> str:
        """Our spelling of a folder in that of the server: its separator, its prefix for personal folders."""
        prefix, separator = "", None
        if self._client.has_capability("NAMESPACE"):
            personal = self._client.namespace().personal
            prefix, separator = personal[0] if personal else ("", None)
        return folder_name(folder, prefix or "", separator or "/")


def folder_name(folder: str, prefix: str, separator: str) -> str:
    """Pure: `Airut/refused` as a server calls it whose personal folders have this prefix and separator."""
    name = folder.replace("/", separator)
    return name if name.startswith(prefix) else prefix + name


def _log_in(client: IMAPClient, config: ImapConfig, credential: Secret) -> None:
    try:
        if config.oauth2 is not None:
            client.oauth2_login(config.username, credential.reveal())
        elif client.has_capability("AUTH=PLAIN"):  # LOGIN takes ASCII alone
            client.plain_login(config.username, credential.reveal())
        else:
            client.login(config.username, credential.reveal())
    except LoginError as error:
        raise ImapLoginFailed(
            printable(f"{config.host} does not accept our login as {config.username}: {error}")
        ) from None


def _hang_up(client: IMAPClient) -> None:
    with contextlib.suppress(OSError, IMAPClientError):
        client.shutdown()


@contextmanager
def _translated(config: ImapConfig) -> Iterator[None]:
    """What the library raises -> `ImapFailed`; ssl errors are OSErrors. A ValueError is an answer it cannot read."""
    try:
        yield
    except (OSError, IMAPClientError, ValueError) as error:
        raise ImapFailed(
            printable(f"{config.host}:{config.port}: {str(error) or type(error).__name__}")
        ) from None
