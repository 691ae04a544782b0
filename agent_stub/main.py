"""The command `epm-agent`. Libraries are loaded by the command that needs them, so that `--help` answers at once."""

import os
import re
import sys
from pathlib import Path
from typing import NoReturn

import click

from agent_stub.config import (
    DEFAULT_ADMINISTRATOR_GROUPS,
    AgentSettings,
    UnsafeSettings,
    default_socket,
    default_state_dir,
    host_platform,
)
from agent_stub.options import OUTPUT, SOCKET, STATE
from agent_stub.own_requests import requests
from elevation.words import Platform, Trigger

ELEVATED, NOT_ELEVATED, BAD_INPUT, NOT_MANAGED, NO_AGENT = 0, 1, 2, 3, 4
TOKEN_VARIABLE = "EPM_ENROLMENT_TOKEN"  # noqa: S105 - the name of a variable
UNSAFE_VARIABLE = "EPM_AGENT_UNSAFE"
_ADDRESS = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\s:/\[\]]+):[0-9]{1,5}")
_PLATFORMS = click.Choice([platform.name for platform in Platform])


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="openepm", prog_name="epm-agent")
def main() -> None:
    """Run OpenEPM's agent on a device."""


@main.command()
@click.option(
    "--server",
    envvar="EPM_AGENT_SERVER",
    show_envvar=True,
    required=True,
    metavar="HOST:PORT",
    help="Public address of the device service.",
)
@click.option(
    "--ca",
    envvar="EPM_AGENT_CA",
    show_envvar=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="Certificate of the installation's CA, PEM; `ca/ca.crt` in the data folder of its server.  "
    "[default: the one that the token names, as the server shows it]",
)
@click.option(
    "--token-file",
    metavar="FILE|-",
    help=f"File with the enrolment token; - reads it from standard input. Or {TOKEN_VARIABLE}.",
)
@click.option(
    "--name",
    envvar="EPM_AGENT_NAME",
    show_envvar=True,
    default=os.uname().nodename,
    show_default="host name",
    help="Name of the device.",
)
@click.option(
    "--unsafe-platform", type=_PLATFORMS, help=f"Report another platform; needs {UNSAFE_VARIABLE}=1. For the demo."
)
@STATE
def enroll(
    *,
    server: str,
    ca: Path | None,
    token_file: str | None,
    name: str,
    unsafe_platform: str | None,
    state_dir: Path | None,
) -> None:
    """Make this machine a device of an installation."""
    from agent_stub import enrolment as enrolling  # noqa: PLC0415 - see above
    from agent_stub.files import StateError  # noqa: PLC0415 - same
    from agent_stub.system import facts  # noqa: PLC0415 - same
    from agent_stub.users import SeenUsers, login_accounts  # noqa: PLC0415 - same

    if unsafe_platform:
        _require_unsafe("--unsafe-platform")
    if not _ADDRESS.fullmatch(server):
        _fail(f"--server: {server!r} is no address; give it as HOST:PORT, an IPv6 host in brackets", BAD_INPUT)
    enrolment = enrolling.Enrolment(
        server=server,
        ca=None if ca is None else _read(ca),
        token=_token(token_file),
        device_name=name,
        facts=facts(
            Platform[unsafe_platform] if unsafe_platform else host_platform(), SeenUsers(login_accounts).report()
        ),
    )
    try:
        identity = enrolling.enroll(state_dir or default_state_dir(), enrolment)
    except (enrolling.EnrolmentError, StateError) as error:
        _fail(str(error), NOT_ELEVATED)
    click.echo(f"enrolled {identity.device_name} as {identity.device_id}; start it by `epm-agent run`")


@main.command()
@click.option(
    "--administrator-group",
    "administrator_groups",
    envvar="EPM_AGENT_ADMINISTRATOR_GROUPS",
    show_envvar=True,
    multiple=True,
    default=DEFAULT_ADMINISTRATOR_GROUPS,
    show_default=True,
    help="Group whose members administer the device; may be repeated.",
)
@click.option(
    "--trusted-signers",
    envvar="EPM_AGENT_TRUSTED_SIGNERS",
    show_envvar=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of PEM certificates that code signatures are trusted by.",
)
@click.option(
    "--log-format",
    envvar="EPM_AGENT_LOG_FORMAT",
    show_envvar=True,
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
)
@click.option(
    "--unsafe-stated-identity",
    is_flag=True,
    help=f"Believe what callers say of themselves; needs {UNSAFE_VARIABLE}=1. For the demo and tests.",
)
@click.option("--unsafe-platform", type=_PLATFORMS, help="With --unsafe-stated-identity: the platform of the device.")
@click.option(
    "--unsafe-drive",
    "unsafe_drives",
    multiple=True,
    metavar="C:=FOLDER",
    help="With --unsafe-stated-identity: judge files below the folder as on that Windows drive.",
)
@STATE
@SOCKET
def run(  # noqa: PLR0913 - one parameter an option
    *,
    administrator_groups: tuple[str, ...],
    trusted_signers: Path | None,
    log_format: str,
    unsafe_stated_identity: bool,
    unsafe_platform: str | None,
    unsafe_drives: tuple[str, ...],
    state_dir: Path | None,
    socket_path: Path | None,
) -> None:
    """Run the agent in the foreground until SIGTERM."""
    # structlog loads rich wherever it finds it: 5 MB for tracebacks with the values of variables, which no log may show.
    sys.modules.setdefault("rich", None)  # type: ignore[arg-type]
    import asyncio  # noqa: PLC0415 - see above

    from agent_stub import log  # noqa: PLC0415 - same
    from agent_stub.agent import run as run_agent  # noqa: PLC0415 - same
    from agent_stub.files import StateError  # noqa: PLC0415 - same
    from agent_stub.inspection.trust import TrustStoreError  # noqa: PLC0415 - same

    state = (state_dir or default_state_dir()).absolute()
    unsafe = _unsafe(unsafe_platform, unsafe_drives, enabled=unsafe_stated_identity)
    settings = AgentSettings(
        state_dir=state,
        socket=(socket_path or default_socket(state)).absolute(),
        administrator_groups=administrator_groups,
        trusted_signers=trusted_signers,
        unsafe=unsafe,
    )
    log.configure(as_json=log_format == "json")
    try:
        asyncio.run(run_agent(settings))
    except (StateError, TrustStoreError) as error:
        _fail(str(error), NOT_ELEVATED)


