"""What the commands of policy as code have in common: the owner's label, and reading documents."""

from collections.abc import Callable, Sequence
from typing import TypeVar

import click

from epmctl.ascode.plan import Owner
from epmctl.documents.load import load
from epmctl.documents.model import Document
from epmctl.documents.wire import not_kept
from epmctl.errors import BadInputError

F = TypeVar("F", bound=Callable[..., object])


def owner_options(command: F) -> F:
    """Give a command the options `--prune` and `--owner K=V`."""
    said = "The label that says whose the documents are; each policy and certificate has to carry it."
    owner = click.option("--owner", metavar="KEY=VALUE", help=said)
    prune = click.option(
        "--prune",
        is_flag=True,
        help="Delete policies and certificates that carry the owner's label and stand in no document.",
    )
    return prune(owner(command))


def owner_of(text: str | None, *, prune: bool = False) -> Owner | None:
    """Read the owner's label; raise UsageError for what is none, and for pruning without one."""
    if text is None:
        if prune:
            raise click.UsageError(
                "--prune needs --owner KEY=VALUE: nothing is deleted that carries another label or none"
            )
        return None
    key, equals, value = text.partition("=")
    if not key or not equals or not value:
        raise click.UsageError("--owner must read KEY=VALUE, for example owner=endpoint-team")
    return Owner(key, value)


def read_documents(places: Sequence[str]) -> Sequence[Document]:
    """Load documents, and say which metadata no server keeps; raise BadInputError for flaws, and where there are none."""
    documents = load(places, closed=False).documents
    if not documents:
        raise BadInputError(f"{', '.join(places)}: no documents in there; nothing was applied")
    for flaw in not_kept(documents):
        click.echo(str(flaw), err=True)
    return documents
