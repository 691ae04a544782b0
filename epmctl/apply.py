"""`epm apply`: make the server hold what the documents say."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Final

import click

from epmctl.application import Application, Outcome
from epmctl.client import logged_in
from epmctl.documents.load import load
from epmctl.documents.wire import not_kept, to_requests
from epmctl.errors import BadInputError
from epmctl.output import output_option, print_json, show
from epmctl.reason import reason_option

_PLACES_HELP: Final = "Documents to apply: a file, or the *.yaml and *.yml of a folder; again for more; - for stdin."


@click.command()
@click.option("-f", "--file", "places", multiple=True, required=True, metavar="DIR|FILE", help=_PLACES_HELP)
@click.option("--dry-run", is_flag=True, help="Check everything and write nothing.")
@reason_option
@output_option
def apply(places: tuple[str, ...], *, dry_run: bool, reason: str, output: str) -> None:
    """Make the server hold what the documents say.

    Everything is checked before anything is written. What no document speaks of stays as it is.
    """
    documents = load(places, closed=False).documents
    if not documents:
        raise BadInputError(f"{', '.join(places)}: no documents in there; nothing was applied")
    for flaw in not_kept(documents):
        click.echo(str(flaw), err=True)
    with logged_in(reason) as client:
        application = Application(client, to_requests(documents), documents)
        checked = application.check()
        if dry_run:
            _print(checked, output, dry_run=True)
        else:
            _write(application, output)


def _write(application: Application, output: str) -> None:
    """Write, and only then print what stands: a reader that goes away must not stop a part from being written."""
    written: list[Outcome] = []
    try:
        for outcomes in application.write():
            written += outcomes
    finally:
        _print(written, output, dry_run=False)


def _print(outcomes: Sequence[Outcome], output: str, *, dry_run: bool) -> None:
    if output == "json":
        print_json({"dryRun": dry_run, "objects": [asdict(outcome) for outcome in outcomes]})
        return
    for outcome in outcomes:
        click.echo(f"{outcome.action.lower():<9}  {outcome.kind} {show(outcome.name)}")
    if dry_run:
        click.echo("nothing was written: this is what would become of the objects", err=True)
