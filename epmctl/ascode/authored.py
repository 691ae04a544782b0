"""The kinds that are authored with revisions: policies and reusable certificates, as commands name them."""

from collections.abc import Mapping
from typing import Final, cast

from google.protobuf.message import Message

from epm.policy.v1 import policies_pb2
from epmctl.ascode.canonical import POLICY_KINDS
from epmctl.client import CallError, Client
from epmctl.documents.model import Kind
from epmctl.errors import BadInputError, CommandError
from epmctl.kinds.model import ObjectKind
from epmctl.kinds.registry import KINDS, find_kind

AUTHORED: Final = tuple(kind for kind in KINDS if kind.document in POLICY_KINDS)

POLICY_WORDS: Final[Mapping[str, str]] = {"ElevationSettingsPolicy": "settings", "ElevationRulesPolicy": "rules"}
"""What the kinds of policies are called in a table."""

UNSEEN: Final = "(one that you may not see)"
"""The name of a policy that the server does not tell."""


def find_authored(word: str) -> tuple[ObjectKind, Kind]:
    """Find a kind that has revisions by one of its names; raise BadInputError for any other word."""
    kind = find_kind(word)
    if kind.document is None or kind not in AUTHORED:
        names = ", ".join(one.name for one in AUTHORED)
        raise BadInputError(f"{kind.name} have no revisions and no copies; those that do: {names}")
    return kind, kind.document


def reference(document: Kind, name: str) -> policies_pb2.ObjectRef:
    """Name an object as the contract does."""
    return policies_pb2.ObjectRef(kind=document.name, name=name)


def content(held: policies_pb2.AuthoredObject) -> Message:
    """Give the object, whatever its kind; raise CommandError for one of a newer server."""
    field = held.WhichOneof("object")
    if field is None:
        raise CommandError("the server speaks of a kind of objects that this command does not know; use a newer one")
    return cast("Message", getattr(held, field))


def find_live(client: Client, kind: ObjectKind, name: str) -> Message | None:
    """Give the message of an object as it is now; None where there is none that the caller may see."""
    if kind.find is None:
        raise BadInputError(f"{kind.name} cannot be asked for by name")
    try:
        answer = kind.find(client, name)
    except CallError as error:
        if error.absent:
            return None
        raise
    ((_, found),) = answer.ListFields()
    return cast("Message", found)


def metadata_of(found: Message) -> policies_pb2.Metadata:
    """Give what every authored object carries."""
    return cast("policies_pb2.SettingsPolicy", found).metadata
