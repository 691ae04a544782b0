"""`epm ca`: the certificates of an installation whose services run apart from one another."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import click

from epmctl.documents.files import reason
from epmctl.errors import BadInputError, CommandError
from epmctl.grouping import CommandGroup
from services.allinone import (
    SERVICES,
    InvalidError,
    ServiceError,
    ca_init,
    ca_issue_service,
    ca_retire_policy_key,
    ca_rotate_policy_key,
    policy_key_files,
)

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
_KEYS_DATA_DIR: Final = click.option(
    "--data-dir",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="The data folder of a server that runs all services, or the policy service.",
)
_KEYS_DIR: Final = click.option(
    "--dir",
    "folder",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="The folder of the CA, for services that run apart from one another.",
)


@click.group(cls=CommandGroup)
def ca() -> None:
    """Make the certificates of an installation run as separate services, and change the key that signs policy.

    `epm serve` on all four services makes its own certificates.
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


@ca.command("rotate-policy-key")
@_KEYS_DATA_DIR
@_KEYS_DIR
def rotate_policy_key(data_dir: Path | None, folder: Path | None) -> None:
    """Make a new key that signs policy, beside those that there are.

    The services read the keys when they start: restart the policy and the device service afterwards. Devices learn the new
    key from policy that an older one signs, at their next stream; retire the old key only when all of them know the new one.
    """
    with _refusals():
        private, public = _policy_keys(data_dir, folder)
        key_id = ca_rotate_policy_key(private, public)
    click.echo(f"made the key {key_id} in {private} and {public}")
    click.echo("\nNext:\n  1. restart the policy and the device service (in split mode, give them the new files first)")
    click.echo(f"  2. wait until every device names {key_id} in policyKeyIds of `epm get device-policy-states`")
    click.echo("  3. epm ca retire-policy-key OLD-KEY, and restart them again")


@ca.command("retire-policy-key")
@click.argument("key_id")
@_KEYS_DATA_DIR
@_KEYS_DIR
def retire_policy_key(key_id: str, *, data_dir: Path | None, folder: Path | None) -> None:
    """Take the key KEY_ID away, so that it signs no policy any more; never the newest one.

    A device that does not know a newer one has to enrol again: look at policyKeyIds of `epm get device-policy-states` first.
    """
    with _refusals():
        private, public = _policy_keys(data_dir, folder)
        ca_retire_policy_key(private, public, key_id)
    click.echo(f"retired the key {key_id}: it is no more in {private} and {public}")
    click.echo("\nNext: restart the policy and the device service (in split mode, give them the new files first)")


def _policy_keys(data_dir: Path | None, folder: Path | None) -> tuple[Path, Path]:
    if data_dir is not None and folder is not None:
        raise BadInputError("--data-dir and --dir: give one of them, the folder that holds the keys")
    if data_dir is not None:
        return policy_key_files(data_dir, data_dir=True)
    if folder is not None:
        return policy_key_files(folder, data_dir=False)
    raise BadInputError("--data-dir or --dir: name the folder of the server, or that of the CA")


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
