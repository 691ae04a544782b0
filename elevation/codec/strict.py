"""Refuse what is not understood: unknown fields, unknown words and values that no noun of the kernel has."""

from collections.abc import Iterator

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.unknown_fields import UnknownFieldSet


class CodecError(ValueError):
    """A message that the kernel does not understand, with the place of what it stumbled over."""

    def __init__(self, path: str, message: str) -> None:
        super().__init__(f"{path}: {message}" if path else message)
        self.path = path
        self.fault = message


def refuse_unknown(message: Message) -> None:
    """Raise CodecError if a message holds an unknown field or an unknown enum value, at whatever depth.

    INVARIANT: nothing of a policy document is ignored, because a newer server may mean a restriction by it.
    """
    for path, fault in unknown_parts(message):
        raise CodecError(path, fault)


def unknown_parts(message: Message, path: str = "") -> Iterator[tuple[str, str]]:
    """Name the place of every unknown field and enum value in a message, and what is wrong there."""
    unknown = UnknownFieldSet(message)
    if len(unknown):
        yield path or message.DESCRIPTOR.name, f"holds unknown field {unknown[0].field_number}"
    for field, value in message.ListFields():
        place = f"{path}.{field.name}" if path else field.name
        values = value if field.is_repeated else [value]
        for number, item in enumerate(values):
            where = f"{place}[{number}]" if field.is_repeated else place
            yield from _unknown_in(field, item, where)


def _unknown_in(field: FieldDescriptor, item: object, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(item, Message):
        yield from unknown_parts(item, path)
    elif field.enum_type is not None and item not in field.enum_type.values_by_number:
        yield path, f"holds unknown value {item}"
