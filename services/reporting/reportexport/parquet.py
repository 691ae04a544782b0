"""The form of a file that is Apache Parquet: the one module that knows pyarrow, which is loaded with it.

- Columns have the names that they have in CSV, and types: lists are lists, times are UTC timestamps in microseconds.
- A row group is written as soon as there are enough entries for one, or enough bytes: the file grows, memory does not.
"""

from collections.abc import Iterator, Mapping, Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from services.reporting.reportexport.fields import Field, Kind, columns_of
from services.reporting.reportexport.parts import Part, columns

MOST_ENTRIES = 65_536
MOST_BYTES = 16 * 1024 * 1024
"""What a row group holds at most, or with its last piece a little more; it is kept in memory until it is written."""

_REPEATED = frozenset({Kind.TEXT, Kind.WORD})
_TYPES: Mapping[Kind, pa.DataType] = {
    Kind.TEXT: pa.string(),
    Kind.WORD: pa.string(),
    Kind.WHOLE: pa.int64(),
    Kind.COUNT: pa.uint64(),
    Kind.TRUTH: pa.bool_(),
    Kind.TIME: pa.timestamp("us", tz="UTC"),
}


class _Outbox:
    """Take what is written until it is sent."""

    def __init__(self) -> None:
        self._waiting: list[bytes] = []
        self.closed = False

    def write(self, data: bytes) -> int:
        """Take bytes."""
        self._waiting.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        """Have nothing to hand on: it waits to be sent."""

    def close(self) -> None:
        """Note that the file is whole."""
        self.closed = True

    def taken(self) -> bytes:
        """Return what waits, and forget it."""
        data = b"".join(self._waiting)
        self._waiting.clear()
        return data


class Parquet:
    """Write Parquet."""

    def __init__(
        self, fields: Sequence[Field], *, most_entries: int = MOST_ENTRIES, most_bytes: int = MOST_BYTES
    ) -> None:
        self._most_entries = most_entries
        self._most_bytes = most_bytes
        named = tuple(columns_of(fields))
        self._schema = pa.schema([_column(name, field) for name, field in named])
        self._outbox = _Outbox()
        self._writer = pq.ParquetWriter(
            pa.PythonFile(self._outbox, mode="w"),
            self._schema,
            compression="zstd",
            compression_level=1,
            # Texts come again and again; a dictionary of times makes the file larger, and takes longer.
            use_dictionary=[name for name, field in named if field.kind in _REPEATED and not field.many],
        )
        self._waiting: list[pa.RecordBatch] = []
        self._bytes = 0
        self.written = 0

    def write(self, parts: Sequence[Part]) -> bytes:
        """Take entries, and write a row group where there are enough."""
        batch = pa.RecordBatch.from_arrays(list(self._arrays(parts)), schema=self._schema)
        self._waiting.append(batch)
        self._bytes += batch.nbytes
        entries = sum(batch.num_rows for batch in self._waiting)
        if entries >= self._most_entries or self._bytes >= self._most_bytes:
            self._write_group()
        return self._outbox.taken()

    def end(self) -> bytes:
        """Write the last row group, and what a reader begins with."""
        self._write_group()
        self._writer.close()
        return self._outbox.taken()

    def _arrays(self, parts: Sequence[Part]) -> Iterator[pa.Array]:
        indices: dict[int, pa.Array] = {}
        for field, column in zip(self._schema, columns(parts), strict=True):
            values = pa.array(column.values, field.type)
            if column.indices is not None:
                # Many columns have the same indices.
                key = id(column.indices)
                if key not in indices:
                    indices[key] = pa.array(column.indices, pa.int32())
                values = values.take(indices[key])
            yield values

    def _write_group(self) -> None:
        group = pa.Table.from_batches(self._waiting, self._schema)
        if group.num_rows:
            self._writer.write_table(group, row_group_size=group.num_rows)
        self.written += group.num_rows
        self._waiting.clear()
        self._bytes = 0


def _column(name: str, field: Field) -> pa.Field:
    return pa.field(name, _type_of(field))


def _type_of(field: Field) -> pa.DataType:
    if field.kind is Kind.GROUP:
        one = pa.struct([_column(inner.json, inner) for inner in field.fields])
    else:
        one = _TYPES[field.kind]
    return pa.list_(one) if field.many else one
