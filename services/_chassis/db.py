"""One database per service: SQLite files by default, PostgreSQL in production; the same code on both.

- A transaction is committed only if its block is left cleanly; everything else rolls back.
- On SQLite a writing transaction begins IMMEDIATE and waits its turn; a reading one sees one state of the data.
- Every change that others must hear of takes the service's next revision inside its transaction. Taking it locks the
  revision until the commit, so that revisions become visible in their order.
- A database that cannot be reached or read is UnavailableError. Callers are not told its words, which name hosts, users and tables;
  the log and the operator who starts the service are, without the password.
- A value that the database cannot hold, such as a text with a NUL on PostgreSQL, is InvalidError.
"""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, nullcontext
from typing import Any, Self

import sqlalchemy as sa
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import DatabaseError, DataError, DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as NoConnectionError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from services._chassis.changes import ChangeFeed
from services._chassis.engines import BUSY_SECONDS, WRITE, open_engine, prepare_sqlite
from services._chassis.errors import InvalidError, Problem, UnavailableError
from services._chassis.logging import get_logger

log = get_logger("db")


def revision_table(metadata: sa.MetaData, service: str) -> sa.Table:
    """Return the table that holds the service's newest revision, in its one row."""
    return sa.Table(
        f"{service}_revision",
        metadata,
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("value", sa.BigInteger, nullable=False),
    )


class Transaction:
    """Run statements on one connection, inside one transaction."""

    def __init__(self, connection: AsyncConnection, database: "Database") -> None:
        self.connection = connection
        self.revision: int | None = None
        self._database = database

    async def execute(
        self, statement: sa.Executable, parameters: Sequence[Mapping[str, Any]] | Mapping[str, Any] | None = None
    ) -> sa.CursorResult[Any]:
        """Run a statement; a list of parameters runs it for each."""
        return await self.connection.execute(statement, parameters)

    async def hold(self) -> None:
        """Let no other transaction of the service change anything until this one ends: for what must look before it writes."""
        if self._database.on_postgresql:
            await self.connection.execute(self._database.newest_revision.with_for_update())

    async def next_revision(self) -> int:
        """Take the service's next revision, once a transaction; later calls return the same one."""
        if self.revision is None:
            self.revision = int((await self.connection.execute(self._database.taking_revision)).scalar_one())
        return self.revision

    async def raise_revision(self, seen: int) -> int:
        """Move the service's revision above one that others have seen, if it is lower; return the one that holds."""
        table = self._database.revisions
        lower = sa.update(table).where(table.c.id == 1, table.c.value < seen)
        raised = (await self.connection.execute(lower.values(value=seen + 1).returning(table.c.value))).scalar()
        if raised is None:
            return await self.current_revision()
        self.revision = int(raised)
        await self._database.notify(self.connection, self.revision)
        return self.revision

    @property
    def newest_revision(self) -> sa.Select[Any]:
        """Return what asks for the newest revision, to be asked beside other things."""
        return self._database.newest_revision

    async def current_revision(self) -> int:
        """Return the newest revision that this transaction sees."""
        return int((await self.connection.execute(self.newest_revision)).scalar_one())


