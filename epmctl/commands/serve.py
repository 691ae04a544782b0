"""`epm serve`: the services, all four in one process or one of them alone."""

import os
import shlex
from collections.abc import Callable
from functools import partial
from typing import Any, Final

import click

from epmctl.errors import BadInputError
from epmctl.servesettings import SETTINGS, read_settings
from services.allinone import SERVICES, ServiceSettings, serve_all, serve_one

READY: Final = "OpenEPM serves"
"""How the line begins that is printed once everything serves."""

_EPILOG: Final = (
    "Every setting can also be given as an environment variable (EPM_PUBLIC_PORT for --public-port) or in the TOML file of"
    " --config (public_port); a flag goes before the environment, the environment before the file. Without a flag, for"
    " environment and file alone: "
    + ", ".join(setting.name for setting in SETTINGS if not setting.flag)
    + ". A duration"
    " is ISO 8601 or a number of seconds."
)


def _flags(command: Callable[..., int]) -> Callable[..., int]:
    """Give the command a flag for every setting that has one; values are read together with those of other sources."""
    for setting in reversed([setting for setting in SETTINGS if setting.flag]):
        if setting.name == "reflection":
            option = click.option("--reflection/--no-reflection", default=None, help=setting.help)
        elif setting.name == "server_name":
            option = click.option(setting.option, multiple=True, metavar="NAME", help=setting.help)
        else:
            option = click.option(setting.option, metavar=_metavar(setting.name), help=setting.help)
        command = option(command)
    return command


def _metavar(name: str) -> str:
    kind = name.rpartition("_")[2].upper()
    return kind if kind in ("DIR", "PORT", "HOST", "FILE", "URL") else "VALUE"


@click.command(epilog=_EPILOG)
@click.argument("service", required=False, type=click.Choice(SERVICES), metavar="[SERVICE]")
@_flags
@click.option("--config", metavar="FILE", help="A TOML file with settings.")
def serve(service: str | None, config: str | None, **flags: Any) -> int:
    """Run the services: all four in this process, or the SERVICE (rbac, device, policy, reporting) alone.

    The first start makes everything that is needed in the data folder: the installation's CA, keys, databases, and the
    token of the first Owner in DATA_DIR/owner-token. Prints the addresses and the next command to type once everything
    serves; logs go to standard error. Ends on SIGTERM and SIGINT, after the calls that are under way.

    Exit codes: 0 ended as asked, 2 the start was refused.
    """
    flags["server_name"] = flags["server_name"] or None
    settings = read_settings(flags, os.environ, config)
    # Its native lines on stderr fit no log format; it reads this once, when `services.allinone` imports it to serve.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    try:
        if service is None:
            return serve_all(settings, partial(announce, settings, None))
        return serve_one(settings, service, partial(announce, settings, service))
    except ModuleNotFoundError as error:
        problem = (
            f"epm serve needs {error.name}, which is not installed; install openepm with its extra: openepm[server]"
        )
        raise BadInputError(problem) from error


def announce(settings: ServiceSettings, service: str | None, bound: ServiceSettings) -> None:
    """Print where the services are, with the ports that they really have, and what to type next."""
    what = f"the {service} service" if service else "all four services"
    click.echo(f"{READY} {what} on {settings.data_dir}")
    click.echo(f"  public address  {bound.public_address}  (TLS: administrators, enrolment)")
    click.echo(f"  mesh address    {bound.mesh_address}  (mutual TLS: devices, services)")
    if service in (None, "rbac"):
        click.echo(f"\nNext:\n  {shlex.join(_next(bound))}")


def _next(bound: ServiceSettings) -> list[str]:
    token = bound.data_dir / "owner-token"
    shown = str(token) if token.exists() else "TOKEN-FILE"
    return ["epm", "login", "--server", bound.public_address, "--ca", str(bound.ca), "--token-file", shown]
