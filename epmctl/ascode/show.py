"""Show a plan: for people line by line, coloured on a terminal, and as JSON for programs."""

import hashlib
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Final

import click

from epm.policy.v1 import analysis_pb2
from epmctl.ascode.difference import Cause, FieldAction, FieldChange, compact, form_of
from epmctl.ascode.outlook import Outlook
from epmctl.ascode.plan import Action, Drift, ObjectChange, Plan
from epmctl.colours import may_colour
from epmctl.findings import finding_lines
from epmctl.output import Plain, show
from epmctl.plain import to_plain
from epmctl.visible import visible

LONGEST_VALUE: Final = 120
MOST_NAMED: Final = 10
"""Devices and users that are named; the counts tell of all."""

MOST_ENTRIES: Final = 20
"""Entries of one list that are shown one by one."""

_SIGNS: Final[Mapping[Action, tuple[str, str]]] = {
    Action.CREATE: ("+", "green"),
    Action.UPDATE: ("~", "yellow"),
    Action.DELETE: ("-", "red"),
}
_FIELD_SIGNS: Final[Mapping[FieldAction, tuple[str, str]]] = {
    FieldAction.ADDED: ("+", "green"),
    FieldAction.CHANGED: ("~", "yellow"),
    FieldAction.REMOVED: ("-", "red"),
}
_CAUSES: Final[Mapping[Cause, str]] = {
    Cause.FILES: "",
    Cause.DRIFT: "changed by hand; this puts it back",
    Cause.CONFLICT: "CONFLICT: changed by hand and in the files; the files win",
}


def print_plan(plan: Plan, outlook: Outlook, notes: Sequence[str]) -> None:
    """Print what would change and what would come of it."""
    colour = may_colour()
    for line in _lines(plan, outlook):
        click.echo(line, color=colour)
    for note in (*notes, *outlook.untold):
        click.echo(visible(note), err=True)


def as_json(plan: Plan, outlook: Outlook, notes: Sequence[str]) -> dict[str, Plain]:
    """Give a plan as JSON."""
    return {
        "changes": [_change_json(one) for one in plan.changes],
        "unchanged": plan.count(Action.UNCHANGED),
        "findings": [to_plain(finding) for finding in outlook.findings],
        "affected": None if outlook.reach is None else to_plain(outlook.reach),
        "notes": [*notes, *outlook.untold],
    }


def summary(plan: Plan) -> str:
    """Count in one line what would become of the objects."""
    if not plan.changes:
        return f"no changes: {_counted(plan.count(Action.UNCHANGED), 'object')} as the files say"
    said = [
        f"{plan.count(Action.CREATE)} to create",
        f"{plan.count(Action.UPDATE)} to update",
        f"{plan.count(Action.DELETE)} to delete",
        f"{plan.count(Action.UNCHANGED)} unchanged",
    ]
    conflicts = sum(one.conflicts for one in plan.objects)
    return "plan: " + ", ".join(said) + (f"; {_counted(conflicts, 'conflict')}" if conflicts else "")


def said_of_drift(drift: Sequence[Drift]) -> Iterator[str]:
    """Say who changed an object by other means."""
    for one in drift:
        why = f" ({show(one.reason)})" if one.reason else ""
        yield f"{one.action.lower()} by hand since: {show(one.author)}, {one.time}{why}"


def _lines(plan: Plan, outlook: Outlook) -> Iterator[str]:
    for one in plan.changes:
        yield from _object_lines(one)
    if plan.changes:
        yield ""
    for finding in outlook.findings:
        yield from finding_lines(finding)
    if outlook.reach is not None and plan.changes:
        yield from _reach_lines(outlook.reach)
    yield click.style(summary(plan), bold=True)


def _object_lines(one: ObjectChange) -> Iterator[str]:
    sign, colour = _SIGNS[one.action]
    kind, name = one.ref
    yield click.style(f"{sign} {one.action.value.lower()}  {kind.name} {show(name)}", fg=colour, bold=True)
    for said in said_of_drift(one.drift):
        yield click.style(f"    ! {said}", fg="magenta")
    if one.action is not Action.DELETE:
        for _, alike in itertools.groupby(one.fields, lambda change: (change.rule, change.field, change.action)):
            changes = list(alike)
            for change in changes[:MOST_ENTRIES]:
                yield from field_lines(change)
            if len(changes) > MOST_ENTRIES:
                yield f"    ... and {len(changes) - MOST_ENTRIES} more"


def field_lines(change: FieldChange) -> Iterator[str]:
    """Say in lines what becomes of one field."""
    sign, colour = _FIELD_SIGNS[change.action]
    where = f"rules[{show(change.rule)}]" if change.rule else ""
    field = ".".join(part for part in (where, show(change.field) if change.field else "") if part)
    note = f"  ({_CAUSES[change.cause]})" if change.cause is not Cause.FILES else ""
    yield click.style(f"    {sign} {field}{_values(change)}{note}", fg="magenta" if note else colour)
    content = change.after if change.action is FieldAction.ADDED else None
    if not change.field and isinstance(content, Mapping):
        for key, value in content.items():
            yield click.style(f"        {key}: {_value(value)}", fg=colour)


def _values(change: FieldChange) -> str:
    """Say what was and what will be; nothing of a whole rule, nor of what has no value."""
    if not change.field or (change.action is FieldAction.CHANGED and change.before is change.after is None):
        return ""
    if change.action is FieldAction.CHANGED:
        return f": {_value(change.before)} -> {_value(change.after)}"
    return f": {_value(change.before if change.action is FieldAction.REMOVED else change.after)}"


def _value(value: Plain) -> str:
    """Write a value in one line; a long one by its beginning and what tells it from others."""
    text = show(compact(value))
    if len(text) <= LONGEST_VALUE:
        return text
    digest = hashlib.sha256(text.encode()).hexdigest()[:12]
    return f"{text[: LONGEST_VALUE // 2]}... ({len(text)} characters, SHA-256 {digest})"


def _reach_lines(reach: analysis_pb2.PreviewAssignmentsResponse) -> Iterator[str]:
    yield f"affected: {_counted(reach.devices_affected, 'device')}, {_counted(reach.users_affected, 'user')}"
    for count in reach.counts:
        whom = " for some user" if count.devices_gained and count.devices_lost else ""  # perhaps it is one device
        parts = [
            f"{_counted(number, noun)} {what}"
            for number, noun, what in (
                (count.devices_gained, "device", f"gaining it{whom}"),
                (count.devices_lost, "device", f"losing it{whom}"),
                (count.devices_changed, "device", "seeing it changed"),
                (count.users_gained, "user", "gaining it"),
                (count.users_lost, "user", "losing it"),
            )
            if number
        ]
        if parts:
            yield f"    {show(count.policy.kind)} {show(count.policy.name)}: {', '.join(parts)}"
    names = dict.fromkeys(show(f"{one.user} on {one.device}" if one.user else one.device) for one in reach.affected)
    if names:
        more = ", ..." if len(names) > MOST_NAMED or reach.next_page_token else ""
        yield f"    {', '.join(list(names)[:MOST_NAMED])}{more}"


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _change_json(one: ObjectChange) -> Plain:
    kind, name = one.ref
    return {
        "kind": kind.name,
        "name": name,
        "action": one.action.value,
        "drift": [asdict(drift) for drift in one.drift],
        "fields": [{**form_of(change), "cause": change.cause.value} for change in one.fields],
    }
