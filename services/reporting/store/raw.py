"""Rows as the driver returns them, for reads of very many: SQLAlchemy doubles what a row costs.

The statement is SQLAlchemy's, and so are the connection and its transaction.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import sqlalchemy as sa

from services._chassis.db import Transaction

Fetch = Callable[[int], Awaitable[Sequence[tuple[Any, ...]]]]
"""Returns up to so many of the next rows; none at the end."""


@asynccontextmanager
async def raw_rows(tx: Transaction, statement: sa.Select[Any]) -> AsyncIterator[Fetch]:
    """Run a query; its rows stay with the database until they are fetched."""
    dialect = tx.connection.dialect
    compiled = statement.compile(dialect=dialect, compile_kwargs={"render_postcompile": True})
    named = compiled.construct_params(escape_names=False)
    places = compiled.positiontup
    parameters = named if places is None else [named[name] for name in places]
    connection = (await tx.connection.get_raw_connection()).driver_connection
    if connection is None:
        raise RuntimeError("a transaction has a connection")
    cursor = connection.cursor("report") if dialect.name == "postgresql" else await connection.cursor()
    try:
        await cursor.execute(str(compiled), parameters)
        yield cursor.fetchmany
    finally:
        await cursor.close()
