"""`epm export`: write what the server holds as documents."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Final, cast

import click

from elevation.checks import BUILT_IN_GROUPS
from epmctl.ascode.canonical import KIND_ORDER, POLICY_KINDS, Ref, place_in_order, stream
from epmctl.ascode.folder import leftovers, write_folder
from epmctl.ascode.live import OBJECT_KINDS, Live, read_live, said_of_unread
from epmctl.ascode.options import owner_of
from epmctl.ascode.plan import Owner
from epmctl.client import logged_in
from epmctl.documents.files import STDIN, reason
from epmctl.documents.model import Kind
from epmctl.errors import CommandError
from epmctl.kinds.registry import find_kind
from epmctl.output import Record, show

_ASSIGNED: Final = frozenset({Kind.ElevationSettingsPolicy, Kind.ElevationRulesPolicy})
"""Kinds that name groups."""

_KIND_HELP = "Only this kind, named as for epm get; again for more."
_OWNER_HELP = "Only policies and certificates with this label; other kinds have none, and are left out."
_CLEAN_HELP = "Remove files that describe one object each which the server does not hold."


@click.command()
@click.argument("place", metavar="DIR|-")
@click.option("--owner", metavar="KEY=VALUE", help=_OWNER_HELP)
@click.option("--kind", "words", multiple=True, metavar="KIND", help=_KIND_HELP)
@click.option("--clean", is_flag=True, help=_CLEAN_HELP)
def export(place: str, *, owner: str | None, words: tuple[str, ...], clean: bool) -> None:
    """Write what the server holds as documents: into DIR, a file for each object, or as one stream (-).

    The same state gives the same bytes, and epm apply of it changes nothing. What is built in is left out.
    """
    label = owner_of(owner)
    if clean and place == STDIN:
        raise click.UsageError("--clean needs a folder")
    kinds = _kinds(words, label)
    with logged_in() as client:
        live = read_live(client, kinds)
        groups = live if Kind.Group in kinds else read_live(client, [Kind.Group] if _ASSIGNED & {*kinds} else [])
    documents = _documents(live, label)
    if place == STDIN:
        click.echo(stream(documents.values()), nl=False)
    else:
        changed = write_folder(Path(place), documents)
        click.echo(f"{len(documents)} objects in {place}, {changed} files changed", err=True)
        _tidy(Path(place), [kind for kind in kinds if kind not in live.unread], live, label, clean=clean)
    if Kind.Group not in groups.unread:
        _say_missing(documents, {name for kind, name in groups.objects if kind is Kind.Group})
    if unread := said_of_unread(live.unread):
        click.echo(f"left out, since you may not read them: {', '.join(unread)}", err=True)


def _kinds(words: Sequence[str], owner: Owner | None) -> list[Kind]:
    """Tell which kinds are wanted, in the order in which they are written."""
    found = [find_kind(word).document for word in words]
    named = {kind for kind in found if kind is not None}
    if None in found:
        raise click.UsageError("--kind must name a kind that documents describe; epm get shows the others")
    wanted = [kind for kind in KIND_ORDER if not named or kind in named]
    if owner is None:
        return wanted
    if others := said_of_unread(named - POLICY_KINDS):
        raise click.UsageError(f"{', '.join(others)} have no labels; leave out --owner for them")
    return [kind for kind in wanted if kind in POLICY_KINDS]


def _documents(live: Live, owner: Owner | None) -> Mapping[Ref, Record]:
    found = live.objects.values() if owner is None else live.owned((owner.key, owner.value))
    own = {one.ref: one.document for one in found if not one.built_in}
    return {ref: own[ref] for ref in sorted(own, key=place_in_order)}


def _say_missing(documents: Mapping[Ref, Record], groups: Collection[str]) -> None:
    """Say which policies name groups that are not there, or that nobody shows to the caller: applying them needs those."""
    for (kind, name), document in documents.items():
        spec = cast("Record", document["spec"])
        assignments = cast("Mapping[str, Sequence[Record]]", spec.get("assignments") or {})
        named = [cast("str", entry["group"]) for key in ("include", "exclude") for entry in assignments.get(key, ())]
        for group in dict.fromkeys(named):
            if group not in groups and group not in BUILT_IN_GROUPS:
                what = f"{kind.name} {show(name)} names the group {show(group)}"
                click.echo(f"{what}, which is not there or not yours to see; it cannot be applied without", err=True)


def _tidy(folder: Path, kinds: Sequence[Kind], live: Live, owner: Owner | None, *, clean: bool) -> None:
    """Say which files describe what the server does not hold, and remove them where that was asked for."""
    for leftover in leftovers(folder, kinds, live.objects, owner):
        kind, name = leftover.ref
        what = f"{show(str(leftover.path))}: the server holds no {OBJECT_KINDS[kind].singular} {show(name)}"
        if not clean:
            click.echo(f"{what}; --clean removes the file", err=True)
            continue
        try:
            leftover.path.unlink()
        except OSError as error:
            raise CommandError(f"{leftover.path}: cannot be removed: {reason(error)}") from None
        click.echo(f"{what}; removed", err=True)
