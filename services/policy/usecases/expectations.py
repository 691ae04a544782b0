"""Compare what there is with what a change was planned against."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from services._chassis.expected import Expected, refuse_differing
from services.policy.model.application import KINDS_BY_NAME, AnyStored
from services.policy.model.objects import Key
from services.policy.ports import Work

MOST_ASKED = 100
"""Objects that are gone whose end is looked up; a refusal has room for fewer."""

Sees = Callable[[frozenset[str]], bool]
"""Tells by its tags whether an object may be named to the caller."""

_HIDDEN = "an object that you may not see has changed"


async def refuse_unexpected(
    work: Work, expected: Sequence[Expected], present: Mapping[Key, AnyStored], *, sees: Sees
) -> None:
    """Raise ConflictError that says of every object which is not as expected who changed it and when."""
    said: list[str] = []
    for entry in expected:
        now = present.get((KINDS_BY_NAME[entry.kind], entry.name))
        if now is None and entry.etag:
            said.append(await _gone(work, entry, sees) if len(said) < MOST_ASKED else _named(entry, "is gone"))
        elif now is not None and (now.about.etag != entry.etag or not sees(now.about.scope_tags)):
            said.append(_changed(entry, now, sees))
    refuse_differing(said)


def _changed(entry: Expected, now: AnyStored, sees: Sees) -> str:
    if not sees(now.about.scope_tags):
        return _HIDDEN
    what = "was changed" if entry.etag else "is there already, changed last"
    return _named(entry, what, by=now.about.updated_by, at=now.about.updated)


async def _gone(work: Work, entry: Expected, sees: Sees) -> str:
    last = await work.history.newest(KINDS_BY_NAME[entry.kind], entry.name)
    if last is None:
        return _named(entry, "never was there")
    if not sees(last.revision.scope_tags):
        return _HIDDEN
    return _named(entry, "was deleted", by=last.revision.author, at=last.revision.time)


def _named(entry: Expected, what: str, *, by: str = "", at: datetime | None = None) -> str:
    when = f" by {by} at {at:%Y-%m-%dT%H:%M:%SZ}" if at else ""
    return f'{entry.kind} "{entry.name}" {what}{when}'
