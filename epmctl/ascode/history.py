"""Ask the server for the past of objects: what code last made of them, and what others did since."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

import grpc

from epm.policy.v1 import revisions_pb2, revisions_pb2_grpc
from epmctl.ascode.authored import content, reference
from epmctl.ascode.canonical import POLICY_KINDS, Ref, of_message
from epmctl.ascode.live import Live, LiveObject
from epmctl.ascode.plan import Drift, Past
from epmctl.client import CallError, Client
from epmctl.output import Record, whole_seconds
from epmctl.plain import word_of

MOST_DRIFT: Final = 20
"""Changes of one object that are told; there may have been more."""

_SILENT: Final = frozenset(
    {grpc.StatusCode.NOT_FOUND, grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.PERMISSION_DENIED}
)
"""Answers after which there is no past to tell."""

_DELETED: Final = "DELETED"


def read_pasts(client: Client, live: Live, refs: Iterable[Ref]) -> Mapping[Ref, Past]:
    """Read the past of those objects that have one: they were changed since they were applied, or deleted."""
    pasts: dict[Ref, Past] = {}
    for ref in refs:
        if ref[0] not in POLICY_KINDS or ref[0] in live.unread:
            continue
        one = live.objects.get(ref)
        try:
            if one is None:
                pasts[ref] = Past(None, tuple(_deletion(client, ref)))
            elif one.drifted:
                pasts[ref] = Past(_base(client, one), tuple(_since(client, one)))
        except CallError as error:
            if error.code not in _SILENT:
                raise
    return pasts


def _base(client: Client, one: LiveObject) -> Record:
    stub = revisions_pb2_grpc.RevisionServiceStub(client.channel)
    request = revisions_pb2.GetRevisionRequest(object=reference(*one.ref), change=one.applied_change)
    return of_message(one.kind, content(client.call(stub.GetRevision, request).object))


def _since(client: Client, one: LiveObject) -> Iterator[Drift]:
    for revision in _newest(client, one.ref, MOST_DRIFT):
        if revision.change <= one.applied_change:
            return
        yield _drift(revision)


def _deletion(client: Client, ref: Ref) -> Iterator[Drift]:
    for revision in _newest(client, ref, 1):
        if (drift := _drift(revision)).action == _DELETED:
            yield drift


def _newest(client: Client, ref: Ref, count: int) -> Iterable[revisions_pb2.Revision]:
    stub = revisions_pb2_grpc.RevisionServiceStub(client.channel)
    request = revisions_pb2.ListRevisionsRequest(object=reference(*ref), page_size=count)
    return client.call(stub.ListRevisions, request).revisions


def _drift(revision: revisions_pb2.Revision) -> Drift:
    action = word_of(revisions_pb2.RevisionAction.DESCRIPTOR, revision.action) or ""
    return Drift(revision.author, whole_seconds(revision.time.ToJsonString()), action, revision.reason)
