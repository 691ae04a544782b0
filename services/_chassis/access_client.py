"""The access snapshot on its way from the rbac service into every other one, and the use of tokens on its way back."""

from collections.abc import Mapping
from datetime import UTC, datetime

import grpc.aio
from google.protobuf.timestamp_pb2 import Timestamp

from epm.access.v1 import access_pb2, access_pb2_grpc
from services._chassis.access import AccessControl
from services._chassis.client import DEADLINE, calling
from services._chassis.errors import UnavailableError
from services._chassis.snapshot import (
    AccessSnapshot,
    AssignmentGrant,
    IssuerTrust,
    PrincipalGroupMembers,
    PrincipalUsers,
    RoleGrant,
    TokenDigest,
)
from services._chassis.times import time_to_proto
from services._chassis.token_use import Report, TokenUseReporter
from services._chassis.workers import Worker


def watch_worker(channel: grpc.aio.Channel, control: AccessControl) -> Worker:
    """Return the worker that keeps `control` up to date from the rbac service."""

    async def run() -> None:
        await watch(channel, control)

    return Worker("watch_access", run)


def report_worker(channel: grpc.aio.Channel, control: AccessControl) -> Worker:
    """Return the worker that tells the rbac service when tokens were shown to this one."""
    return TokenUseReporter(control.uses, reporting_over(channel)).worker()


def reporting_over(channel: grpc.aio.Channel) -> Report:
    """Return what reports the use of tokens to the rbac service at the other end of the channel."""
    stub = access_pb2_grpc.AccessServiceStub(channel)

    async def report(uses: Mapping[str, datetime]) -> None:
        request = access_pb2.ReportTokenUseRequest()
        for token_id, used in uses.items():
            request.uses.add(token_id=token_id).used.FromDatetime(used)
        with calling("rbac"):
            await stub.ReportTokenUse(request, timeout=DEADLINE)

    return report


async def watch(channel: grpc.aio.Channel, control: AccessControl) -> None:
    """Follow one stream of the rbac service until it ends, which raises UnavailableError."""
    stub = access_pb2_grpc.AccessServiceStub(channel)
    with calling("rbac"):
        async for message in stub.WatchAccess(access_pb2.WatchAccessRequest(revision=control.revision)):
            take(message, control)
    raise UnavailableError("the rbac service ended the stream of access snapshots")


def take(message: access_pb2.WatchAccessResponse, control: AccessControl) -> None:
    """Put one message of the stream in force; a heartbeat of another revision confirms nothing."""
    match message.WhichOneof("update"):
        case "snapshot":
            control.replace(snapshot_from_proto(message.snapshot))
        case "heartbeat" if message.heartbeat.revision == control.revision:
            control.confirm()
        case _:
            pass


def snapshot_from_proto(message: access_pb2.AccessSnapshot) -> AccessSnapshot:
    """Read a snapshot."""
    return AccessSnapshot(
        revision=message.revision,
        roles=tuple(RoleGrant(role.name, frozenset(role.rights)) for role in message.roles),
        assignments=tuple(_assignment_from_proto(assignment) for assignment in message.assignments),
        principal_groups=tuple(
            PrincipalGroupMembers(group.name, frozenset(group.members)) for group in message.principal_groups
        ),
        tokens=tuple(
            TokenDigest(
                token_id=token.token_id,
                digest=token.digest,
                principal=token.principal,
                expires=_time(token.expires) if token.HasField("expires") else None,
            )
            for token in message.tokens
        ),
        issuers=tuple(_issuer_from_proto(issuer) for issuer in message.issuers),
        scope_tags=frozenset(message.scope_tags),
        principals=tuple(PrincipalUsers(each.name, frozenset(each.endpoint_users)) for each in message.principals),
    )


def snapshot_to_proto(snapshot: AccessSnapshot) -> access_pb2.AccessSnapshot:
    """Write a snapshot."""
    return access_pb2.AccessSnapshot(
        revision=snapshot.revision,
        roles=[access_pb2.SnapshotRole(name=role.name, rights=sorted(role.rights)) for role in snapshot.roles],
        assignments=[_assignment_to_proto(assignment) for assignment in snapshot.assignments],
        principal_groups=[
            access_pb2.SnapshotPrincipalGroup(name=group.name, members=sorted(group.members))
            for group in snapshot.principal_groups
        ],
        tokens=[
            access_pb2.SnapshotToken(
                token_id=token.token_id,
                digest=token.digest,
                principal=token.principal,
                expires=time_to_proto(token.expires),
            )
            for token in snapshot.tokens
        ],
        issuers=[_issuer_to_proto(trust) for trust in snapshot.issuers],
        scope_tags=sorted(snapshot.scope_tags),
        principals=[
            access_pb2.SnapshotPrincipal(name=record.name, endpoint_users=sorted(record.endpoint_users))
            for record in snapshot.principals
        ],
    )


def _assignment_from_proto(message: access_pb2.SnapshotAssignment) -> AssignmentGrant:
    return AssignmentGrant(
        name=message.name,
        role=message.role,
        members=frozenset(message.members),
        scope_groups=frozenset(message.scope_groups),
        scope_tags=frozenset(message.scope_tags),
        expires=_time(message.expires) if message.HasField("expires") else None,
    )


def _assignment_to_proto(assignment: AssignmentGrant) -> access_pb2.SnapshotAssignment:
    return access_pb2.SnapshotAssignment(
        name=assignment.name,
        role=assignment.role,
        members=sorted(assignment.members),
        scope_groups=sorted(assignment.scope_groups),
        scope_tags=sorted(assignment.scope_tags),
        expires=time_to_proto(assignment.expires),
    )


def _issuer_from_proto(message: access_pb2.SnapshotIssuer) -> IssuerTrust:
    mappings: dict[str, frozenset[str]] = {}
    for mapping in message.group_mappings:
        mappings[mapping.claim_value] = mappings.get(mapping.claim_value, frozenset()) | {mapping.principal_group}
    return IssuerTrust(
        name=message.name,
        issuer=message.issuer,
        audiences=tuple(message.audiences),
        key_set=message.jwks,
        principal_claim=message.principal_claim,
        principal_prefix=message.principal_prefix,
        groups_claim=message.groups_claim,
        group_mappings=mappings,
    )


def _issuer_to_proto(trust: IssuerTrust) -> access_pb2.SnapshotIssuer:
    return access_pb2.SnapshotIssuer(
        name=trust.name,
        issuer=trust.issuer,
        audiences=trust.audiences,
        jwks=trust.key_set,
        principal_claim=trust.principal_claim,
        principal_prefix=trust.principal_prefix,
        groups_claim=trust.groups_claim,
        group_mappings=[
            access_pb2.SnapshotGroupMapping(claim_value=value, principal_group=group)
            for value, groups in trust.group_mappings.items()
            for group in sorted(groups)
        ],
    )


def _time(stamp: Timestamp) -> datetime:
    return stamp.ToDatetime(tzinfo=UTC)
