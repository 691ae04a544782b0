"""`epm preview`: which devices and users would gain or lose which policies, before anything is saved."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, cast

import click

from epm.policy.v1 import analysis_pb2, analysis_pb2_grpc, policies_pb2
from epmctl.ascode.authored import POLICY_WORDS, UNSEEN, find_authored, reference
from epmctl.ascode.drafts import draft_of, refused
from epmctl.client import APPLY_DEADLINE, Client, RefusedInputError, logged_in
from epmctl.documents.load import load
from epmctl.documents.model import Kind
from epmctl.errors import BadInputError
from epmctl.kinds.registry import find_kind
from epmctl.limits import limit_option, say_if_more, to_ask, within
from epmctl.output import Plain, Record, output_option, print_json, print_table
from epmctl.plain import to_plain

_PLACES_HELP: Final = (
    "Documents as they would be: a file, or the *.yaml and *.yml of a folder; again for more; - for stdin."
)
_COUNTS: Final[Mapping[str, str]] = {
    "DEVICES GAIN": "devicesGained",
    "DEVICES LOSE": "devicesLost",
    "DEVICES CHANGE": "devicesChanged",
    "USERS GAIN": "usersGained",
    "USERS LOSE": "usersLost",
}

_BOTH: Final = (
    "a device gains and loses the same policy where some of its users gain it and others lose it; it counts for both"
)


@click.command()
@click.option("-f", "--file", "places", multiple=True, metavar="DIR|FILE", help=_PLACES_HELP)
@click.option(
    "--delete", "deletions", multiple=True, nargs=2, metavar="KIND NAME", help="As if this was deleted; again for more."
)
@click.option("--list", "listing", is_flag=True, help="Name every device and user, too.")
@limit_option
@output_option
def preview(
    *, places: tuple[str, ...], deletions: tuple[tuple[str, str], ...], listing: bool, limit: int, output: str
) -> None:
    """Tell which devices and users would gain or lose which policies if documents were applied; nothing is written.

    A policy for a device counts for those who use it, too, and is named once for the device.
    """
    if not places and not deletions:
        raise BadInputError("nothing would change; give documents with -f, or an object with --delete")
    draft = draft_of(load(places, closed=False) if places else None)
    request = analysis_pb2.PreviewAssignmentsRequest(draft=None if draft is None else draft.message)
    for word, name in deletions:
        request.draft.deletions.append(_deletion(word, name))
    named = listing or output == "json"
    with logged_in() as client:
        try:
            first, entries = _ask(client, request, to_ask(limit) if named else 0)
        except RefusedInputError as error:
            raise refused(draft, error) from None
    shown = within(entries, limit)
    if output == "json":
        print_json({**first, "affected": shown})
    else:
        _print(first, shown)
    say_if_more(entries, limit)


def _deletion(word: str, name: str) -> policies_pb2.ObjectRef:
    """Name what would be deleted: a policy, a certificate or a group."""
    document = find_kind(word).document
    return reference(Kind.Group if document is Kind.Group else find_authored(word)[1], name)


def _ask(
    client: Client, request: analysis_pb2.PreviewAssignmentsRequest, limit: int | None
) -> tuple[dict[str, Plain], Sequence[Record]]:
    """Return the counts, and up to `limit` entries (None: all)."""
    stub = analysis_pb2_grpc.AnalysisServiceStub(client.channel)
    told: dict[str, Plain] = {}

    def fetch(size: int, token: str) -> tuple[Sequence[Record], str]:
        request.page_size, request.page_token = size, token
        page = to_plain(client.call(stub.PreviewAssignments, request, deadline=APPLY_DEADLINE))
        next_token, entries = cast("str", page.pop("nextPageToken")), cast("Sequence[Record]", page.pop("affected"))
        if not token:
            told.update(page)
        return entries, next_token

    if limit == 0:
        fetch(1, "")
        return told, ()
    return told, list(client.pages(fetch, limit=limit))


def _print(first: Record, entries: Sequence[Record]) -> None:
    counts = cast("Sequence[Record]", first["counts"])
    if not counts:
        click.echo("nobody gains or loses anything")
        return
    click.echo(f"devices affected  {first['devicesAffected']}")
    click.echo(f"users affected    {first['usersAffected']}")
    click.echo()
    print_table(
        ("POLICY", "KIND", *_COUNTS), [(*_policy(count), *(count[key] for key in _COUNTS.values())) for count in counts]
    )
    if any(count["devicesGained"] and count["devicesLost"] for count in counts):
        click.echo(_BOTH, err=True)
    if entries:
        click.echo()
        print_table(("DEVICE", "USER", "CHANGE", "POLICY", "KIND"), map(_row, entries))


def _row(entry: Record) -> Sequence[Plain]:
    return entry["device"], entry["user"], entry["change"], *_policy(entry)


def _policy(told: Record) -> Iterator[Plain]:
    """Give the name and the kind of a policy."""
    policy = cast("Mapping[str, str]", told["policy"])
    yield policy["name"] or UNSEEN
    yield POLICY_WORDS.get(policy["kind"], policy["kind"])
