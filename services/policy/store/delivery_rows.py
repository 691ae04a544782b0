"""Deliveries as rows, in the driver's own terms: they are read and written many times for each device and change.

A statement of the driver costs a tenth of one that is composed and converted column by column. SQLite keeps lists and times
as text, in the form in which SQLAlchemy reads and writes them elsewhere; PostgreSQL's driver knows both.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from operator import attrgetter
from typing import Any, Protocol

from services.policy.model.bundle import UNKNOWN, Bundle
from services.policy.model.delivery import Delivery, Desired

COLUMNS = (
    "device_id",
    "revision",
    "sha256",
    "desired",
    "offered",
    "applied_revision",
    "applied_desired",
    "rejected_revision",
    "rejections",
    "confirmed",
    "lost",
    "stream",
    "seen",
    "runs",
    "key_ids",
    "bundle",
    "applied_bundle",
    "put_off",
    "life",
)
"""In the order of the rows."""

_LISTED = ", ".join(COLUMNS)
_SELECT = f"SELECT {_LISTED} FROM policy_delivery WHERE device_id"  # noqa: S608 - our own names
_DESIRED = {desired.value: desired for desired in Desired}


_STREAMS = "SELECT device_id, stream FROM policy_delivery WHERE device_id"


def _hold(mark: str) -> str:
    values = f"seen = {mark}, confirmed = COALESCE({mark}, confirmed)"
    return f"UPDATE policy_delivery SET {values} WHERE device_id = {mark} AND stream = {mark}"  # noqa: S608 - our own names


def _marks(mark: str) -> str:
    return ", ".join([mark] * len(COLUMNS))


_INSERT = f"INSERT INTO policy_delivery ({_LISTED})"
_UPDATED = ", ".join(f"{name} = %s" for name in COLUMNS[1:])
_REPLACED = ", ".join(f"{name} = excluded.{name}" for name in COLUMNS[1:])


class DeliveryRows(Protocol):
    """Speak one database's language."""

    select: str
    """Asks for the rows of the devices in `asked`."""
    hold: str
    """Writes when a stream was seen and perhaps confirmed, if it is still the device's newest."""
    streams: str
    """Asks for the newest streams of the devices in `asked`."""

    def asked(self, device_ids: Sequence[str]) -> tuple[object, ...]:
        """Return the parameters that name the devices."""
        ...

    def time(self, time: datetime | None) -> object:
        """Write a time."""
        ...

    def read_time(self, value: Any) -> datetime | None:
        """Read a time."""
        ...

    def read_list(self, value: Any) -> tuple[str, ...]:
        """Read a list of texts."""
        ...


class SqliteRows:
    """Speak SQLite's, which needs no locks: one transaction writes at a time."""

    select = f"{_SELECT} IN (SELECT value FROM json_each(?))"  # noqa: S608 - our own names
    write = f"{_INSERT} VALUES ({_marks('?')}) ON CONFLICT (device_id) DO UPDATE SET {_REPLACED}"
    """Writes a row, whether or not there is one."""
    hold = _hold("?")
    streams = f"{_STREAMS} IN (SELECT value FROM json_each(?))"  # noqa: S608 - our own names

    def update(self, columns: Sequence[int], count: int) -> str:
        """Return what writes these columns of so many rows that there are; each has its device first.

        It is one step for SQLite, in which Python goes on, and not one for each row.
        """
        names = [COLUMNS[column] for column in (0, *columns)]
        row = f"({', '.join('?' * len(names))})"
        set_to = ", ".join(f"{name} = new.{name}" for name in names[1:])
        return (
            f"WITH new({', '.join(names)}) AS (VALUES {', '.join([row] * count)}) "  # noqa: S608 - our own names
            f"UPDATE policy_delivery SET {set_to} FROM new WHERE policy_delivery.device_id = new.device_id"
        )

    def asked(self, device_ids: Sequence[str]) -> tuple[object, ...]:
        """Return one parameter, a list in JSON: the statement stays the same for any number."""
        return (json.dumps(device_ids),)

    def time(self, time: datetime | None) -> object:
        """Write a time as UTC without saying so."""
        if time is None:
            return None
        utc = time if time.tzinfo is UTC else time.astimezone(UTC)
        return utc.replace(tzinfo=None).isoformat(" ", "microseconds")

    def read_time(self, value: Any) -> datetime | None:
        """Read a time as UTC."""
        return None if value is None else datetime.fromisoformat(value).replace(tzinfo=UTC)

    def read_list(self, value: Any) -> tuple[str, ...]:
        """Read JSON; most lists are empty."""
        return () if value == "[]" else tuple(json.loads(value))


