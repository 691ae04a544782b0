"""See to it that a place in a journal has one attempt, where the database does not.

PostgreSQL keeps attempts in partitions, and there only ids can be unique. All writers take one lock first, so what is looked up
stays true until the commit.
"""

from collections.abc import Mapping, Sequence

from services.reporting.model.events import Batch
from services.reporting.store.driver import Driver
from services.reporting.store.rows import JournalName, Row, name_of

MOST_PARAMETERS = 500
_SELECT = "SELECT journal_key, seq, event_id FROM reporting_attempt"


class Places:
    """Look up which attempts have which places, on the connection of the sink."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    def free(self, events: Sequence[Row], overlapping: set[int]) -> Sequence[Row]:
        """Return the attempts without those of these journals whose place another one has; the first at a place has it."""
        if not overlapping:
            return events
        again = [row for row in events if row[0] in overlapping]
        owners: dict[tuple[object, object], object] = {}
        for start in range(0, len(again), MOST_PARAMETERS):
            few = again[start : start + MOST_PARAMETERS]
            seqs, keys = tuple(row[1] for row in few), tuple({row[0] for row in few})
            query = f"{_SELECT} WHERE journal_key IN ({marks(keys)}) AND seq IN ({marks(seqs)})"
            owners |= {(row[0], row[1]): row[2] for row in self._driver.fetch(query, keys + seqs)}
        return [
            row for row in events if row[0] not in overlapping or owners.setdefault((row[0], row[1]), row[2]) == row[2]
        ]


def overlapping(batches: Sequence[Batch], journals: Mapping[JournalName, tuple[int, int]]) -> set[int]:
    """Return the keys of the journals of which places come again: at or below the highest place, or twice in the group.

    Journals are known by their names, with their keys and highest places.
    """
    reached: dict[int, int] = {}
    found: set[int] = set()
    for batch in batches:
        if seqs := batch.seqs():
            key, high_water = journals[name_of(batch)]
            if seqs[0] <= reached.get(key, high_water) or len(seqs) < batch.size:
                found.add(key)
            reached[key] = max(seqs[-1], reached.get(key, high_water))
    return found


def marks(values: Sequence[object]) -> str:
    """Return the marks that stand for so many parameters."""
    return ", ".join("?" * len(values))
