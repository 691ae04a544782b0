"""`epm login`: try a server and a token, and remember both for the commands that follow."""

import os

import click

from epm.rbac.v1 import rbac_pb2, rbac_pb2_grpc
from epmctl.client import connected
from epmctl.output import output_option, print_json
from epmctl.plain import to_plain
from epmctl.profile import Profile, check_server, read_ca, read_token, save_profile


@click.command()
@click.option("--server", required=True, metavar="HOST:PORT", help="The public address of the server.")
@click.option("--ca", required=True, metavar="FILE", help="The CA of the server, PEM; DATA/ca/ca.crt where it runs.")
@click.option("--token-file", required=True, metavar="FILE", help="The file that holds the token; - for stdin.")
@output_option
def login(server: str, ca: str, token_file: str, output: str) -> None:
    """Remember a server and the token to use with it.

    The server is asked who the token speaks for; nothing is kept unless it answers.
    """
    profile = Profile(check_server(server), read_ca(ca), read_token(token_file))
    with connected(profile) as client:
        caller = client.call(rbac_pb2_grpc.RbacServiceStub(client.channel).WhoAmI, rbac_pb2.WhoAmIRequest())
    path = save_profile(profile, os.environ)
    if output == "json":
        print_json({"server": profile.server, "profile": str(path), **to_plain(caller)})
        return
    click.echo(f"logged in to {profile.server} as {caller.principal}, with {len(caller.rights)} rights")
    click.echo(f"kept in {path}")
