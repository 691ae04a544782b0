"""`epm ca`: the certificates of an installation whose services run apart from one another."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import click

from epmctl.documents.files import reason
from epmctl.errors import BadInputError, CommandError
from services.allinone import SERVICES, InvalidError, ServiceError, ca_init, ca_issue_service

HOLDERS: Final = (*SERVICES, "gateway")
_FOLDER: Final = click.option(
    "--dir",
    "folder",
    required=True,
    envvar="EPM_CA_DIR",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="The folder of the CA.",
)


@click.group()
def ca() -> None:
    """Make the certificates of an installation run as separate services.

    `epm serve` on all four services needs none of this: it makes its own.
    """


@ca.command("init")
@_FOLDER
def init(folder: Path) -> None:
    """Make the CA of an installation, and the key that signs its policy.

    ca.crt goes to everybody, ca.key to the device service alone, which signs devices; policy-signing.key goes to the policy
    service alone, policy-signing.pub to the policy and the device service. Nothing that exists is overwritten.
    """
    with _refusals():
        ca_init(folder)
    click.echo(f"made {folder}: ca.crt, ca.key, policy-signing.key, policy-signing.pub")
    click.echo(f"\nNext, for each service:\n  epm ca issue-service rbac --dir {folder} --out FOLDER --host NAME")


@ca.command("issue-service")
@click.argument("service", type=click.Choice(HOLDERS))
@_FOLDER
@click.option("--out", required=True, type=click.Path(path_type=Path), metavar="DIR", help="The folder to write to.")
@click.option(
    "--host", "hosts", multiple=True, metavar="NAME", help="A name or address to reach it by; again for more."
)
@click.option("--trust-domain", default="openepm", show_default=True, help="The installation's trust domain.")
@click.option("--replace", is_flag=True, help="Write a new certificate over the one that is there.")
def issue_service(
    service: str, *, folder: Path, out: Path, hosts: tuple[str, ...], trust_domain: str, replace: bool
) -> None:
    """Issue the certificate of a service: SERVICE.crt and SERVICE.key.

    Both of a service's addresses show it, and other services know it by it. It always carries localhost, 127.0.0.1 and ::1.
    """
    with _refusals():
        files = ca_issue_service(folder, service, hosts, out, trust_domain=trust_domain, replacing=replace)
    click.echo(f"made {files.certificate} and {files.key}")


@contextmanager
def _refusals() -> Iterator[None]:
    try:
        yield
    except InvalidError as error:
        raise BadInputError(*(f"{problem.field}: {problem.message}" for problem in error.problems)) from None
    except ServiceError as error:
        raise CommandError(f"error: {error}") from None
    except OSError as error:
        raise CommandError(f"error: {error.filename}: {reason(error)}") from None
