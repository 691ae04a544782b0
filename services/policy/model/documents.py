"""Objects in document form, for the audit record: what an administrator would write to get the object."""

from dataclasses import fields, is_dataclass
from datetime import timedelta
from enum import Enum

from elevation.certificates import to_pem
from elevation.model import Certificate
from elevation.settings import duration
from services.policy.model.objects import Content, Stored


def document_of(stored: Stored[Content]) -> dict[str, object]:
    """Write an object with all its values; whatever it says is an administrator's own text, never a secret of ours."""
    written = _fields(stored.content)
    metadata = {
        "name": written.pop("name"),
        "description": written.pop("description"),
        "scopeTags": sorted(stored.about.scope_tags),
        "labels": dict(stored.about.labels),
    }
    return {"metadata": metadata, "spec": written}


def _fields(noun: object) -> dict[str, object]:
    if not is_dataclass(noun):
        raise TypeError(f"{type(noun).__name__} is no noun")
    values = ((field.name, getattr(noun, field.name)) for field in fields(noun))
    # Only `staleAfter: null` says something; any other absence is written by leaving the key out.
    return {_key(name, value): _plain(value) for name, value in values if value is not None or name == "stale_after"}


def _key(name: str, value: object) -> str:
    if isinstance(value, Certificate):
        return "pem"
    first, *rest = {"check": "ignore"}.get(name, name).split("_")
    return first + "".join(word.capitalize() for word in rest)


def _plain(value: object) -> object:
    plain = value
    match value:
        case Certificate():
            plain = to_pem(value)
        case Enum():
            plain = value.name
        case timedelta():
            plain = f"PT{value.total_seconds():.15g}S" if value.microseconds else duration(value)
        case frozenset():
            plain = sorted(str(_plain(item)) for item in value)
        case tuple():
            plain = [_plain(item) for item in value]
        case _ if is_dataclass(value):
            plain = _fields(value)
    return plain
