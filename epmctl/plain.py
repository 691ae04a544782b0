"""Turn messages of the contracts into plain values, the JSON form that every command prints, and times into messages.

The form is stable: every field stands under its lowerCamelCase name whether it is set or not; enums lose their prefix;
times are RFC 3339 in UTC, durations ISO 8601, bytes hexadecimal; null says that something is absent or unspecified.
"""

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Final, cast

from google.protobuf.descriptor import EnumDescriptor, FieldDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from epmctl.output import Plain

_WORD: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_UNSPECIFIED: Final = "UNSPECIFIED"


def to_plain(message: Message) -> dict[str, Plain]:
    """Give the plain form of a message."""
    return {
        field.json_name: _field(message, field)
        for field in cast("Sequence[FieldDescriptor]", message.DESCRIPTOR.fields)
        if field.containing_oneof is None or _optional(field) or message.HasField(field.name)
    }


def to_timestamp(time: datetime | None) -> Timestamp | None:
    """Give a time as the contracts carry it; None stays absent."""
    if time is None:
        return None
    stamp = Timestamp()
    stamp.FromDatetime(time)
    return stamp


def word_of(vocabulary: EnumDescriptor, number: int) -> str | None:
    """Give the word of an enum's number without its prefix; None for unspecified, the number for one of a newer server."""
    value = vocabulary.values_by_number.get(number)
    if value is None:
        return str(number)
    word = value.name.removeprefix(prefix_of(vocabulary))
    return None if word == _UNSPECIFIED else word


def words_of(vocabulary: EnumDescriptor) -> dict[str, int]:
    """Give the words of an enum with their numbers, the unspecified one left out."""
    prefix = prefix_of(vocabulary)
    named = {value.name.removeprefix(prefix): value.number for value in vocabulary.values}
    return {word: number for word, number in named.items() if word != _UNSPECIFIED}


def prefix_of(vocabulary: EnumDescriptor) -> str:
    """Give what the names of an enum start with."""
    return _WORD.sub("_", vocabulary.name).upper() + "_"


def _field(message: Message, field: FieldDescriptor) -> Plain:
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        entries = cast("dict[str, str]", getattr(message, field.name))
        return {key: entries[key] for key in sorted(entries)}
    if field.is_repeated:
        return [_value(item, field) for item in cast("Sequence[object]", getattr(message, field.name))]
    if field.has_presence and not message.HasField(field.name):
        return None
    return _value(getattr(message, field.name), field)


def _value(value: object, field: FieldDescriptor) -> Plain:
    if isinstance(value, Timestamp):
        return value.ToJsonString()
    if isinstance(value, Duration):
        return _duration(value)
    if isinstance(value, Message):
        return to_plain(value)
    if isinstance(value, bytes):
        return value.hex()
    if field.enum_type is not None:
        return word_of(field.enum_type, cast("int", value))
    return cast("bool | int | float | str", value)


def _duration(span: Duration) -> str:
    import isodate  # noqa: PLC0415 - few messages carry one, and the start has to be quick

    return str(isodate.duration_isoformat(span.ToTimedelta()))


def _optional(field: FieldDescriptor) -> bool:
    """Tell a field marked `optional` from a member of a real choice; both stand in a oneof."""
    choice = field.containing_oneof
    return choice is not None and len(choice.fields) == 1 and choice.name == f"_{field.name}"
