"""`epm get`: show the objects that the server holds, many in a table or one of them whole."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import cast

import click

from epmctl.client import logged_in
from epmctl.documents.written import to_document
from epmctl.errors import BadInputError
from epmctl.kinds.model import Narrowing, ObjectKind
from epmctl.kinds.registry import KINDS, each_object, find_kind, find_object
from epmctl.output import Plain, Record, print_json, print_table, print_yaml

_KINDS_HELP = "\b\nKinds (their singulars will do):\n" + "\n".join(f"  {kind.name}" for kind in KINDS)
_OUTPUT_HELP = "How to print it; a table for many, YAML for one."


@click.command(epilog=_KINDS_HELP)
@click.argument("kind")
@click.argument("name", required=False)
@click.option(
    "--filter", "filter_", metavar="FILTER", default="", help="Only those that it matches (policies, certificates)."
)
@click.option("--order-by", metavar="ORDER", default="", help="name, updated or revision, perhaps with desc.")
@click.option("--output", type=click.Choice(("table", "json", "yaml")), help=_OUTPUT_HELP)
def get(kind: str, name: str | None, *, filter_: str, order_by: str, output: str | None) -> None:
    """Show objects that the server holds: all of a KIND, or the one called NAME.

    What a document can describe is printed as the document, ready for epm apply; in JSON with a status beside it.
    """
    wanted = _narrowed(find_kind(kind), name, Narrowing(filter=filter_, order_by=order_by))
    with logged_in() as client:
        if name is None:
            print_objects(wanted, each_object(client, wanted), output or "table")
        else:
            print_object(wanted, find_object(client, wanted, name), output or "yaml")


def _narrowed(kind: ObjectKind, name: str | None, narrowing: Narrowing) -> ObjectKind:
    if narrowing == Narrowing():
        return kind
    if name is not None:
        raise BadInputError("--filter and --order-by go with a list; leave the name or the options out")
    if kind.narrow is None:
        able = ", ".join(other.name for other in KINDS if other.narrow is not None)
        raise BadInputError(f"{kind.name} cannot be filtered or ordered; that is for {able}")
    return replace(kind, page=kind.narrow(narrowing))


def print_objects(kind: ObjectKind, objects: Iterable[Record], output: str) -> None:
    """Print many objects of a kind."""
    found = list(objects)
    if output == "json":
        print_json([_form(kind, one) for one in found])
    elif output == "yaml":
        own = [one for one in found if not one.get("builtIn")]
        print_yaml([_remarked(kind, one) for one in own])
        if len(own) < len(found):
            click.echo(f"left out what is built in, which cannot be applied: {len(found) - len(own)}", err=True)
    else:
        print_table(list(kind.columns), [_row(kind, one) for one in found])


def print_object(kind: ObjectKind, one: Record, output: str) -> None:
    """Print one object, whole where it is not asked for as a table."""
    if output == "json":
        print_json(_form(kind, one))
    elif output == "yaml":
        print_yaml([_remarked(kind, one)])
    else:
        print_table(list(kind.columns), [_row(kind, one)])


def _row(kind: ObjectKind, one: Record) -> Sequence[Plain]:
    return [column(one) for column in kind.columns.values()]


def _form(kind: ObjectKind, one: Record) -> Record:
    return one if kind.document is None else to_document(kind.document, one)


def _remarked(kind: ObjectKind, one: Record) -> tuple[str, Record]:
    """Give a document without what the server adds, which is said in a remark above it."""
    document = dict(_form(kind, one))
    if kind.document is None:
        return "", document
    added = cast("Record", document.pop("status", {}))
    if added.get("builtIn"):
        return "built in: it cannot be changed", document
    if added.get("revision"):
        return f"revision {added['revision']}, changed {added['updated']} by {added['updatedBy']}", document
    return "", document
