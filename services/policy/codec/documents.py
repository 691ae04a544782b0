"""Documents on their way to devices: what devices have in common is encoded once, and each adds its names.

INVARIANT: the bytes are those of the whole message, serialised at once: fields stand in the order of their numbers.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from elevation.codec.document import encode_document, encode_grant, encode_time, encode_user_policy
from elevation.document import PolicyDocument, UserPolicy
from elevation.model import Grant, RulesPolicy
from epm.elevation.v1 import document_pb2
from services.policy.model.directory import DirectoryDevice

_USERS = document_pb2.PolicyDocument.USERS_FIELD_NUMBER << 3 | 2
_MORE = 0x80


@dataclass(frozen=True, slots=True)
class DocumentMould:
    """Hold the bytes of a document without what is of one device alone: its names, those of its users, grants, when it goes."""

    shared: tuple[bytes, ...]
    """In parts: those that are the same in many moulds are the same objects."""
    users: tuple[bytes, ...]

    def fill(self, device: DirectoryDevice, deprovision_time: datetime | None, grants: Sequence[Grant] = ()) -> bytes:
        """Return the bytes of the device's document. It has as many users as the document of the mould, or that has none."""
        head = document_pb2.PolicyDocument(device_id=device.device_id, device_name=device.name)
        return b"".join([_serialised(head), *self.shared, *self._users(device), _tail(deprovision_time, grants)])

    def _users(self, device: DirectoryDevice) -> Iterator[bytes]:
        for name, rest in zip(sorted(device.users), self.users, strict=False):
            named = document_pb2.UserPolicy(user=name).SerializeToString()
            yield from (bytes([_USERS]), _varint(len(named) + len(rest)), named, rest)


class MouldMaker:
    """Make moulds of documents; a rules policy is encoded once for all moulds that it stands in."""

    def __init__(self) -> None:
        self._policies: dict[str, tuple[int, bytes]] = {}

    def mould(self, document: PolicyDocument) -> DocumentMould:
        """Return the mould of a document; the same content gives the same bytes, in whatever order it is given."""
        policies = sorted(document.rules_policies, key=lambda policy: policy.name)
        common = replace(
            document, device_id="", device_name="", rules_policies=(), users=(), grants=(), deprovision_time=None
        )
        shared = [self._encoded(policy, document.revisions.get(policy.name, 0)) for policy in policies]
        users = sorted(document.users, key=lambda user: user.user)
        return DocumentMould(
            shared=(*shared, _serialised(encode_document(common))),
            users=tuple(_nameless(user) for user in users),
        )

    def _encoded(self, policy: RulesPolicy, revision: int) -> bytes:
        known = self._policies.get(policy.name)
        if known is None or known[0] != revision:
            alone = PolicyDocument("", "", UserPolicy("", None), (), (policy,), {policy.name: revision})
            message = encode_document(alone)
            message.ClearField("any_user")
            known = self._policies[policy.name] = revision, _serialised(message)
        return known[1]


def _tail(deprovision_time: datetime | None, grants: Sequence[Grant]) -> bytes:
    if deprovision_time is None and not grants:
        return b""  # as most documents have it
    tail = document_pb2.PolicyDocument(grants=[encode_grant(grant) for grant in grants])
    if deprovision_time is not None:
        tail.deprovision_time.CopyFrom(encode_time(deprovision_time))
    return _serialised(tail)


def _nameless(user: UserPolicy) -> bytes:
    return encode_user_policy(replace(user, user="")).SerializeToString(deterministic=True)


def _serialised(message: document_pb2.PolicyDocument) -> bytes:
    return message.SerializeToString(deterministic=True)


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value >= _MORE:
        encoded.append(value % _MORE + _MORE)
        value //= _MORE
    return bytes([*encoded, value])
