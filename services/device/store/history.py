"""What became of devices, in a table of its own, in the order in which it was written."""

import sqlalchemy as sa

from services._chassis.db import Transaction
from services._chassis.paging import Page, PageRequest, cut
from services.device.model.history import HistoryEntry, HistoryKind
from services.device.store.tables import HISTORY


class SqlHistory:
    """Keep entries. Clocks may step back, and so their order is the order of commits, not that of their times."""

    def __init__(self, tx: Transaction) -> None:
        self._tx = tx

    async def add(self, *entries: HistoryEntry) -> None:
        """Add entries, the earliest first."""
        if entries:
            await self._tx.execute(sa.insert(HISTORY), [_row_of(entry) for entry in entries])

    async def page(self, device_id: str, request: PageRequest) -> Page[HistoryEntry]:
        """Return a page of a device's history, newest first."""
        question = sa.select(HISTORY).where(HISTORY.c.device_id == device_id).order_by(HISTORY.c.id.desc())
        if request.after:
            question = question.where(HISTORY.c.id < request.after[0])
        rows = (await self._tx.execute(question.limit(request.size + 1))).mappings().all()
        page = cut(rows, request, key=lambda row: (row["id"],))
        return Page(tuple(_entry_of(row) for row in page.items), page.next_token)

    async def forget(self, device_id: str) -> None:
        """Remove a device's history."""
        await self._tx.execute(sa.delete(HISTORY).where(HISTORY.c.device_id == device_id))


def _row_of(entry: HistoryEntry) -> dict[str, object]:
    row = {column.name: getattr(entry, column.name) for column in HISTORY.columns if column is not HISTORY.c.id}
    return {**row, "kind": entry.kind.value}


def _entry_of(row: sa.RowMapping) -> HistoryEntry:
    values = {name: value for name, value in row.items() if name != "id"}
    return HistoryEntry(**{**values, "kind": HistoryKind(row["kind"])})
