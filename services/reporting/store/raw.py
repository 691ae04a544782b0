"""Rows as the driver returns them, for reads of very many: SQLAlchemy doubles what a row costs.

The statement is SQLAlchemy's, and so are the connection and its transaction.
"""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from services._chassis.db import Transaction


async def raw_rows(tx: Transaction, statement: sa.Select[Any]) -> Sequence[tuple[Any, ...]]:
    """Return all rows of a query."""
    dialect = tx.connection.dialect
    compiled = statement.compile(dialect=dialect, compile_kwargs={"render_postcompile": True})
    named = compiled.construct_params(escape_names=False)
    places = compiled.positiontup
    parameters = named if places is None else [named[name] for name in places]
    connection = (await tx.connection.get_raw_connection()).driver_connection
    if connection is None:
        raise RuntimeError("a transaction has a connection")
    found: Sequence[tuple[Any, ...]]
    if dialect.name != "postgresql":
        # One errand to the connection's thread.
        found = await connection.execute_fetchall(str(compiled), parameters)
        return found
    # Bytes would come as text twice as long, and numbers as digits, unless what is stored is asked for.
    async with connection.cursor(binary=True) as cursor:
        await cursor.execute(str(compiled), parameters)
        found = await cursor.fetchall()
    return found
