"""Read what a server holds, with the etags that a change of it has to name."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, cast

import grpc

from epmctl.ascode.canonical import POLICY_KINDS, Ref, of_plain
from epmctl.client import CallError, Client
from epmctl.documents.model import Kind
from epmctl.kinds.model import ObjectKind
from epmctl.kinds.registry import KINDS, each_object
from epmctl.output import Plain, Record

OBJECT_KINDS: Final[Mapping[Kind, ObjectKind]] = {kind.document: kind for kind in KINDS if kind.document is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveObject:
    """One object as the server holds it; the numbers of changes are 0 for kinds without revisions."""

    kind: Kind
    name: str
    document: Mapping[str, Plain] = field(repr=False)
    etag: str
    built_in: bool = False
    change: int = 0
    applied_change: int = 0
    updated: str = ""
    updated_by: str = ""

    @property
    def ref(self) -> Ref:
        """Give what names the object."""
        return self.kind, self.name

    @property
    def labels(self) -> Mapping[str, str]:
        """Give its labels."""
        return cast("Mapping[str, str]", cast("Record", self.document["metadata"]).get("labels", {}))

    @property
    def drifted(self) -> bool:
        """Tell whether it was changed by other means since it was last applied as code."""
        return 0 < self.applied_change < self.change


@dataclass(frozen=True, slots=True)
class Live:
    """What the server holds of some kinds; of the `unread` ones the caller may see nothing."""

    objects: Mapping[Ref, LiveObject]
    unread: frozenset[Kind] = frozenset()

    def owned(self, owner: tuple[str, str]) -> list[LiveObject]:
        """Give the objects with a label."""
        key, value = owner
        return [one for one in self.objects.values() if one.labels.get(key) == value]


def read_live(client: Client, kinds: Iterable[Kind]) -> Live:
    """Read all objects of some kinds that the caller may see."""
    objects: dict[Ref, LiveObject] = {}
    unread: set[Kind] = set()
    for kind in kinds:
        try:
            objects.update((one.ref, one) for one in _read(client, kind))
        except CallError as error:
            if error.code is not grpc.StatusCode.PERMISSION_DENIED:
                raise
            unread.add(kind)
    return Live(objects, frozenset(unread))


def said_of_unread(kinds: Iterable[Kind]) -> Sequence[str]:
    """Name the kinds that may not be read, for people."""
    return sorted(OBJECT_KINDS[kind].name for kind in kinds)


def _read(client: Client, kind: Kind) -> Iterator[LiveObject]:
    for plain in each_object(client, OBJECT_KINDS[kind]):
        about = cast("Record", plain["metadata"]) if kind in POLICY_KINDS else plain
        yield LiveObject(
            kind=kind,
            name=cast("str", about["name"]),
            document=of_plain(kind, plain),
            etag=cast("str", about["etag"]),
            built_in=bool(plain.get("builtIn")),
            change=cast("int", about.get("change") or 0),
            applied_change=cast("int", about.get("appliedChange") or 0),
            updated=cast("str", about.get("updated") or ""),
            updated_by=cast("str", about.get("updatedBy") or ""),
        )
