"""`epm token`: create, list and revoke the tokens that administrators bring.

The text of a token is printed once, alone on standard output, so that it can go into a file; what else there is to say
stands on standard error. It is kept nowhere.
"""

from datetime import datetime

import click

from epm.rbac.v1 import rbac_pb2, rbac_pb2_grpc
from epmctl.client import logged_in
from epmctl.commands.get import print_objects
from epmctl.grouping import CommandGroup
from epmctl.kinds.registry import each_object, find_kind
from epmctl.moments import METAVAR, future
from epmctl.output import output_option, print_json, show, whole_seconds
from epmctl.plain import to_plain, to_timestamp
from epmctl.reason import reason_option


@click.group(cls=CommandGroup)
def token() -> None:
    """Create, list and revoke administrators' tokens."""


@token.command()
@click.option("--principal", required=True, metavar="user:NAME", help="Whom the token speaks for.")
@click.option("--description", default="", metavar="TEXT", help="What it is for.")
@click.option("--expires", type=future, metavar=METAVAR, help="When it ends; 90 days from now if not given.")
@reason_option
@output_option
def create(*, principal: str, description: str, expires: datetime | None, reason: str, output: str) -> None:
    """Issue a token and show its text, this once.

    The text goes to standard output, everything else to standard error.
    """
    request = rbac_pb2.IssueTokenRequest(principal=principal, description=description, expires=to_timestamp(expires))
    with logged_in(reason) as client:
        answer = client.call(rbac_pb2_grpc.RbacServiceStub(client.channel).IssueToken, request)
    if output == "json":
        print_json(to_plain(answer))
        return
    made = answer.token
    until = whole_seconds(made.expires.ToJsonString()) if made.HasField("expires") else "revoked"
    click.echo(
        f"token {show(made.token_id)} for {show(made.principal)}, good until {until}; shown this once:", err=True
    )
    click.echo(show(answer.secret))


@token.command(name="list")
@output_option
def list_(output: str) -> None:
    """List tokens, newest first, without their text."""
    kind = find_kind("tokens")
    with logged_in() as client:
        print_objects(kind, each_object(client, kind), output)


@token.command()
@click.argument("token_id", metavar="ID")
@reason_option
@output_option
def revoke(token_id: str, reason: str, output: str) -> None:
    """Revoke a token at once; doing it again changes nothing."""
    with logged_in(reason) as client:
        stub = rbac_pb2_grpc.RbacServiceStub(client.channel)
        answer = client.call(stub.RevokeToken, rbac_pb2.RevokeTokenRequest(token_id=token_id))
    if output == "json":
        print_json(to_plain(answer.token))
    else:
        click.echo(f"token {token_id} of {show(answer.token.principal)} is revoked")
