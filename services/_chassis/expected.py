"""Objects as a change was planned against them: their etags, and the refusal where they are not so any more."""

import hashlib
import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from services._chassis.errors import ConflictError, Problem

MOST_CHARACTERS = 900
"""Characters of a refusal that name objects: an answer that is too long is cut where it happens to end."""

TIME = "%Y-%m-%dT%H:%M:%SZ"
_DIGITS = 32


@dataclass(frozen=True, slots=True)
class Expected:
    """An object that has to have this etag; an empty one says that the object must not be there."""

    kind: str
    name: str
    etag: str


def etag_of(document: Mapping[str, object]) -> str:
    """Return an etag made from the content of an object: the same content has the same one, whoever wrote it and when."""
    text = json.dumps(document, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]


def check_expected(expected: Sequence[Expected], kinds: Collection[str]) -> Iterator[Problem]:
    """Find what is wrong with expectations: kinds that there are not, and objects that are named twice."""
    seen: set[tuple[str, str]] = set()
    for number, entry in enumerate(expected):
        at = f"expected[{number}]"
        if entry.kind not in kinds:
            yield Problem(f"{at}.kind", f'"{entry.kind}" is none of {", ".join(kinds)}')
        elif (entry.kind, entry.name) in seen:
            yield Problem(f"{at}.name", f'"{entry.name}" stands twice; remove one')
        seen.add((entry.kind, entry.name))


def refuse_stale(expected: Sequence[Expected], present: Callable[[Expected], str]) -> None:
    """Raise ConflictError naming every object that is not as expected; `present` gives the etag of now, empty for none."""
    differing = [(entry, now) for entry in expected if (now := present(entry)) != entry.etag]
    first = [present_state(now, kind=entry.kind, name=entry.name) for entry, now in differing[:1]]
    refuse_differing([_said(entry, now) for entry, now in differing], *first)


def refuse_differing(said: Sequence[str], first: Mapping[str, str] | None = None) -> None:
    """Raise ConflictError with what is said of every object that is not as expected, if there is one.

    `first` is the present state of the first of them, for programs.
    """
    if said:
        message = f"changed since this was planned: {listed(said)}; read the objects again and plan anew"
        raise ConflictError(message, stale=True, details=first or {})


def present_state(
    etag: str, *, kind: str = "", name: str = "", changed_by: str = "", changed: datetime | None = None
) -> dict[str, str]:
    """Tell programs which state of an object a call met: the etag of now, empty for none, and who made it when."""
    told = {"kind": kind, "name": name, "changed_by": changed_by, "changed": f"{changed:{TIME}}" if changed else ""}
    return {"etag": etag, **{key: value for key, value in told.items() if value}}


def _said(entry: Expected, now: str) -> str:
    what = f'{entry.kind} "{entry.name}"'
    if not now:
        return f"{what} is not there any more"
    return f"{what} has changed" if entry.etag else f"{what} is there already"


def listed(said: Sequence[str]) -> str:
    """List as many as there is room for, one at least, and say how many there are beside them."""
    shown, room = [said[0]], MOST_CHARACTERS - len(said[0])
    for text in said[1:]:
        room -= len(text) + 2
        if room < 0:
            break
        shown.append(text)
    more = len(said) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")
