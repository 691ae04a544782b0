"""`epm plan`: show what `epm apply` would do, and keep it for later."""

from collections.abc import Sequence
from datetime import UTC, datetime
from os import environ
from pathlib import Path
from typing import Final

import click

from epmctl.ascode.binding import terms_of
from epmctl.ascode.options import owner_of, owner_options, read_documents
from epmctl.ascode.outlook import Outlook, look_ahead
from epmctl.ascode.plan import Plan
from epmctl.ascode.planfile import PlanFile, installation_of, write_plan
from epmctl.ascode.prepare import Prepared, prepare, reconciled
from epmctl.ascode.show import as_json, print_plan
from epmctl.client import connected, with_fresh_token
from epmctl.errors import BadInputError, CommandError
from epmctl.output import output_option, print_json
from epmctl.profile import Profile, find_profile

CHANGES: Final = 2
"""The exit code that says that there are changes; everything that goes wrong is 1 here."""

_PLACES_HELP: Final = "Documents to plan for: a file, or the *.yaml and *.yml of a folder; again for more; - for stdin."


class _MisusedError(click.UsageError):
    """The command was misused, and 2 is taken."""

    exit_code = 1


class PlanCommand(click.Command):
    """A command whose exit code 2 means something else than bad input."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: object
    ) -> click.Context:
        """Read the arguments; what is wrong with them ends with 1."""
        try:
            return super().make_context(info_name, args, parent, **extra)
        except click.UsageError as error:
            raise _MisusedError(error.format_message(), error.ctx) from None

    def invoke(self, ctx: click.Context) -> object:
        """Run; bad input ends with 1."""
        try:
            return super().invoke(ctx)
        except BadInputError as error:
            raise CommandError(*error.lines) from None
        except click.UsageError as error:
            raise _MisusedError(error.format_message(), error.ctx or ctx) from None


@click.command(cls=PlanCommand)
@click.option("-f", "--file", "places", multiple=True, required=True, metavar="DIR|FILE", help=_PLACES_HELP)
@owner_options
@click.option("-o", "--out", type=click.Path(dir_okay=False, path_type=Path), help="Keep the plan in this file.")
@output_option
def plan(places: tuple[str, ...], *, prune: bool, owner: str | None, out: Path | None, output: str) -> int:
    """Show what epm apply would change, who changed it by hand since, what lint finds, and who is affected.

    Nothing is written. Exit codes: 0 no changes, 2 changes, 1 anything that goes wrong, bad input too.
    """
    label = owner_of(owner, prune=prune)
    documents = read_documents(places)
    profile = with_fresh_token(find_profile(environ))
    with connected(profile) as client:
        prepared = prepare(client, documents, owner=label, prune=prune)
        denied: list[str] = []
        outcomes = prepared.application.check(denied)
        if denied and prepared.plan.unchecked:
            raise CommandError(*prepared.notes, *denied, "nobody can tell what would change")
        seen = reconciled(prepared.plan, outcomes)
        outlook = look_ahead(client, prepared.requests, seen)
    notes = [*prepared.notes, *(f"not checked by the server: {line}" for line in denied)]
    if out is not None:
        _keep(out, prepared, profile)
    _print(seen, outlook, notes, output)
    return CHANGES if seen.changes else 0


def _keep(out: Path, prepared: Prepared, profile: Profile) -> None:
    kept = PlanFile(
        installation=installation_of(profile),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        documents=list(prepared.files.values()),
        terms=terms_of(prepared.plan),
    )
    write_plan(out, kept)


def _print(seen: Plan, outlook: Outlook, notes: Sequence[str], output: str) -> None:
    if output == "json":
        print_json(as_json(seen, outlook, notes))
    else:
        print_plan(seen, outlook, notes)
