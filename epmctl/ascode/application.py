"""Make a server hold what documents say: everything is checked first, then written service by service.

Each service takes its part whole or not at all. rbac comes first, then device, which is told the revision of the access
data that it has to see, then policy, which is told that of the directory too. What one service has taken stands, whatever becomes of the next; doing it all again
leads to the same end.
"""

import re
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

import grpc
from google.protobuf.message import Message

from epm.device.v1 import groups_pb2, groups_pb2_grpc
from epm.policy.v1 import analysis_pb2, lint_pb2, policies_pb2, policies_pb2_grpc
from epm.rbac.v1 import rbac_pb2, rbac_pb2_grpc
from epmctl.ascode.canonical import FIELDS, POLICY_KINDS, Ref
from epmctl.client import APPLY_DEADLINE, CallError, Client, RefusedInputError
from epmctl.documents.model import Document, Kind
from epmctl.documents.places import flaw_in
from epmctl.documents.wire import Requests, changing, pending_groups, to_draft
from epmctl.errors import BadInputError, CommandError
from epmctl.plain import word_of

LARGEST_REQUEST: Final = 4 * 1024 * 1024
"""Bytes that a server takes in one message."""

_KINDS: Final = tuple(FIELDS.values())
_FIELD: Final = re.compile(r"([a-z_]+)\[([0-9]{1,6})\]\.?(.*)")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one object: CREATED, UPDATED or UNCHANGED."""

    kind: str
    name: str
    action: str


@dataclass(frozen=True, slots=True)
class _Part:
    """What one service is asked to hold, and how it is sent."""

    title: str
    request: Message
    send: Callable[[], list[Outcome]]
    check: Callable[[], list[Outcome]]
    order: Sequence[tuple[str, str]] = ()
    """Its objects as requests have them, by kind and name."""
    same: Sequence[Outcome] = ()
    """Objects of it that stay as they are, as far as anybody can tell without the service."""
    changes: bool = True
    """Whether anything of it would change, as far as anybody can tell without the service."""
    asked: bool = True
    """Whether the service is asked anything."""

    def whole(self, told: Sequence[Outcome]) -> list[Outcome]:
        """Give what the service told, and what it was not asked, in the order of a request; deletions come last."""
        of_same = {(one.kind, one.name): one for one in self.same}
        of_all = of_same | {(one.kind, one.name): one for one in told}
        return [of_all[key] for key in dict.fromkeys((*self.order, *of_all)) if key in of_all]


class PartialError(CommandError):
    """Some of the services have taken their part, and one has not."""


class Application:
    """Documents on their way to a server."""

    def __init__(
        self, client: Client, requests: Requests, documents: Sequence[Document], *, unchanged: Collection[Ref] = ()
    ) -> None:
        """Take what the services are to hold; `unchanged` names what they hold already, so that it needs no right."""
        self._client = client
        self._requests = changing(requests, unchanged)
        self._unchanged = unchanged
        self._pending = pending_groups(requests.groups)
        self._documents = {(document.kind, document.name): document for document in documents}
        self._access_revision = self._directory_revision = 0
        self._pending_tags = [tag.name for tag in requests.access.scope_tags]
        self.findings: tuple[lint_pb2.Finding, ...] = ()
        """What lint finds about the policies, as the server told last."""
        sent = self._requests
        parts = (
            _Part("access", sent.access, self._apply_access, self._check_access),
            _Part("groups", sent.groups, self._apply_groups, self._check_groups),
            _Part("policies", sent.policies, self._apply_policies, self._check_policies),
        )
        told = [self._with_same(part, unchanged) for part in parts]
        self._parts = [part for part in told if part.asked or part.same]

    def check(self, denied: list[str] | None = None) -> list[Outcome]:
        """Ask every service what would become of its part, nothing being written.

        Raises CommandError with all problems; with `denied`, what the caller may not do goes there, and is no problem.
        """
        outcomes: list[Outcome] = []
        refused: list[str] = []
        stale: list[str] = []
        for number, part in enumerate(self._parts):
            _check_size(part)
            try:
                outcomes += part.whole(part.check() if part.asked else [])
            except RefusedInputError as error:
                refused += self._explain(part, error)
            except CallError as error:
                if error.code is grpc.StatusCode.ABORTED:
                    stale += error.lines
                elif error.code is grpc.StatusCode.PERMISSION_DENIED and not part.changes:
                    self._parts[number] = replace(part, asked=False)
                    outcomes += part.same
                elif error.code is grpc.StatusCode.PERMISSION_DENIED and denied is not None:
                    denied += error.lines
                else:
                    raise CommandError(*refused, *stale, *error.lines, "nothing was applied") from None
        if stale:
            raise CommandError(*refused, *stale, "nothing was applied")
        if refused:
            raise BadInputError(*refused, "nothing was applied")
        return outcomes

    @property
    def groups_change(self) -> bool:
        """Tell whether any group would change."""
        return bool(self._requests.groups.groups)

    @property
    def draft(self) -> analysis_pb2.Draft:
        """Give the policies and groups that would change as a draft."""
        return to_draft(self._requests, unchanged=self._unchanged)

    def write(self) -> Iterator[list[Outcome]]:
        """Write part by part and give what became of each; raise PartialError that names what stands."""
        self.findings = ()
        for number, part in enumerate(self._parts):
            try:
                outcomes = part.whole(part.send() if part.asked else [])
            except RefusedInputError as error:
                raise PartialError(*self._explain(part, error), self._standing(number, unclear=False)) from None
            except CallError as error:
                raise PartialError(*error.lines, self._standing(number, unclear=error.unclear)) from None
            except KeyboardInterrupt:
                raise PartialError("interrupted", self._standing(number, unclear=True)) from None
            yield outcomes

    def _standing(self, failed: int, *, unclear: bool) -> str:
        """Say which parts stand when the one at `failed` did not get through."""
        begun = failed + 1 if unclear else failed
        said = [
            ("applied", self._parts[:failed]),
            ("perhaps applied", self._parts[failed:begun]),
            ("not applied", self._parts[begun:]),
        ]
        named = [(what, [part.title for part in parts if part.asked]) for what, parts in said]
        text = "; ".join(f"{what}: {', '.join(titles)}" for what, titles in named if titles)
        return f"{text}; running epm apply again carries on from there"

    def _with_same(self, part: _Part, unchanged: Collection[Ref]) -> _Part:
        """Give a part with what is known of its objects before anybody is asked."""
        refs = [ref for ref in self._documents if _title_of(ref[0]) == part.title]
        same = [Outcome(kind.name, name, "UNCHANGED") for kind, name in refs if (kind, name) in unchanged]
        changes = len(same) < len(refs) or bool(part.title == "policies" and self._requests.policies.deletions)
        order = [(kind.name, name) for kind, name in sorted(refs, key=lambda ref: _KINDS.index(ref[0]))]
        return replace(part, order=order, same=same, changes=changes, asked=bool(part.request.ByteSize()))

    def _explain(self, part: _Part, error: RefusedInputError) -> list[str]:
        """Name the places in the documents that a service finds fault with, instead of fields of a request."""
        return [self._explain_one(part.request, field, said) for field, said in error.violations]

    def _explain_one(self, request: Message, field: str, said: str) -> str:
        matched = _FIELD.fullmatch(field)
        kind = FIELDS.get(matched[1]) if matched else None
        entries = getattr(request, matched[1], ()) if matched and kind else ()
        if matched is None or kind is None or int(matched[2]) >= len(entries):
            return f"{field}: {said}" if field else said
        entry = entries[int(matched[2])]
        name = entry.name if hasattr(entry, "name") else entry.metadata.name
        return str(flaw_in(self._documents[kind, name], matched[3], said))

    def _check_access(self) -> list[Outcome]:
        request = rbac_pb2.ApplyAccessRequest(validate_only=True)
        request.MergeFrom(self._requests.access)
        return _outcomes_of_access(self._send_access(request))

    def _apply_access(self) -> list[Outcome]:
        answer = self._send_access(self._requests.access)
        self._access_revision = answer.revision
        return _outcomes_of_access(answer)

    def _send_access(self, request: rbac_pb2.ApplyAccessRequest) -> rbac_pb2.ApplyAccessResponse:
        stub = rbac_pb2_grpc.RbacServiceStub(self._client.channel)
        return self._client.call(stub.ApplyAccess, request, deadline=APPLY_DEADLINE)

    def _check_groups(self) -> list[Outcome]:
        request = groups_pb2.ApplyGroupsRequest(validate_only=True, pending_scope_tags=self._pending_tags)
        request.MergeFrom(self._requests.groups)
        return self._outcomes_of_groups(self._send_groups(request))

    def _apply_groups(self) -> list[Outcome]:
        request = groups_pb2.ApplyGroupsRequest(access_revision=self._access_revision)
        request.MergeFrom(self._requests.groups)
        answer = self._send_groups(request)
        self._directory_revision = answer.directory_revision
        return self._outcomes_of_groups(answer)

    def _send_groups(self, request: groups_pb2.ApplyGroupsRequest) -> groups_pb2.ApplyGroupsResponse:
        stub = groups_pb2_grpc.GroupServiceStub(self._client.channel)
        return self._client.call(stub.ApplyGroups, request, deadline=APPLY_DEADLINE)

    def _outcomes_of_groups(self, answer: groups_pb2.ApplyGroupsResponse) -> list[Outcome]:
        vocabulary = groups_pb2.ApplyAction.DESCRIPTOR
        return [Outcome("Group", applied.name, word_of(vocabulary, applied.action) or "") for applied in answer.groups]

    def _check_policies(self) -> list[Outcome]:
        request = policies_pb2.ApplyPoliciesRequest(
            validate_only=True, pending_groups=self._pending, pending_scope_tags=self._pending_tags
        )
        request.MergeFrom(self._requests.policies)
        return self._send_policies(request)

    def _apply_policies(self) -> list[Outcome]:
        request = policies_pb2.ApplyPoliciesRequest(
            directory_revision=self._directory_revision, access_revision=self._access_revision
        )
        request.MergeFrom(self._requests.policies)
        return self._send_policies(request)

    def _send_policies(self, request: policies_pb2.ApplyPoliciesRequest) -> list[Outcome]:
        stub = policies_pb2_grpc.PolicyServiceStub(self._client.channel)
        answer = self._client.call(stub.ApplyPolicies, request, deadline=APPLY_DEADLINE)
        self.findings = tuple(answer.findings)
        return [
            Outcome(applied.kind, applied.name, word_of(policies_pb2.ApplyAction.DESCRIPTOR, applied.action) or "")
            for applied in answer.objects
        ]


def _title_of(kind: Kind) -> str:
    """Name the part that objects of a kind belong to."""
    if kind in POLICY_KINDS:
        return "policies"
    return "groups" if kind is Kind.Group else "access"


def _outcomes_of_access(answer: rbac_pb2.ApplyAccessResponse) -> list[Outcome]:
    vocabulary = rbac_pb2.ApplyAction.DESCRIPTOR
    return [
        Outcome(applied.kind, applied.name, word_of(vocabulary, applied.action) or "") for applied in answer.objects
    ]


def _check_size(part: _Part) -> None:
    size = part.request.ByteSize()
    if size > LARGEST_REQUEST:
        message = f"the {part.title} are {size} bytes, more than the {LARGEST_REQUEST} that a server takes at once"
        raise BadInputError(f"{message}; apply fewer documents at a time", "nothing was applied")
