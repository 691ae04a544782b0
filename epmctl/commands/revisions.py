"""`epm revisions`: every state that a policy or a certificate ever had, what changed, and the way back."""

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Final, TypeVar, cast

import click

from epm.policy.v1 import revisions_pb2, revisions_pb2_grpc
from epmctl.ascode.authored import content, find_authored, find_live, metadata_of, reference
from epmctl.ascode.canonical import of_message
from epmctl.ascode.difference import FieldAction, FieldChange, differences, form_of
from epmctl.ascode.show import field_lines
from epmctl.client import APPLY_DEADLINE, Client, logged_in
from epmctl.colours import may_colour
from epmctl.confirm import confirm, yes_option
from epmctl.documents.model import Kind
from epmctl.findings import print_findings
from epmctl.grouping import CommandGroup
from epmctl.kinds.model import at, time_at
from epmctl.limits import limit_option, say_if_more, to_ask, within
from epmctl.output import (
    Plain,
    Record,
    document_output_option,
    output_option,
    print_json,
    print_table,
    print_yaml,
    show,
    whole_seconds,
)
from epmctl.plain import to_plain, word_of
from epmctl.reason import reason_option

F = TypeVar("F", bound=Callable[..., object])

_COLUMNS: Final = {
    "CHANGE": at("change"),
    "TIME": time_at("time"),
    "ACTION": at("action"),
    "AUTHOR": at("author"),
    "REVISION": lambda record: record["revision"] or None,
    "AS CODE": at("asCode"),
    "ROLLED BACK TO": lambda record: record["rolledBackTo"] or None,
    "REASON": at("reason"),
}


def _object_arguments(command: F) -> F:
    return click.argument("kind")(click.argument("name")(command))


@click.group(cls=CommandGroup)
def revisions() -> None:
    """Every state that a policy or a certificate ever had, what changed, and the way back.

    KIND is settings-policy, rules-policy or certificate. A state is named by the number of the CHANGE that led to it.
    """


@revisions.command(name="list")
@_object_arguments
@limit_option
@output_option
def list_(kind: str, name: str, limit: int, output: str) -> None:
    """List the changes of an object, newest first."""
    _, document = find_authored(kind)
    with logged_in() as client:
        found = list(_each(client, document, name, to_ask(limit)))
    rows = within(found, limit)
    if output == "json":
        print_json(rows)
    else:
        print_table(list(_COLUMNS), [[column(row) for column in _COLUMNS.values()] for row in rows])
    say_if_more(found, limit)


@revisions.command(name="show")
@_object_arguments
@click.argument("change", type=click.IntRange(1), required=False)
@document_output_option
def show_(kind: str, name: str, change: int | None, output: str) -> None:
    """Show an object as CHANGE left it, or as the newest did."""
    _, document = find_authored(kind)
    request = revisions_pb2.GetRevisionRequest(object=reference(document, name), change=change or 0)
    with logged_in() as client:
        answer = client.call(_stub(client).GetRevision, request)
    held = of_message(document, content(answer.object))
    if output == "json":
        print_json({"revision": to_plain(answer.revision), "object": held})
    else:
        print_yaml([(_told(answer.revision), held)])


@revisions.command()
@_object_arguments
@click.argument("change", type=click.IntRange(1), required=False)
@click.option("--from", "earlier", type=click.IntRange(1), help="Compare with this change; else with the one before.")
@output_option
def diff(*, kind: str, name: str, change: int | None, earlier: int | None, output: str) -> None:
    """Tell what CHANGE, or the newest, made of an object, by rules and fields."""
    _, document = find_authored(kind)
    # `from` is a word of Python, so that the field cannot be named by itself.
    between = {"from": earlier or 0, "to": change or 0}
    request = revisions_pb2.DiffRevisionsRequest(object=reference(document, name), **between)
    with logged_in() as client:
        answer = client.call(_stub(client).DiffRevisions, request)
        if answer.to.action == revisions_pb2.REVISION_ACTION_DELETED:
            changes = _deleted(client, document, name, answer.to.change)
        else:
            changes = [_field_change(one) for one in answer.changes]
    if output == "json":
        before = getattr(answer, "from") if answer.HasField("from") else None
        print_json(
            {
                "from": None if before is None else to_plain(before),
                "to": to_plain(answer.to),
                "changes": list(map(form_of, changes)),
            }
        )
        return
    if answer.HasField("from"):
        click.echo(f"from {_told(getattr(answer, 'from'))}")
    click.echo(f"to {_told(answer.to)}")
    _print_changes(changes)


