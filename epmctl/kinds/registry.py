"""Every kind there is, and how objects of any kind are fetched."""

from collections.abc import Iterator, Sequence
from typing import Final, cast

from epmctl.client import CallError, Client
from epmctl.errors import BadInputError, CommandError
from epmctl.kinds.access import ACCESS_KINDS
from epmctl.kinds.device import DEVICE_KINDS
from epmctl.kinds.model import ObjectKind
from epmctl.kinds.policy import POLICY_KINDS
from epmctl.output import Record
from epmctl.plain import to_plain

KINDS: Final[Sequence[ObjectKind]] = (*POLICY_KINDS, *DEVICE_KINDS, *ACCESS_KINDS)


def find_kind(word: str) -> ObjectKind:
    """Find a kind by its plural, its singular or the kind of its documents; raise BadInputError for any other word."""
    for kind in KINDS:
        if word in {kind.name, kind.singular} or (kind.document and word == kind.document.name):
            return kind
    raise BadInputError(f"unknown kind {word!r}; known kinds: {', '.join(kind.name for kind in KINDS)}")


def each_object(client: Client, kind: ObjectKind, *, limit: int | None = None) -> Iterator[Record]:
    """Give the plain form of every object that the caller may see, or of the first `limit`."""

    def fetch(size: int, token: str) -> tuple[Sequence[Record], str]:
        page = to_plain(kind.page(client, min(size, kind.page_size), token))
        next_token = cast("str", page.pop("nextPageToken"))
        (entries,) = page.values()
        return cast("Sequence[Record]", entries), next_token

    return client.pages(fetch, limit=limit)


def find_object(client: Client, kind: ObjectKind, name: str) -> Record:
    """Give the plain form of one object; raise CommandError where there is none that the caller may see."""
    absent = CommandError(f"there is no {kind.singular} {name!r}; epm get {kind.name} lists those there are")
    if kind.find is None:
        for entry in each_object(client, kind):
            if name in (entry[kind.key], entry.get("deviceId")):
                return entry
        raise absent
    try:
        (found,) = to_plain(kind.find(client, name)).values()
    except CallError as error:
        raise absent if error.absent else error from None
    return cast("Record", found)
