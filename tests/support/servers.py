"""MariaDB and PostgreSQL for tests: private servers, or given ones on which only databases are made.

The private ones are less comfortable than a fresh installation on purpose: their time zone is
not UTC, so a statement that leans on the zone of the session shows at once. Commits are flushed
as in production unless `durable=False`.
"""

from __future__ import annotations

import secrets
import signal
from abc import ABC, abstractmethod

from sqlalchemy import URL, make_url, text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from tests.support.private_server import PrivateServer
from tests.support.programs import find_account, find_mariadb, find_postgresql

_USER = "muster"


class DatabaseServer(ABC):
    """A server on which every test gets empty databases of its own."""

    create_statement = "CREATE DATABASE {name}"
    drop_statement = "DROP DATABASE IF EXISTS {name}"

    @abstractmethod
    def url(self, database: str) -> str:
        """Give the SQLAlchemy url of one database."""

    @abstractmethod
    def admin_url(self) -> str:
        """Give the url of a database that is always there."""

    async def create_database(self) -> str:
        """Make an empty database and give its url."""
        name = f"t_{secrets.token_hex(6)}"
        await self._execute(self.create_statement.format(name=name))
        return self.url(name)

    async def drop_database(self, url: str) -> None:
        """Remove a database that create_database made, its connections too."""
        await self._execute(self.drop_statement.format(name=make_url(url).database))

    async def _execute(self, statement: str) -> None:
        engine = create_async_engine(self.admin_url(), poolclass=NullPool, isolation_level="AUTOCOMMIT")
        try:
            async with engine.connect() as connection:
                await connection.execute(text(statement))
        finally:
            await engine.dispose()


class GivenServer(DatabaseServer):
    """A server that runs already and is not ours to stop, such as a container's."""

    def __init__(self, admin_url: str) -> None:
        self._url = make_url(admin_url)
        if self._url.get_backend_name() == "postgresql":
            self.drop_statement = PrivatePostgresql.drop_statement
        else:
            self.create_statement = PrivateMariadb.create_statement

    def admin_url(self) -> str:
        """Give the url that the server was given with."""
        return self._url.render_as_string(hide_password=False)

    def url(self, database: str) -> str:
        """Give the url of one database."""
        return self._url.set(database=database).render_as_string(hide_password=False)


class PrivateMariadb(DatabaseServer, PrivateServer):
    """A MariaDB server of our own, on a unix socket and a free port of 127.0.0.1."""

    ready_line = b"ready for connections"
    create_statement = "CREATE DATABASE {name} CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"

    def __init__(self, *, durable: bool = True) -> None:
        super().__init__(find_mariadb(), find_account("mysql", "postgres"), durable=durable)
        self.socket = self.folder / "mariadb.sock"

    def set_up(self) -> None:
        """Fill the folder, with one user who may do everything."""
        self._private_file(
            "users.sql",
            "".join(
                f"CREATE USER IF NOT EXISTS {_USER}@'{host}' IDENTIFIED BY '{self.password}';\n"
                f"GRANT ALL ON *.* TO {_USER}@'{host}' WITH GRANT OPTION;\n"
                for host in ("localhost", "127.0.0.1")
            ),
        )
        self._run(
            self.programs.set_up,
            "--no-defaults",
            f"--datadir={self.folder / 'data'}",
            # Beside other servers that are being set up, /tmp has tables of the same names.
            f"--tmpdir={self.folder}",
            "--auth-root-authentication-method=socket",
            "--skip-test-db",
            *self._log_size,
        )

    _log_size = ("--innodb-log-file-size=32M",)

    def command(self) -> list[str]:
        """Give the command that serves the folder."""
        return [
            str(self.programs.server),
            "--no-defaults",
            f"--datadir={self.folder / 'data'}",
            f"--socket={self.socket}",
            f"--port={self.port}",
            f"--init-file={self.folder / 'users.sql'}",
            "--bind-address=127.0.0.1",
            "--skip-name-resolve",
            "--skip-log-bin",
            "--performance-schema=OFF",
            "--default-time-zone=+05:30",
            "--max-connections=500",
            "--innodb-buffer-pool-size=128M",
            "--innodb-fast-shutdown=2",
            f"--innodb-flush-log-at-trx-commit={1 if self.durable else 2}",
            *self._log_size,
        ]

    def admin_url(self) -> str:
        """Give the url of the system's own database."""
        return self.url("mysql")

    def url(self, database: str) -> str:
        """Give the url of one database through the unix socket."""
        return self._url(database).set(query={"unix_socket": str(self.socket)}).render_as_string(False)

    def tcp_url(self, database: str) -> str:
        """Give the url of one database through the port."""
        return self._url(database).set(host="127.0.0.1", port=self.port).render_as_string(False)

    def _url(self, database: str) -> URL:
        return URL.create("mysql+asyncmy", _USER, self.password, "localhost", database=database)


class PrivatePostgresql(DatabaseServer, PrivateServer):
    """A PostgreSQL server of our own, on a unix socket and a free port of 127.0.0.1."""

    ready_line = b"ready to accept connections"
    stop_signal = signal.SIGINT  # "fast": open connections are ended, not waited for
    drop_statement = "DROP DATABASE IF EXISTS {name} WITH (FORCE)"

    def __init__(self, *, durable: bool = True) -> None:
        super().__init__(find_postgresql(), find_account("postgres"), durable=durable)

    def set_up(self) -> None:
        """Fill the folder, with one user who may do everything."""
        password_file = self._private_file("password", self.password)
        self._run(
            self.programs.set_up,
            f"--pgdata={self.folder / 'data'}",
            f"--username={_USER}",
            f"--pwfile={password_file}",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--locale=C",
            "--no-sync",
        )

    def command(self) -> list[str]:
        """Give the command that serves the folder."""
        options = {
            "unix_socket_directories": self.folder,
            "listen_addresses": "127.0.0.1",
            "port": self.port,
            "timezone": "Asia/Kolkata",
            "max_connections": 300,
            "fsync": "on" if self.durable else "off",
        }
        arguments = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
        return [str(self.programs.server), "-D", str(self.folder / "data"), *arguments]

    def admin_url(self) -> str:
        """Give the url of the system's own database."""
        return self.url("postgres")

    def url(self, database: str) -> str:
        """Give the url of one database through the unix socket."""
        query = {"host": str(self.folder), "port": str(self.port)}
        return self._url(database).set(query=query).render_as_string(False)

    def tcp_url(self, database: str) -> str:
        """Give the url of one database through the port."""
        return self._url(database).set(host="127.0.0.1", port=self.port).render_as_string(False)

    def _url(self, database: str) -> URL:
        return URL.create("postgresql+asyncpg", _USER, self.password, database=database)
