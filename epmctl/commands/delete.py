"""`epm delete`: delete one object."""

from collections.abc import Callable, Mapping
from typing import Final

import click
from google.protobuf.message import Message

from epm.device.v1 import groups_pb2, groups_pb2_grpc
from epm.policy.v1 import policies_pb2, policies_pb2_grpc
from epm.rbac.v1 import rbac_pb2, rbac_pb2_grpc
from epmctl.ascode.authored import AUTHORED, find_live, metadata_of
from epmctl.client import Client, logged_in
from epmctl.confirm import confirm, yes_option
from epmctl.documents.model import Kind
from epmctl.errors import BadInputError, CommandError
from epmctl.kinds.registry import find_kind
from epmctl.output import output_option, print_json, show
from epmctl.reason import reason_option

Send = Callable[[Client, str, str], Message]
"""Deletes the object of a name, as its etag says where there is one."""


def _policies(client: Client) -> policies_pb2_grpc.PolicyServiceStub:
    return policies_pb2_grpc.PolicyServiceStub(client.channel)


def _access(client: Client) -> rbac_pb2_grpc.RbacServiceStub:
    return rbac_pb2_grpc.RbacServiceStub(client.channel)


_SENDS: Final[Mapping[Kind, Send]] = {
    Kind.ElevationSettingsPolicy: lambda client, name, etag: client.call(
        _policies(client).DeleteSettingsPolicy, policies_pb2.DeleteSettingsPolicyRequest(name=name, etag=etag)
    ),
    Kind.ElevationRulesPolicy: lambda client, name, etag: client.call(
        _policies(client).DeleteRulesPolicy, policies_pb2.DeleteRulesPolicyRequest(name=name, etag=etag)
    ),
    Kind.ReusableCertificate: lambda client, name, etag: client.call(
        _policies(client).DeleteReusableCertificate, policies_pb2.DeleteReusableCertificateRequest(name=name, etag=etag)
    ),
    Kind.Group: lambda client, name, _: client.call(
        groups_pb2_grpc.GroupServiceStub(client.channel).DeleteGroup, groups_pb2.DeleteGroupRequest(name=name)
    ),
    Kind.Role: lambda client, name, _: client.call(_access(client).DeleteRole, rbac_pb2.DeleteRoleRequest(name=name)),
    Kind.RoleAssignment: lambda client, name, _: client.call(
        _access(client).DeleteRoleAssignment, rbac_pb2.DeleteRoleAssignmentRequest(name=name)
    ),
    Kind.Principal: lambda client, name, _: client.call(
        _access(client).DeletePrincipal, rbac_pb2.DeletePrincipalRequest(name=name)
    ),
    Kind.PrincipalGroup: lambda client, name, _: client.call(
        _access(client).DeletePrincipalGroup, rbac_pb2.DeletePrincipalGroupRequest(name=name)
    ),
    Kind.TrustedIssuer: lambda client, name, _: client.call(
        _access(client).DeleteTrustedIssuer, rbac_pb2.DeleteTrustedIssuerRequest(name=name)
    ),
}


@click.command()
@click.argument("kind")
@click.argument("name")
@yes_option
@reason_option
@output_option
def delete(*, kind: str, name: str, yes: bool, reason: str, output: str) -> None:
    """Delete one object. A policy is gone from devices at once; its revisions stay.

    KIND is one that epm get knows and documents describe. Asks first. A policy or certificate that somebody changes
    meanwhile stays.
    """
    known = find_kind(kind)
    send = _SENDS.get(known.document) if known.document else None
    if send is None or known.document is None:
        words = ", ".join(one.name for one in _SENDS)
        raise BadInputError(f"{known.name} cannot be deleted by this command; what can: {words}")
    told = f"{known.document.name} {show(name)}"
    with logged_in(reason) as client:
        etag = ""
        if known in AUTHORED:
            live = find_live(client, known, name)
            if live is None:
                raise CommandError(f"there is no {known.singular} {name!r}; epm get {known.name} lists those there are")
            etag = metadata_of(live).etag
        confirm(f"delete {told}?", yes=yes)
        send(client, name, etag)
    if output == "json":
        print_json({"kind": known.document.name, "name": name, "action": "DELETED"})
    else:
        click.echo(f"deleted  {told}")
