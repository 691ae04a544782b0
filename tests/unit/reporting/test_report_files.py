"""The forms of a file, without a database."""

import random
import sys
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from epm.elevation.v1 import event_pb2
from epm.reporting.v1 import reports_pb2
from services._chassis.errors import InvalidError
from services.reporting.reportexport.decided import decided_part
from services.reporting.reportexport.fields import Field, Kind, Words, columns_of, fields_of
from services.reporting.reportexport.forms import form_of
from services.reporting.reportexport.parquet import Parquet
from services.reporting.reportexport.parts import Part, columns, part_of, parts_of, raw_of, spread
from services.reporting.reportexport.texts import Csv
from tests.fakes.reporting import decided, unmanaged

USERS = fields_of(reports_pb2.UserCount.DESCRIPTOR)
ELEVATIONS = fields_of(reports_pb2.Elevation.DESCRIPTOR)


def users(*names: str) -> tuple[Part, ...]:
    return parts_of(USERS, raw_of(USERS, [reports_pb2.UserCount(user=name, managed=1, total=1) for name in names]))


def elevations(*messages: reports_pb2.Elevation) -> dict[str, Sequence[object]]:
    parts = parts_of(ELEVATIONS, raw_of(ELEVATIONS, messages))
    names = [name for name, _ in columns_of(ELEVATIONS)]
    return dict(zip(names, (spread(*column) for column in columns(parts)), strict=True))


def test_a_row_group_is_written_as_soon_as_there_is_enough_for_one() -> None:
    by_number, by_size = Parquet(USERS, most_entries=4), Parquet(USERS, most_bytes=1)
    begun = by_number.write(users("a", "b"))
    assert by_number.written == 0
    data = begun + by_number.write(users("c", "d"))
    assert by_number.written == 4
    assert len(data) > len(begun)
    data += by_number.write(users("e")) + by_number.end()
    file = pq.ParquetFile(pa.BufferReader(data))
    assert [file.metadata.row_group(index).num_rows for index in range(file.metadata.num_row_groups)] == [4, 1]
    assert file.read().column("user").to_pylist() == ["a", "b", "c", "d", "e"]
    by_size.write(users("a"))
    assert by_size.written == 1


def test_parquet_is_refused_by_a_server_that_cannot_write_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "services.reporting.reportexport.parquet")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(InvalidError) as refused:
        form_of("PARQUET", USERS)
    assert (refused.value.reason, refused.value.problems[0].field) == ("FORMAT_MISSING", "format")
    assert form_of("CSV", USERS).end() == b"user,managed,unmanaged,total\r\n"


def test_a_word_of_a_newer_device_is_written_as_its_number() -> None:
    newer = event_pb2.Decided(outcome=99, trigger=0)  # type: ignore[arg-type]
    found = elevations(reports_pb2.Elevation(decided=newer))
    assert (found["decided.outcome"], found["decided.trigger"]) == (["99"], [None])


def test_what_is_absent_has_no_value_and_what_is_empty_has_one() -> None:
    told = reports_pb2.Elevation(decided=event_pb2.Decided(parent=event_pb2.ParentProcess()))
    found = elevations(told, reports_pb2.Elevation(exit_code=0))
    assert found["decided.parent.rule"] == ["", None]
    assert found["decided.user"] == ["", None]
    assert (found["exitCode"], found["occurred"]) == ([None, 0], [None, None])


def various(number: int) -> event_pb2.ElevationEvent:
    """Return one of many events, much of which others have too."""
    draw = random.Random(number)  # noqa: S311 - a test
    make = unmanaged if draw.random() < 0.3 else decided
    event = make(
        number,
        user=draw.choice(["alice", "bob", "J\u00fcrgen"]),
        arguments=draw.choice([[], ["/a"], ["/a", f"{number}"]]),
        justification=draw.choice(["", "needed"]),
        file=draw.choice([{}, {"path": "C:/other.exe", "sha256": ""}]),
        result=draw.choice([1, 3, 99]),
        grant_id=draw.choice(["", "grant"]),
    )
    told = event.decided
    match draw.randrange(6):
        case 0:
            told.ClearField("file")
        case 1:
            told.file.Clear()
            told.file.SetInParent()
        case 2:
            told.parent.SetInParent()
        case 3:
            told.parent.policy = "tools"
        case 4:
            told.losers.add(policy="p", rule="r", lost_at=draw.choice([0, 1, 99]))
        case _:
            # What a newer device tells beside all that this server knows.
            told.MergeFromString(b"\xfa\x3f\x03new")
    return event


def test_events_that_are_alike_are_read_as_each_is_by_itself() -> None:
    events = [*map(various, range(300)), event_pb2.ElevationEvent(event_id="nothing was decided")]
    field = next(one for one in ELEVATIONS if one.name == "decided")
    read = decided_part(field, [event.SerializeToString() for event in events])
    whole = part_of(field, [event.decided for event in events])
    assert {one.field.name for one in read.parts if one.indices is not None and len(one.values) < 100} >= {
        "file",
        "rule",
    }
    assert [spread(*column) for column in columns([read])] == [list(column.values) for column in columns([whole])]
    for word in ("CSV", "JSON_LINES", "PARQUET"):
        one, other = form_of(word, [field]), form_of(word, [field])
        assert one.write([read]) + one.end() == other.write([whole]) + other.end()
        assert one.written == len(events)


def test_a_time_is_written_as_exactly_as_it_is_known() -> None:
    time = Field(name="at", json="at", kind=Kind.TIME, words=Words())
    told = [0, 1, 1_000, 1_000_000, 86_399_999_999, -1, 1_700_000_000_123_456]
    assert Csv([time]).write([part_of(time, told)]).decode().split("\r\n") == [
        "at",
        "1970-01-01T00:00:00Z",
        "1970-01-01T00:00:00.000001Z",
        "1970-01-01T00:00:00.001Z",
        "1970-01-01T00:00:01Z",
        "1970-01-01T23:59:59.999999Z",
        "1969-12-31T23:59:59.999999Z",
        "2023-11-14T22:13:20.123456Z",
        "",
    ]