class Database:
    """Open transactions on the database of one service."""

    def __init__(self, engine: AsyncEngine, service: str) -> None:
        self.engine = engine
        self.service = service
        self.revisions = revision_table(sa.MetaData(), service)
        row, value = self.revisions.c.id == 1, self.revisions.c.value
        self.newest_revision = sa.select(value).where(row)
        self.taking_revision = sa.update(self.revisions).where(row).values(value=value + 1).returning(value)
        if self.on_postgresql:  # tell the other replicas by the same statement, as `notify` does
            told = sa.func.pg_notify(self.channel, sa.cast(value, sa.Text))
            self.taking_revision = self.taking_revision.returning(told)
        self.changes = ChangeFeed(self.current_revision, engine.url if self.on_postgresql else None, self.channel)
        self._writer = nullcontext() if self.on_postgresql else asyncio.Lock()
        self._glancing = asyncio.Lock()
        self._glances: sqlite3.Connection | None = None

    @classmethod
    async def connect(cls, url: str, *, service: str, pool_size: int = 10) -> Self:
        """Open the database and prove that it answers. Raises UnavailableError, without the password, if it does not."""
        database = cls(open_engine(normalised(url), pool_size), service)
        try:
            async with database.read() as tx:
                await tx.execute(sa.text("SELECT 1"))
        except UnavailableError as error:
            await database.close()
            shown = normalised(url).render_as_string(hide_password=True)
            cause = _words(error.__cause__) or str(error)
            raise UnavailableError(
                f"the database of the {service} service, {shown}, cannot be opened: {cause}"
            ) from error
        return database

    @property
    def url(self) -> URL:
        """Return the normalised URL."""
        return self.engine.url

    @property
    def on_postgresql(self) -> bool:
        """Tell whether this is PostgreSQL; otherwise it is SQLite."""
        return self.engine.dialect.name == "postgresql"

    @property
    def channel(self) -> str:
        """Return the PostgreSQL channel on which the service's revisions are announced."""
        return f"openepm_{self.service}"

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        """Open a writing transaction; commit if the block is left cleanly, and wake who waits for its revision."""
        async with self._writer, self._connection({WRITE: True}) as connection:
            tx = Transaction(connection, self)
            async with connection.begin():
                yield tx
        if tx.revision is not None:
            self.changes.announce(tx.revision)

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        """Keep this process's other writers out of an SQLite file, for one who writes on a connection of his own."""
        async with self._writer:
            yield

    def own_connection(self) -> sqlite3.Connection:
        """Open a connection to the SQLite file that is used apart from the others, as durable as they are."""
        connection = sqlite3.connect(self.url.database or "", timeout=BUSY_SECONDS, check_same_thread=False)
        prepare_sqlite(connection, None)
        return connection

    @contextmanager
    def telling(self) -> Iterator[None]:
        """Tell of SQLite's errors on such a connection as on any other: what cannot be read or written is UnavailableError."""
        try:
            yield
        except sqlite3.Error as error:
            # SQLite says of a damaged file, or of one that is no database, no more than that it is an error.
            lost = isinstance(error, sqlite3.OperationalError | sqlite3.InterfaceError)
            if not lost and type(error) is not sqlite3.DatabaseError:
                raise
            raise self.unavailable(str(error)) from error

    @asynccontextmanager
    async def held(self) -> AsyncIterator[Transaction]:
        """Open a writing transaction in which nobody else changes anything: for verbs that look before they write."""
        async with self.transaction() as tx:
            await tx.hold()
            yield tx

    @asynccontextmanager
    async def read(self) -> AsyncIterator[Transaction]:
        """Open a reading transaction that sees one state of the data; nothing is committed."""
        options = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True} if self.on_postgresql else {}
        async with self._connection(options) as connection, connection.begin() as begun:
            yield Transaction(connection, self)
            await begun.rollback()

    async def current_revision(self) -> int:
        """Return the service's newest committed revision; it is asked for every second."""
        if not self.on_postgresql:
            return await self._glance(f"SELECT value FROM {self.revisions.name} WHERE id = 1")  # noqa: S608 - our own name
        async with self.read() as tx:
            return await tx.current_revision()

    async def notify(self, connection: AsyncConnection, revision: int) -> None:
        """Tell the other replicas, at commit, that there is a new revision."""
        if self.on_postgresql:
            await connection.execute(sa.select(sa.func.pg_notify(self.channel, str(revision))))

    async def close(self) -> None:
        """Close all connections."""
        async with self._glancing:
            if self._glances is not None:
                self._glances.close()
                self._glances = None
        await self.engine.dispose()

    async def version(self) -> int | None:
        """Return a number that is another one after every commit, in whatever process; None where that is not known."""
        return None if self.on_postgresql else await self._glance("PRAGMA data_version")

    async def _glance(self, statement: str) -> int:
        """Ask SQLite for a number by one errand to a thread, over a connection that never writes."""
        async with self._glancing:
            with self.telling():
                return await asyncio.to_thread(self._number, statement)

    def _number(self, statement: str) -> int:
        if self._glances is None:
            self._glances = self.own_connection()
        return int(self._glances.execute(statement).fetchone()[0])

    @asynccontextmanager
    async def _connection(self, options: Mapping[str, Any]) -> AsyncIterator[AsyncConnection]:
        try:
            async with self.engine.connect() as connection:
                yield await connection.execution_options(**options) if options else connection
        except (OperationalError, InterfaceError) as error:
            raise self.unavailable(_words(error)) from error
        except NoConnectionError as error:
            raise self.unavailable("all connections are in use") from error
        except DataError as error:
            problem = Problem("request", "holds a text or a number that cannot be stored, such as a NUL; remove it")
            raise InvalidError([problem], reason="VALUE_UNSTORABLE") from error
        except DBAPIError as error:
            # SQLite says of a damaged file, or of one that is no database, no more than that much.
            if not error.connection_invalidated and type(error) is not DatabaseError:
                raise
            raise self.unavailable(_words(error)) from error

    def unavailable(self, cause: str) -> UnavailableError:
        """Return what callers are told; the cause goes to the log alone."""
        log.warning("database_unavailable", service=self.service, error=cause)
        return UnavailableError(
            f"the database of the {self.service} service does not answer; try again later",
            reason="DATABASE_UNAVAILABLE",
        )


def normalised(url: str) -> URL:
    """Return the URL with the driver that we use: aiosqlite or psycopg."""
    parsed = make_url(url)
    drivers = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+psycopg", "postgres": "postgresql+psycopg"}
    return parsed.set(drivername=drivers.get(parsed.drivername, parsed.drivername))


def _words(error: BaseException | None) -> str:
    """Return the first line of what the driver says."""
    return next(iter(str(error.orig).splitlines()), "no reason given") if isinstance(error, DBAPIError) else ""
