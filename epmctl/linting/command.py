"""`epm lint`: what is accepted in documents, or on a server, and probably not meant."""

from datetime import UTC, datetime
from typing import Final

import click

from epmctl.documents.load import document_set
from epmctl.linting.offline import lint_documents, read_lintable
from epmctl.linting.report import Found, fails
from epmctl.linting.sarif import as_sarif
from epmctl.linting.show import as_json, print_findings
from epmctl.output import print_json

_PLACES_HELP: Final = (
    "Documents to lint, with --server on top of what it holds: a file, or the *.yaml and *.yml of a folder; again for"
    " more; - for stdin."
)


@click.command()
@click.option("-f", "--file", "places", multiple=True, metavar="DIR|FILE", help=_PLACES_HELP)
@click.option("--server", "by_server", is_flag=True, help="Lint what the server holds, the documents on top.")
@click.option("--all", "everything", is_flag=True, help="With --server and documents: what does not concern them, too.")
@click.option("--strict", is_flag=True, help="Fail by warnings and worse, not by errors alone.")
@click.option("--with-ignored", is_flag=True, help="Show what authors accept, too, with their reasons.")
@click.option(
    "--output",
    type=click.Choice(("table", "json", "sarif")),
    default="table",
    show_default=True,
    help="How to print it; sarif is for CI.",
)
def lint(
    *, places: tuple[str, ...], by_server: bool, everything: bool, strict: bool, with_ignored: bool, output: str
) -> int:
    """Find what is accepted in documents and probably not meant: over-broad rules, rules that never count, conflicts.

    Without --server, nothing but the documents is looked at: groups and certificates that they do not hold are not known.
    Exit code 1: there are errors, with --strict also warnings.
    """
    if not places and not by_server:
        raise click.UsageError("give documents (-f), --server, or both")
    if everything and not (places and by_server):
        raise click.UsageError("--all goes with --server and documents")
    found = _ask(places, everything=everything, with_ignored=with_ignored) if by_server else _look(places)
    shown = [one for one in found if with_ignored or not one.ignored_because]
    if output == "json":
        print_json(as_json(shown))
    elif output == "sarif":
        print_json(as_sarif(shown))
    else:
        print_findings(shown)
    return 1 if fails(found, strict=strict) else 0


def _look(places: tuple[str, ...]) -> list[Found]:
    drafts, unsound = read_lintable(places)
    return lint_documents(drafts, unsound, now=datetime.now(UTC))


def _ask(places: tuple[str, ...], *, everything: bool, with_ignored: bool) -> list[Found]:
    # gRPC takes as long to import as everything else together.
    from epmctl.client import logged_in  # noqa: PLC0415
    from epmctl.linting.onserver import lint_on_server  # noqa: PLC0415

    documents = document_set(read_lintable(places)[0]) if places else None
    with logged_in() as client:
        return lint_on_server(client, documents, everything=everything, with_ignored=with_ignored)
