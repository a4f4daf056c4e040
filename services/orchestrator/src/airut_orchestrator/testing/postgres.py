"""A PostgreSQL server of the tests' own: on a socket in a temporary folder, gone with the process that began it."""

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from uuid import uuid4

import psycopg
from sqlalchemy import URL

_START_SECONDS: Final = 60.0
_USER: Final = "airut"
_PORT: Final = 5432
_SETTINGS: Final = {
    # Nobody needs the data after a power cut.
    "fsync": "off",
    "full_page_writes": "off",
    "max_connections": "60",
}


@dataclass
class PostgresServer:
    """A cluster in `folder`; its socket lies there, too."""

    folder: Path
    address: str = ""
    """Where it listens besides its socket; empty: nowhere."""
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Run it, and wait until it answers."""
        listen = {"listen_addresses": self.address, "port": str(_PORT)}
        settings = [
            part for name, value in (_SETTINGS | listen).items() for part in ("-c", f"{name}={value}")
        ]
        data = str(self.folder / "data")
        argv = [_program("postgres"), "-D", data, "-k", str(self.folder), *settings]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(_unprivileged(*argv), stdout=log, stderr=log, cwd=self.folder)
        end = time.monotonic() + _START_SECONDS
        while True:
            try:
                self._connect().close()
            except psycopg.OperationalError:
                if self.process.poll() is not None or time.monotonic() > end:
                    raise
                time.sleep(0.02)
            else:
                return

    def kill(self) -> None:
        """At once, like a crash of the machine that it runs on (pg_ctl(1), immediate)."""
        assert self.process is not None
        subprocess.run(
            _unprivileged(
                _program("pg_ctl"), "-D", str(self.folder / "data"), "-m", "immediate", "-w", "stop"
            ),
            check=True,
            capture_output=True,
            cwd=self.folder,
        )
        self.process.wait()

    def new_database(self) -> URL:
        """An empty database; its URL as an operator writes it."""
        name = f"airut_{uuid4().hex}"
        with self._connect() as connection:
            connection.autocommit = True
            connection.execute(f"CREATE DATABASE {name}".encode())
        if self.address:
            return URL.create("postgresql", _USER, host=self.address, port=_PORT, database=name)
        return URL.create("postgresql", _USER, database=name, query={"host": str(self.folder)})

    def _connect(self) -> psycopg.Connection:
        return psycopg.connect(host=str(self.folder), user=_USER, dbname="postgres", connect_timeout=5)


@contextmanager
def postgres_server(address: str = "") -> Iterator[PostgresServer]:
    """A server that runs, and listens at `address` if that is given. It refuses to be root, so there it is `nobody`."""
    # Not in pytest's own folder, which others may not enter; a socket's path must be short, too.
    folder = Path(tempfile.mkdtemp(prefix="airut-pg-"))
    if os.geteuid() == 0:
        shutil.chown(folder, "nobody", "nogroup")
    server = PostgresServer(folder, address)
    try:
        make = (_program("initdb"), "--no-sync", "--auth=trust", f"--username={_USER}", "--encoding=UTF8")
        subprocess.run(
            _unprivileged(*make, "--locale=C.UTF-8", "-D", str(folder / "data")),
            check=True,
            capture_output=True,
            cwd=folder,
        )
        if address:
            with (folder / "data" / "pg_hba.conf").open("a") as access:
                access.write("host all all samenet trust\n")
        server.start()
        yield server
    finally:
        if server.process is not None and server.process.poll() is None:
            server.kill()
        shutil.rmtree(folder, ignore_errors=True)


def _unprivileged(*argv: str) -> list[str]:
    switch = ["--reuid", "nobody", "--regid", "nogroup", "--clear-groups"] if os.geteuid() == 0 else []
    return ["setpriv", *switch, "--pdeathsig", "TERM", *argv]


def _program(name: str) -> str:
    """Debian keeps them out of PATH, each version in a folder of its own."""
    if (found := shutil.which(name)) is not None:
        return found
    versions = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda path: int(path.parts[4]))
    if not versions:
        raise FileNotFoundError(f"{name} is missing: install PostgreSQL (package postgresql)")
    return str(versions[-1])
