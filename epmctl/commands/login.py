"""`epm login`: try a server and a token, or an identity provider, and remember them for the commands that follow."""

import os

import click

from epm.rbac.v1 import rbac_pb2, rbac_pb2_grpc
from epmctl.client import connected
from epmctl.errors import BadInputError, CommandError
from epmctl.output import output_option, print_json, show
from epmctl.plain import to_plain
from epmctl.profile import Identity, Profile, check_server, read_ca, read_token, save_profile


@click.command()
@click.option("--server", required=True, metavar="HOST:PORT", help="The public address of the server.")
@click.option("--ca", required=True, metavar="FILE", help="The CA of the server, PEM; DATA/ca/ca.crt where it runs.")
@click.option("--token-file", metavar="FILE", help="The file that holds the token; - for stdin.")
@click.option("--oidc", is_flag=True, help="Log in at an identity provider that the server trusts.")
@click.option("--issuer", metavar="NAME", help="Which one, where there are several (with --oidc).")
@click.option("--issuer-ca", metavar="FILE", help="Its CA, PEM, where the system does not know it (with --oidc).")
@output_option
def login(
    *, server: str, ca: str, token_file: str | None, oidc: bool, issuer: str | None, issuer_ca: str | None, output: str
) -> None:
    """Remember a server and the token to use with it.

    The token is one that the server issued (--token-file), or comes from an identity provider (--oidc): an address and a
    code are shown for a browser, on this machine or any other. Such a token is renewed by itself as long as the provider
    allows. The server is asked who the token speaks for; nothing is kept unless it answers.
    """
    if oidc == bool(token_file) or (not oidc and (issuer or issuer_ca)):
        raise BadInputError("give either --token-file FILE, or --oidc (perhaps with --issuer and --issuer-ca)")
    profile = Profile(check_server(server), read_ca(ca), read_token(token_file) if token_file else "")
    if oidc:
        profile = _log_in_at(_provider(profile, issuer, read_ca(issuer_ca) if issuer_ca else ""), profile)
    with connected(profile) as client:
        caller = client.call(rbac_pb2_grpc.RbacServiceStub(client.channel).WhoAmI, rbac_pb2.WhoAmIRequest())
    path = save_profile(profile, os.environ)
    if output == "json":
        print_json({"server": profile.server, "profile": str(path), **to_plain(caller)})
        return
    click.echo(f"logged in to {profile.server} as {show(caller.principal)}, with {len(caller.rights)} rights")
    click.echo(f"kept in {path}")


def _provider(profile: Profile, name: str | None, ca: str) -> Identity:
    """Ask the server where one can log in, and choose."""
    with connected(profile) as client:
        stub = rbac_pb2_grpc.RbacServiceStub(client.channel)
        options = client.call(stub.GetLoginOptions, rbac_pb2.GetLoginOptionsRequest()).options
    names = ", ".join(show(option.name) for option in options)
    chosen = [option for option in options if name in (None, option.name)]
    if not options:
        raise CommandError(f"{profile.server} trusts no identity provider to log in at; use --token-file")
    if not chosen:
        raise BadInputError(f"{profile.server} knows no login at {name!r}; known: {names}")
    if len(chosen) > 1:
        raise BadInputError(f"{profile.server} knows several identity providers; choose with --issuer: {names}")
    (one,) = chosen
    return Identity(issuer=one.issuer, client_id=one.client_id, audience=one.audience, ca=ca)


def _log_in_at(identity: Identity, profile: Profile) -> Profile:
    from epmctl.oidc import begin, finish  # noqa: PLC0415 - most logins bring a token

    identity, invitation = begin(identity)
    click.echo(f"open {show(invitation.address)} in a browser and enter the code {show(invitation.code)}", err=True)
    if invitation.complete_address:
        click.echo(f"or open {show(invitation.complete_address)}", err=True)
    done = finish(identity, invitation)
    return Profile(profile.server, profile.ca, done.token, done.identity)
