"""`epm enrolment-token`: create, list and revoke the tokens that devices enrol with.

The text of a token is printed once, alone on standard output, so that it can go into a file; what else there is to say
stands on standard error. It is kept nowhere.
"""

from datetime import datetime

import click

from epm.device.v1 import devices_pb2, devices_pb2_grpc
from epmctl.client import logged_in
from epmctl.commands.devices import identifier_of
from epmctl.commands.get import print_objects
from epmctl.grouping import CommandGroup
from epmctl.kinds.registry import each_object, find_kind
from epmctl.moments import METAVAR, future
from epmctl.output import output_option, print_json, show, whole_seconds
from epmctl.plain import to_plain, to_timestamp
from epmctl.reason import reason_option


@click.group(cls=CommandGroup)
def enrolment_token() -> None:
    """Create, list and revoke enrolment tokens."""


@enrolment_token.command()
@click.option(
    "--quota", type=click.IntRange(1, 100_000), default=1, show_default=True, help="How many devices may enrol."
)
@click.option("--description", default="", metavar="TEXT", help="What it is for.")
@click.option("--expires", type=future, metavar=METAVAR, help="When it ends; 7 days from now if not given.")
@click.option(
    "--user", "users", multiple=True, metavar="NAME", help="A user whom the devices are bound to; again for more."
)
@click.option("--allow-reported-users", is_flag=True, help="Bind the users that the agents report, too.")
@click.option(
    "--group", "groups", multiple=True, metavar="NAME", help="A device group that the devices join; again for more."
)
@click.option("--tag", "tags", multiple=True, metavar="WORD", help="A tag that the devices get; again for more.")
@click.option(
    "--scope-tag", "scope_tags", multiple=True, metavar="NAME", help="A scope tag that the devices get; again for more."
)
@click.option(
    "--device",
    metavar="DEVICE",
    help="The one device, by name or identifier, that may enrol, again and with a new key; it keeps all that it has.",
)
@click.option(
    "--device-names",
    multiple=True,
    metavar="PATTERN",
    help="What the devices' names must match: * any characters, ? one; again for more.",
)
@reason_option
@output_option
def create(*, expires: datetime | None, device: str | None, reason: str, output: str, **fields: object) -> None:
    """Create an enrolment token and show its text, this once.

    The text goes to standard output, everything else to standard error. It tells the installation's CA, so a device needs
    nothing else to know the server.
    """
    described = devices_pb2.EnrolmentToken(expires=to_timestamp(expires), **fields)  # type: ignore[arg-type]
    with logged_in(reason) as client:
        if device is not None:
            described.device_id = identifier_of(client, device)
        stub = devices_pb2_grpc.DeviceServiceStub(client.channel)
        request = devices_pb2.CreateEnrolmentTokenRequest(enrolment_token=described)
        answer = client.call(stub.CreateEnrolmentToken, request)
    if output == "json":
        print_json(to_plain(answer))
        return
    made = answer.enrolment_token
    until = whole_seconds(made.expires.ToJsonString())
    click.echo(
        f"enrolment token {show(made.token_id)}, quota {made.quota}, good until {until}; shown this once:", err=True
    )
    click.echo(show(answer.secret))


@enrolment_token.command(name="list")
@output_option
def list_(output: str) -> None:
    """List enrolment tokens, newest first, without their text."""
    kind = find_kind("enrolment-tokens")
    with logged_in() as client:
        print_objects(kind, each_object(client, kind), output)


@enrolment_token.command()
@click.argument("token_id", metavar="ID")
@reason_option
@output_option
def revoke(token_id: str, reason: str, output: str) -> None:
    """Revoke an enrolment token at once; devices that enrolled with it stay."""
    with logged_in(reason) as client:
        stub = devices_pb2_grpc.DeviceServiceStub(client.channel)
        answer = client.call(stub.RevokeEnrolmentToken, devices_pb2.RevokeEnrolmentTokenRequest(token_id=token_id))
    if output == "json":
        print_json(to_plain(answer.enrolment_token))
    else:
        click.echo(f"enrolment token {token_id} is revoked")