class PostgresRows:
    """Speak PostgreSQL's."""

    select = f"{_SELECT} = ANY(%s)"
    lock = f"{select} ORDER BY device_id FOR UPDATE"
    """Asks for them and keeps others from changing them."""
    insert = f"{_INSERT} VALUES ({_marks('%s')}) ON CONFLICT DO NOTHING"
    """Makes a row unless there is one."""
    update = f"UPDATE policy_delivery SET {_UPDATED} WHERE device_id = %s"  # noqa: S608 - our own names
    """Writes a row that there is."""
    hold = _hold("%s")
    streams = f"{_STREAMS} = ANY(%s)"

    def asked(self, device_ids: Sequence[str]) -> tuple[object, ...]:
        """Return one parameter, an array."""
        return (list(device_ids),)

    def time(self, time: datetime | None) -> object:
        """Write a time as it is."""
        return time

    def read_time(self, value: Any) -> datetime | None:
        """Read a time as UTC."""
        return None if value is None else value.astimezone(UTC)

    def read_list(self, value: Any) -> tuple[str, ...]:
        """Read what the driver has read already."""
        return tuple(value)


def to_row(delivery: Delivery, rows: DeliveryRows) -> tuple[object, ...]:
    """Write a delivery, its device first."""
    return tuple(written([values_of(delivery)], _ALL, rows))


def written(many: Iterable[Sequence[Any]], columns: Iterable[int], rows: DeliveryRows) -> list[object]:
    """Write these columns of the values of many deliveries, one after the other."""
    writers = [(column, _WRITERS[column]) for column in columns]
    return [write(values[column], rows) if write else values[column] for values in many for column, write in writers]


def differing(old: Sequence[Any], new: Sequence[Any]) -> tuple[int, ...]:
    """Return the columns in which the values of one device may differ: where they hold one and the same object they do not."""
    return tuple([column for column in _BESIDE_ID if old[column] is not new[column]])


def from_row(row: Sequence[Any], rows: DeliveryRows) -> Delivery:
    """Read a delivery."""
    return Delivery(
        device_id=row[0],
        revision=row[1],
        sha256=row[2],
        desired=_DESIRED[row[3]],
        offered=rows.read_time(row[4]),
        applied_revision=row[5],
        applied_desired=_DESIRED[row[6]] if row[6] else None,
        rejected_revision=row[7],
        rejections=rows.read_list(row[8]),
        confirmed=rows.read_time(row[9]),
        lost=rows.read_time(row[10]),
        stream=row[11],
        seen=rows.read_time(row[12]),
        runs=rows.read_list(row[13]),
        key_ids=rows.read_list(row[14]),
        bundle=Bundle(row[15]) if row[15] else UNKNOWN,
        applied_bundle=Bundle(row[16]) if row[16] else UNKNOWN,
        put_off=rows.read_time(row[17]),
        life=rows.read_time(row[18]),
    )


def _time(time: datetime | None, rows: DeliveryRows) -> object:
    return rows.time(time)


def _list(texts: Sequence[str], _rows: DeliveryRows) -> str:
    return json.dumps(texts) if texts else "[]"


def _desired(desired: Desired | None, _rows: DeliveryRows) -> str:
    return desired.value if desired else ""


def _digest(bundle: Bundle, _rows: DeliveryRows) -> bytes | None:
    return bundle.digest or None


_OTHERWISE: Mapping[str, Callable[[Any, DeliveryRows], object]] = {
    **dict.fromkeys(("offered", "confirmed", "lost", "seen", "put_off", "life"), _time),
    **dict.fromkeys(("rejections", "runs", "key_ids"), _list),
    **dict.fromkeys(("desired", "applied_desired"), _desired),
    **dict.fromkeys(("bundle", "applied_bundle"), _digest),
}
_WRITERS = [_OTHERWISE.get(name) for name in COLUMNS]
_ALL = range(len(COLUMNS))
_BESIDE_ID = _ALL[1:]
values_of: Callable[[Delivery], Sequence[Any]] = attrgetter(*COLUMNS)
"""Returns what a delivery holds, in the order of the columns."""
