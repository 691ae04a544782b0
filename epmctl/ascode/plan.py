"""What would become of the objects of a server so that it holds what files say: decided here, without a server.

Objects that no file names stay, unless they carry the owner's label and pruning was asked for. An object that is named in
files is expected to be as it was when the plan was made, one that stays as it is too: else somebody's change would be lost.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import TypeAlias

from epmctl.ascode.canonical import POLICY_KINDS, Ref, place_in_order
from epmctl.ascode.difference import Cause, FieldChange, differences
from epmctl.ascode.live import Live, LiveObject
from epmctl.documents.model import Document
from epmctl.documents.places import line_of
from epmctl.errors import BadInputError, Flaw
from epmctl.output import Plain, Record

Documents: TypeAlias = Mapping[Ref, dict[str, Plain]]
"""Canonical documents by what they describe."""


class Action(Enum):
    """What would become of an object."""

    CREATE = "CREATE"
    UPDATE = "UPDATE"
    DELETE = "DELETE"
    UNCHANGED = "UNCHANGED"


@dataclass(frozen=True, slots=True)
class Owner:
    """The label that says whose objects are."""

    key: str
    value: str

    def __str__(self) -> str:
        """Write it as on the command line."""
        return f"{self.key}={self.value}"


@dataclass(frozen=True, slots=True)
class Drift:
    """One change that was made by other means since an object was last applied as code, or its deletion."""

    author: str
    time: str
    action: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Past:
    """What is known of an object before now: as it was applied last (None: not known), and what was done to it since."""

    base: Record | None = None
    drift: tuple[Drift, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectChange:
    """What would become of one object."""

    ref: Ref
    action: Action
    etag: str
    """The etag that it has to have; empty: it must not be there."""
    fields: tuple[FieldChange, ...] = ()
    drift: tuple[Drift, ...] = ()

    @property
    def conflicts(self) -> int:
        """Count the fields that both the files and somebody else changed."""
        return sum(change.cause is Cause.CONFLICT for change in self.fields)


@dataclass(frozen=True, slots=True)
class Plan:
    """What would become of the objects, in the order of kinds and names; what stays as it is too."""

    objects: tuple[ObjectChange, ...]
    owner: Owner | None = None
    unchecked: frozenset[Ref] = field(default_factory=frozenset)
    """Objects that the caller may not read, so that nobody can tell whether they changed."""

    @property
    def changes(self) -> list[ObjectChange]:
        """Give the objects that would not stay as they are."""
        return [one for one in self.objects if one.action is not Action.UNCHANGED]

    @property
    def unchanged(self) -> frozenset[Ref]:
        """Name the objects that would stay as they are."""
        return frozenset(one.ref for one in self.objects if one.action is Action.UNCHANGED)

    def count(self, action: Action) -> int:
        """Count the objects of which this would become."""
        return sum(one.action is action for one in self.objects)


def make_plan(
    files: Documents, live: Live, pasts: Mapping[Ref, Past], *, owner: Owner | None = None, prune: bool = False
) -> Plan:
    """Compare what files say with what the server holds."""
    planned = [
        _plan_one(ref, document, live.objects.get(ref), pasts.get(ref, Past()))
        for ref, document in files.items()
        if ref[0] not in live.unread
    ]
    if owner is not None and prune:
        gone = [one for one in live.owned((owner.key, owner.value)) if one.ref not in files]
        planned += [_plan_deletion(one, pasts.get(one.ref, Past())) for one in gone]
    unchecked = frozenset(ref for ref in files if ref[0] in live.unread)
    return Plan(tuple(sorted(planned, key=lambda one: place_in_order(one.ref))), owner, unchecked)


def wanted_of(document: Record, live: LiveObject | None) -> dict[str, Plain]:
    """Give a document as it will be: one without scope tags keeps those of the object."""
    wanted, metadata = dict(document), dict(_metadata(document))
    if live is not None and "scopeTags" not in metadata and "scopeTags" in _metadata(live.document):
        order = ("name", "description", "scopeTags", "labels")
        metadata["scopeTags"] = _metadata(live.document)["scopeTags"]
        wanted["metadata"] = {key: metadata[key] for key in order if key in metadata}
    return wanted


def refuse_strangers(documents: Iterable[Document], owner: Owner) -> None:
    """Raise BadInputError for documents that cannot be the owner's: those that could carry its label and do not."""
    flaws = [
        Flaw(
            document.file,
            line_of(document.node, "metadata.labels"),
            "metadata.labels",
            f"lacks the label {owner} that --owner names; add it, or plan these documents apart",
        )
        for document in documents
        if document.kind in POLICY_KINDS and document.metadata.labels.get(owner.key) != owner.value
    ]
    if flaws:
        raise BadInputError.of(flaws)


def _plan_one(ref: Ref, document: Record, live: LiveObject | None, past: Past) -> ObjectChange:
    wanted = wanted_of(document, live)
    if live is None:
        return ObjectChange(
            ref=ref, action=Action.CREATE, etag="", fields=tuple(differences(None, wanted)), drift=past.drift
        )
    fields = tuple(differences(live.document, wanted, _same_tags(past.base, document, live)))
    action = Action.UPDATE if fields else Action.UNCHANGED
    return ObjectChange(ref=ref, action=action, etag=live.etag, fields=fields, drift=past.drift)


def _plan_deletion(live: LiveObject, past: Past) -> ObjectChange:
    fields: Sequence[FieldChange] = differences(live.document, None)
    return ObjectChange(ref=live.ref, action=Action.DELETE, etag=live.etag, fields=tuple(fields), drift=past.drift)


def _same_tags(base: Record | None, document: Record, live: LiveObject) -> Record | None:
    """Give what was applied last with the tags of now, where the files say nothing of tags."""
    if base is None or "scopeTags" in _metadata(document):
        return base
    bare = {key: value for key, value in _metadata(base).items() if key != "scopeTags"}
    return wanted_of({**base, "metadata": bare}, live)


def _metadata(document: Record) -> Record:
    found = document["metadata"]
    return found if isinstance(found, Mapping) else {}