@revisions.command()
@_object_arguments
@click.argument("change", type=click.IntRange(1))
@click.option("--with-assignments", is_flag=True, help="Restore who gets it, too; else that stays as it is.")
@yes_option
@reason_option
@output_option
def rollback(*, kind: str, name: str, change: int, with_assignments: bool, yes: bool, reason: str, output: str) -> None:
    """Give an object the content that it had after CHANGE, as a new revision; labels and scope tags stay.

    Shows what that changes and asks. Nothing happens if somebody changes the object meanwhile.
    """
    known, document = find_authored(kind)
    with logged_in(reason) as client:
        live = find_live(client, known, name)
        request = revisions_pb2.RollBackRequest(
            object=reference(document, name),
            change=change,
            etag="" if live is None else metadata_of(live).etag,
            with_assignments=with_assignments,
        )
        rehearsal = _roll_back(client, request, validate_only=True)
        before = None if live is None else of_message(document, live)
        changes = differences(before, of_message(document, content(rehearsal.object)))
        if output == "table":
            _print_rehearsal(rehearsal, changes)
        if not changes:
            click.echo(f"{document.name} {show(name)} is as change {change} left it; nothing to do", err=True)
        else:
            confirm(f"roll {document.name} {show(name)} back to change {change}?", yes=yes)
            rehearsal = _roll_back(client, request, validate_only=False)
    done = metadata_of(content(rehearsal.object))
    if output == "json":
        findings = [to_plain(finding) for finding in rehearsal.findings]
        print_json(
            {
                "rolledBack": bool(changes),
                "change": done.change,
                "changes": list(map(form_of, changes)),
                "findings": findings,
            }
        )
    elif changes:
        click.echo(f"{document.name} {show(name)} is as change {change} left it, by change {done.change}")


def _roll_back(
    client: Client, request: revisions_pb2.RollBackRequest, *, validate_only: bool
) -> revisions_pb2.RollBackResponse:
    asked = revisions_pb2.RollBackRequest(validate_only=validate_only)
    asked.MergeFrom(request)
    return client.call(_stub(client).RollBack, asked, deadline=APPLY_DEADLINE)


def _print_rehearsal(rehearsal: revisions_pb2.RollBackResponse, changes: Sequence[FieldChange]) -> None:
    _print_changes(changes)
    print_findings(rehearsal.findings)


def _print_changes(changes: Sequence[FieldChange]) -> None:
    if not changes:
        click.echo("    no field differs")
    for change in changes:
        for line in field_lines(change):
            click.echo(line, color=may_colour())


def _deleted(client: Client, document: Kind, name: str, change: int) -> Sequence[FieldChange]:
    """Say what an object held that a change deleted: its last state is all that the server keeps of it."""
    request = revisions_pb2.GetRevisionRequest(object=reference(document, name), change=change)
    held = of_message(document, content(client.call(_stub(client).GetRevision, request).object))
    return differences(held, None)


def _each(client: Client, document: Kind, name: str, limit: int | None) -> Iterator[Record]:
    def fetch(size: int, token: str) -> tuple[Sequence[Record], str]:
        request = revisions_pb2.ListRevisionsRequest(object=reference(document, name), page_size=size, page_token=token)
        answer = client.call(_stub(client).ListRevisions, request)
        return [to_plain(revision) for revision in answer.revisions], answer.next_page_token

    return client.pages(fetch, limit=limit)


def _stub(client: Client) -> "revisions_pb2_grpc.RevisionServiceStub":
    return revisions_pb2_grpc.RevisionServiceStub(client.channel)


def _told(revision: revisions_pb2.Revision) -> str:
    """Say in one line which change it was."""
    action = (word_of(revisions_pb2.RevisionAction.DESCRIPTOR, revision.action) or "made").lower()
    time = whole_seconds(revision.time.ToJsonString())
    why = f" ({show(revision.reason)})" if revision.reason else ""
    return f"change {revision.change}, {action} {time} by {show(revision.author)}{why}"


def _field_change(change: revisions_pb2.FieldChange) -> FieldChange:
    action = word_of(revisions_pb2.FieldChangeKind.DESCRIPTOR, change.kind) or ""
    known = FieldAction[action] if action in FieldAction.__members__ else FieldAction.CHANGED
    return FieldChange(change.rule, change.field, known, _read(change.before), _read(change.after))


def _read(text: str) -> Plain:
    return cast("Plain", json.loads(text)) if text else None