@main.command(context_settings={"ignore_unknown_options": False})
@click.argument("file", type=click.Path(path_type=Path))
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@click.option("--as", "stated_user", help="Unsafe agents only: the user who asks.")
@click.option(
    "--administrator/--no-administrator",
    "stated_administrator",
    default=None,
    help="Unsafe agents only: whether that user administers the device.",
)
@click.option("--platform", "stated_platform", type=_PLATFORMS, help="Unsafe agents only: the platform to judge by.")
@click.option(
    "--trigger",
    "stated_trigger",
    type=click.Choice([trigger.name for trigger in Trigger]),
    help="Unsafe agents only: what started the attempt.",
)
@click.option(
    "--parent",
    "stated_parent",
    metavar="POLICY/RULE",
    help="Unsafe agents only: the rule that elevated the parent; with --trigger CHILD.",
)
@click.option(
    "--answer-confirm/--answer-decline",
    "answer_confirm",
    default=None,
    help="Unsafe agents only: answer the prompt without a terminal.",
)
@click.option("--justification", help="Unsafe agents only: the reason to give without a terminal.")
@click.option(
    "--wait",
    is_flag=True,
    help="Where the support is asked, wait for its answer, and run FILE once it is approved.",
)
@OUTPUT
@STATE
@SOCKET
def elevate(file: Path, arguments: tuple[str, ...], **options: object) -> None:
    """Ask to run FILE with elevated rights: epm-agent elevate FILE -- ARGS.

    Exit status: 0 elevated, 1 not elevated, 2 bad input, 3 left to the operating system, 4 no agent answers.
    """
    from agent_stub.commands import elevate as ask_to_elevate  # noqa: PLC0415 - see above

    raise SystemExit(ask_to_elevate(file, arguments, options))


@main.command()
@OUTPUT
@STATE
@SOCKET
def status(*, output: str, state_dir: Path | None, socket_path: Path | None) -> None:
    """Show how the agent is."""
    from agent_stub.commands import status as show_status  # noqa: PLC0415 - see above

    raise SystemExit(show_status(output, state_dir, socket_path))


main.add_command(requests)


def _unsafe(platform: str | None, drives: tuple[str, ...], *, enabled: bool) -> UnsafeSettings | None:
    if not enabled:
        if platform or drives:
            _fail("--unsafe-platform and --unsafe-drive need --unsafe-stated-identity", BAD_INPUT)
        return None
    _require_unsafe("--unsafe-stated-identity")
    click.echo(
        "WARNING: this agent believes what its callers say of themselves. For the demo and tests only.", err=True
    )
    mapped = dict(drive.split("=", 1) for drive in drives if "=" in drive)
    if len(mapped) != len(drives):
        _fail("--unsafe-drive: give it as C:=FOLDER, each drive once", BAD_INPUT)
    return UnsafeSettings(
        platform=Platform[platform] if platform else host_platform(),
        drives={drive: str(Path(folder).resolve()) for drive, folder in mapped.items()},
    )


def _require_unsafe(option: str) -> None:
    if os.environ.get(UNSAFE_VARIABLE) != "1":
        _fail(
            f"{option} lets anybody claim to be anybody; it needs {UNSAFE_VARIABLE}=1 in the environment too", BAD_INPUT
        )


def _token(token_file: str | None) -> str:
    """Read the token from a file, standard input or the environment: a command line can be seen by every user."""
    if token_file == "-":  # noqa: S105 - a name, not a token
        token = sys.stdin.readline()
    elif token_file:
        token = _read(Path(token_file)).decode("utf-8", "replace")
    else:
        token = os.environ.get(TOKEN_VARIABLE, "")
    if not token.strip():
        _fail(f"no enrolment token; give --token-file or {TOKEN_VARIABLE}", BAD_INPUT)
    return token.strip()


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        _fail(f"{path}: cannot be read ({error.strerror})", BAD_INPUT)


def _fail(message: str, code: int) -> NoReturn:
    click.echo(f"epm-agent: {message}", err=True)
    raise SystemExit(code)
