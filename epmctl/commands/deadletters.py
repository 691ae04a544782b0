"""`epm report dead-letters`: events that could not be stored: look at them, and try them again."""

from collections.abc import Sequence
from typing import Final, cast

import click

from epm.reporting.v1 import intake_pb2, intake_pb2_grpc
from epmctl.client import Client, logged_in
from epmctl.csvtext import print_csv_of
from epmctl.fitted import Fit, print_fitted
from epmctl.grouping import CommandGroup
from epmctl.intakefilter import device_or_id, intake_options
from epmctl.kinds.model import at, time_at
from epmctl.limits import limit_option, say_if_more, to_ask, within
from epmctl.output import Record, csv_output_option, document_output_option, output_option, print_json, print_yaml
from epmctl.plain import to_plain
from epmctl.reason import reason_option

MOST_RETRIED: Final = 100
"""Letters that one call tries again."""

_COLUMNS: Final = {
    "ID": at("id"),
    "RECEIVED": time_at("received"),
    "DEVICE": device_or_id,
    "JOURNAL": at("journalId"),
    "SEQ": at("seq"),
    "REASON": at("reason"),
}
_FIT: Final = Fit(whole=("ID", "RECEIVED", "JOURNAL"), spare=("JOURNAL", "SEQ"), last=("REASON",))


@click.group(name="dead-letters", cls=CommandGroup)
def dead_letters() -> None:
    """Look at events that could not be stored, and try them again."""


@dead_letters.command(name="list")
@intake_options
@limit_option
@csv_output_option
def list_(asked: intake_pb2.IntakeFilter, limit: int, output: str) -> None:
    """List events that could not be stored, newest first."""
    with logged_in() as client:
        found = _letters(client, asked, to_ask(limit))
    rows = within(found, limit)
    if output == "json":
        print_json(rows)
    elif output == "csv":
        print_csv_of(intake_pb2.DeadLetter.DESCRIPTOR, rows)
    else:
        print_fitted(_COLUMNS, rows, _FIT)
    say_if_more(found, limit)


@dead_letters.command()
@click.argument("letter_id", metavar="ID")
@document_output_option
def show(letter_id: str, output: str) -> None:
    """Show one of them whole, as far as it can be read; its bytes are shown where nothing of it can, and in JSON."""
    with logged_in() as client:
        request = intake_pb2.GetDeadLetterRequest(id=letter_id)
        answer = to_plain(client.call(_service(client).GetDeadLetter, request))
    if output == "json":
        print_json(answer)
        return
    letter = dict(cast("Record", answer["deadLetter"]))
    shown = {"event": answer["event"]} if answer["event"] is not None else {"body": answer["body"]}
    print_yaml([("", {**letter, **shown})])


@dead_letters.command()
@click.argument("letter_ids", metavar="[ID]...", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="Try all of them that the options leave.")
@intake_options
@reason_option
@output_option
def retry(
    *, letter_ids: Sequence[str], everything: bool, asked: intake_pb2.IntakeFilter, reason: str, output: str
) -> int:
    """Try again to store events, as if their devices had sent them now.

    What can be stored is an event from then on; the rest stays, with its reason of now. The exit code is 1 where some stay.
    """
    if bool(letter_ids) == everything or (letter_ids and asked.ByteSize()):
        raise click.UsageError("name the letters by their ID, or give --all, perhaps with options that narrow it")
    stored, remaining = 0, list[Record]()
    with logged_in(reason) as client:
        wanted = letter_ids or [cast("str", letter["id"]) for letter in _letters(client, asked, None)]
        for start in range(0, len(wanted), MOST_RETRIED):
            request = intake_pb2.RetryDeadLettersRequest(ids=wanted[start : start + MOST_RETRIED])
            answer = client.call(_service(client).RetryDeadLetters, request)
            stored += answer.stored
            remaining += cast("Sequence[Record]", to_plain(answer)["remaining"])
    if output == "json":
        print_json({"stored": stored, "remaining": remaining})
    else:
        click.echo(f"stored {stored}, remaining {len(remaining)}")
        if remaining:
            click.echo()
            print_fitted(_COLUMNS, remaining, _FIT)
    return 1 if remaining else 0


def _service(client: Client) -> intake_pb2_grpc.IntakeServiceStub:
    return intake_pb2_grpc.IntakeServiceStub(client.channel)


def _letters(client: Client, asked: intake_pb2.IntakeFilter, limit: int | None) -> Sequence[Record]:
    def fetch(size: int, token: str) -> tuple[Sequence[Record], str]:
        request = intake_pb2.ListDeadLettersRequest(filter=asked, page_size=size, page_token=token)
        page = client.call(_service(client).ListDeadLetters, request)
        return [to_plain(letter) for letter in page.dead_letters], page.next_page_token

    return list(client.pages(fetch, limit=limit))
