"""What stores events needs of the one connection that writes them."""

from collections.abc import Sequence
from typing import Protocol

from services.reporting.store.rows import Row, Target


class RefusedError(Exception):
    """Say that the database refuses a value: trying the same rows again can never succeed."""


class LostError(Exception):
    """Say that the database cannot be reached, is full or broken: trying again may succeed."""


class Driver(Protocol):
    """Run statements on one connection; a `?` stands for a parameter."""

    def begin(self, *, snapshot: bool = False) -> None:
        """Begin a transaction, connecting first where needed; or one that sees one state of the data and writes nothing that lasts."""
        ...

    def commit(self) -> None:
        """Make the transaction durable."""
        ...

    def rollback(self) -> None:
        """Forget the transaction; never raises."""
        ...

    def insert(self, target: Target, rows: Sequence[Row]) -> int:
        """Insert the rows that are not there yet, and return how many rows that made or changed."""
        ...

    def run(self, statement: str, rows: Sequence[Row]) -> int:
        """Run a statement once a row, and return how many rows of the table it changed."""
        ...

    def fetch(self, statement: str, parameters: Row) -> list[Row]:
        """Return the rows of a query, or none where a statement gives none."""
        ...

    def close(self) -> None:
        """Close the connection."""
        ...
