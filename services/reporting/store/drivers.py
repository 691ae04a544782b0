"""Raw drivers on the one hot path: `sqlite3` and `psycopg`, each used by one thread.

SQLAlchemy costs a factor of two to thirty here; everything else in this service goes through it. Both drivers commit
durably: SQLite with synchronous=FULL, PostgreSQL with synchronous_commit=on, whatever the server's default.
"""

from sqlalchemy.engine import URL

from services.reporting.store.driver import Driver
from services.reporting.store.postgres_driver import PostgresDriver
from services.reporting.store.sqlite_driver import SETTINGS, WRITER_SETTINGS, SqliteDriver


def driver_of(url: URL, *, lock_timeout: float = 0, of_writer: bool = False) -> Driver:
    """Return the driver for the database at this URL.

    On PostgreSQL it waits `lock_timeout` seconds for a lock, or, with 0, for as long as another one holds it.
    On SQLite the one `of_writer` keeps in memory what others may write into temporary files.
    """
    if url.get_backend_name() == "postgresql":
        return PostgresDriver(url, lock_timeout=lock_timeout)
    return SqliteDriver(url.database or "", WRITER_SETTINGS if of_writer else SETTINGS)
