"""Dovecot as a child process on loopback, with a configuration and a mailbox of its own."""

import asyncio
import grp
import os
import pwd
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import trustme
from imapclient import IMAPClient

from airut_common.testing.ports import free_port

USER = "airut@mail.example"
PASSWORD = "the mailbox's own pässword"
_CONFIG = """
base_dir = {root}/run
state_dir = {root}/state
log_path = {root}/log
protocols = imap
listen = 127.0.0.1
auth_mechanisms = plain login xoauth2
disable_plaintext_auth = no
ssl = yes
ssl_cert = <{root}/cert.pem
ssl_key = <{root}/key.pem
ssl_min_protocol = TLSv1.2
mail_location = maildir:{root}/mail
mail_uid = {uid}
mail_gid = {gid}
default_internal_user = {internal}
default_internal_group = {group}
default_login_user = {login}
service anvil {{
  chroot =
}}
service imap-login {{
  chroot =
  inet_listener imap {{
    port = {plain}
  }}
  inet_listener imaps {{
    port = {tls}
    ssl = yes
  }}
}}
userdb {{
  driver = static
  args = uid={uid} gid={gid} home={root}/home
}}
namespace inbox {{
  inbox = yes
}}
{more}
"""
_PASSDB = """
passdb {{
  driver = passwd-file
  args = scheme=PLAIN {root}/users
}}
"""


class Dovecot:
    """One user with one mailbox. Use `running()` again to start it anew."""

    def __init__(self, root: Path, more: str = "", passdb: str = _PASSDB) -> None:
        self.root = root
        self.ca_file = root / "ca.pem"
        self.port, self.tls_port = free_port(), free_port()
        self.process: asyncio.subprocess.Process | None = None
        self._write(more + passdb.format(root=root))

    def _write(self, more: str) -> None:
        authority = trustme.CA()
        certificate = authority.issue_cert("localhost")
        authority.cert_pem.write_to_path(self.ca_file)
        certificate.private_key_pem.write_to_path(self.root / "key.pem")
        for index, blob in enumerate(certificate.cert_chain_pems):
            blob.write_to_path(self.root / "cert.pem", append=index > 0)
        (self.root / "users").write_text(f"{USER}:{{PLAIN}}{PASSWORD}\n")
        root = os.geteuid() == 0
        # Dovecot gives root's mail to nobody, and runs its parts under users of its own if it can.
        mail_user = pwd.getpwnam("nobody") if root else pwd.getpwuid(os.geteuid())
        internal, login = ("dovecot", "dovenull") if root else (mail_user.pw_name,) * 2
        group = "dovecot" if root else _group_name(mail_user.pw_gid)
        for folder in ("mail", "home"):
            (self.root / folder).mkdir()
            shutil.chown(self.root / folder, mail_user.pw_uid, mail_user.pw_gid)
        (self.root / "dovecot.conf").write_text(
            _CONFIG.format(
                root=self.root,
                plain=self.port,
                tls=self.tls_port,
                more=more,
                internal=internal,
                login=login,
                group=group,
                uid=mail_user.pw_uid,
                gid=mail_user.pw_gid,
            )
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Dovecot"]:
        """Serve while the context is open."""
        await self.start()
        try:
            yield self
        finally:
            await self.stop()

    async def start(self) -> None:
        """Start; returns when it answers."""
        program = shutil.which("dovecot", path=os.environ["PATH"] + ":/usr/sbin")
        assert program, "Dovecot is missing: run scripts/setup.sh test"
        self.process = await asyncio.create_subprocess_exec(
            program, "-F", "-c", str(self.root / "dovecot.conf"), stderr=asyncio.subprocess.DEVNULL
        )
        async with asyncio.timeout(20):
            while not await _answers(self.port):
                assert self.process.returncode is None, self.log()
                await asyncio.sleep(0.05)

    async def stop(self) -> None:
        """End it; its sessions end with it."""
        if self.process is not None and self.process.returncode is None:
            self.process.terminate()
            await self.process.wait()

    def log(self) -> str:
        """What it has written so far."""
        path = self.root / "log"
        return path.read_text() if path.exists() else ""

    def new_uidvalidity(self) -> None:
        """Forget all UIDs, as after a restore from a copy. It must not run."""
        for file in (self.root / "mail").glob("dovecot*"):
            file.unlink()

    async def append(self, data: bytes, folder: str = "INBOX") -> None:
        """Deliver a mail."""
        await self.ask(lambda client: client.append(folder, data))

    async def subjects(self, folder: str = "INBOX") -> list[str]:
        """Subjects of what lies in a folder; nothing if there is no such folder."""

        def read(client: IMAPClient) -> list[str]:
            if not client.folder_exists(folder):
                return []
            client.select_folder(folder, readonly=True)
            found = client.fetch(client.search(), ["BODY.PEEK[HEADER.FIELDS (SUBJECT)]"])
            return [
                item[b"BODY[HEADER.FIELDS (SUBJECT)]"].decode().partition(":")[2].strip()
                for _, item in sorted(found.items())
            ]

        return await self.ask(read)

    async def wait_until(self, folder: str, subjects: list[str], seconds: float = 20) -> None:
        """Wait until a folder holds exactly these."""
        async with asyncio.timeout(seconds):
            while await self.subjects(folder) != subjects:  # noqa: ASYNC110  the server is asked, it does not tell
                await asyncio.sleep(0.05)

    async def ask[T](self, question: Callable[[IMAPClient], T]) -> T:
        """Do something as the user, in a connection of its own."""

        def run() -> T:
            with IMAPClient("127.0.0.1", self.port, ssl=False, timeout=20) as client:
                client.plain_login(USER, PASSWORD)
                return question(client)

        return await asyncio.to_thread(run)


@contextmanager
def dovecot_folder() -> Iterator[Path]:
    """A folder that Dovecot's own users may enter; those of pytest are for their owner alone."""
    with tempfile.TemporaryDirectory(prefix="airut-dovecot-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


def _group_name(gid: int) -> str:
    return grp.getgrgid(gid).gr_name


async def _answers(port: int) -> bool:
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    try:
        return (await reader.readline()).startswith(b"* OK")
    finally:
        writer.close()
