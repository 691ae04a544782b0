"""Compare what there is with what a change was planned against."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from services._chassis.expected import TIME, Expected, present_state, refuse_differing
from services.policy.model.application import KINDS_BY_NAME, AnyStored
from services.policy.model.objects import Key
from services.policy.ports import Work

MOST_ASKED = 100
"""Objects that are gone whose end is looked up; a refusal has room for fewer."""

Sees = Callable[[frozenset[str]], bool]
"""Tells by its tags whether an object may be named to the caller."""


async def refuse_unexpected(
    work: Work, expected: Sequence[Expected], present: Mapping[Key, AnyStored], *, sees: Sees
) -> None:
    """Raise ConflictError that says of every object which is not as expected who changed it and when."""
    said: list[_Said] = []
    for entry in expected:
        now = present.get((KINDS_BY_NAME[entry.kind], entry.name))
        if now is None and entry.etag:
            said.append(await _gone(work, entry, sees) if len(said) < MOST_ASKED else _named(entry, "is gone"))
        elif now is not None and (now.about.etag != entry.etag or not sees(now.about.scope_tags)):
            said.append(_changed(entry, now, sees))
    refuse_differing([each.text for each in said], next((each.state for each in said if each.state), None))


@dataclass(frozen=True, slots=True)
class _Said:
    """Hold what is said of an object that is not as expected, to people and to programs."""

    text: str
    state: Mapping[str, str] = field(default_factory=dict)
    """Empty for what the caller may not see."""


_UNSEEN = _Said("an object that you may not see has changed")


def _changed(entry: Expected, now: AnyStored, sees: Sees) -> _Said:
    if not sees(now.about.scope_tags):
        return _UNSEEN
    what = "was changed" if entry.etag else "is there already, changed last"
    return _named(entry, what, etag=now.about.etag, by=now.about.updated_by, at=now.about.updated)


async def _gone(work: Work, entry: Expected, sees: Sees) -> _Said:
    last = await work.history.newest(KINDS_BY_NAME[entry.kind], entry.name)
    if last is None:
        return _named(entry, "never was there")
    if not sees(last.revision.scope_tags):
        return _UNSEEN
    return _named(entry, "was deleted", by=last.revision.author, at=last.revision.time)


def _named(entry: Expected, what: str, *, etag: str = "", by: str = "", at: datetime | None = None) -> _Said:
    when = f" by {by} at {at:{TIME}}" if at else ""
    state = present_state(etag, kind=entry.kind, name=entry.name, changed_by=by, changed=at)
    return _Said(f'{entry.kind} "{entry.name}" {what}{when}', state)
