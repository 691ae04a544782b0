"""The command `epm-sim`. Libraries are loaded by the command that needs them, so that `--help` answers at once."""

import os
import re
import sys
from pathlib import Path

import click

from fleet.ends import BAD_INPUT, fail

TOKEN_VARIABLE = "EPM_ENROLMENT_TOKEN"  # noqa: S105 - the name of a variable
ADMINISTRATOR_VARIABLE = "EPM_TOKEN"
_ADDRESS = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\s:/\[\]]+):[0-9]{1,5}")
_MOST_PROCESSES = 64
_STATE = click.option(
    "--state-dir",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of the fleet: identities, what each agent holds, folders of faithful agents.",
)
_OUTPUT = click.option("--output", type=click.Choice(["text", "json"]), default="text", show_default=True)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="openepm", prog_name="epm-sim")
def main() -> None:
    """Simulate many agents against an OpenEPM installation: for tests and for measuring."""
    # What went wrong is said by us; gRPC would add lines of its own, for thousands of agents.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")


@main.command()
@click.option("--server", required=True, metavar="HOST:PORT", help="Public address of the device service.")
@click.option(
    "--ca",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Certificate of the installation's CA, PEM.  [default: the one that the token names]",
)
@click.option(
    "--token-file",
    metavar="FILE|-",
    help=f"File with an enrolment token; - reads it from standard input. Or {TOKEN_VARIABLE}.",
)
@click.option("--count", required=True, type=click.IntRange(1, 99_999), help="Agents that there are to be.")
@click.option("--at-once", default=8, show_default=True, type=click.IntRange(1, 64), help="Enrolments at a time.")
@_STATE
def enrol(*, server: str, ca: Path | None, token_file: str | None, count: int, at_once: int, state_dir: Path) -> None:
    """Enrol the devices sim-00001 and on; a run that was interrupted goes on."""
    from fleet.commands import enrol as enrol_fleet  # noqa: PLC0415 - see above
    from fleet.enrol import Recruiting  # noqa: PLC0415 - same

    _check_address(server)
    recruiting = Recruiting(
        state_dir=state_dir.absolute(),
        server=server,
        ca=None if ca is None else _read(ca),
        token=_token(token_file, TOKEN_VARIABLE),
        count=count,
        at_once=at_once,
    )
    raise SystemExit(enrol_fleet(recruiting))


@main.command()
@click.option("--agents", type=click.IntRange(1, 99_999), help="How many agents to run.  [default: all]")
@click.option(
    "--faithful",
    default=0,
    show_default=True,
    type=click.IntRange(0),
    help="How many of them, the first ones, keep their policy on disk and read it whole, as real agents do.",
)
@click.option("--processes", default=2, show_default=True, type=click.IntRange(1, _MOST_PROCESSES))
@click.option("--duration", default="60s", show_default=True, help="How long, as 90s, 5m or 2h.")
@click.option("--script", "script_file", type=click.Path(path_type=Path, dir_okay=False), help="What goes wrong.")
@click.option("--seed", type=int, help="Draw the same faults again.  [default: the script's, or a fresh one]")
@click.option("--ramp", default="0s", show_default=True, help="Time over which the first connections are spread.")
@click.option(
    "--check-in", is_flag=True, help="Check in as agents do; faithful ones tell whether their component is there."
)
@click.option("--longest-wait", default="300s", show_default=True, help="Longest wait before a connection.")
@_OUTPUT
@_STATE
def run(  # noqa: PLR0913 - one parameter an option
    *,
    agents: int | None,
    faithful: int,
    processes: int,
    duration: str,
    script_file: Path | None,
    seed: int | None,
    ramp: str,
    check_in: bool,
    longest_wait: str,
    output: str,
    state_dir: Path,
) -> None:
    """Run agents until the duration is over.

    SIGUSR1 ends the faults, SIGTERM and SIGINT the run. Exit status: 0; 1 where a law was broken; 2 bad input.
    """
    from fleet.commands import Wish  # noqa: PLC0415 - see above
    from fleet.commands import run as run_fleet  # noqa: PLC0415 - same

    wish = Wish(
        state_dir=state_dir.absolute(),
        agents=agents,
        faithful=faithful,
        processes=processes,
        times={"--duration": duration, "--ramp": ramp, "--longest-wait": longest_wait},
        script=None if script_file is None else _read(script_file),
        seed=seed,
        check_in=check_in,
    )
    raise SystemExit(run_fleet(wish, as_json=output == "json"))


@main.command()
@click.option("--server", metavar="HOST:PORT", help="Public address of the policy service.  [default: as enrolled]")
@click.option(
    "--token-file",
    metavar="FILE|-",
    help=f"File with an administrator's token; - reads it from standard input. Or {ADMINISTRATOR_VARIABLE}.",
)
@_OUTPUT
@_STATE
def check(*, server: str | None, token_file: str | None, output: str, state_dir: Path) -> None:
    """Compare what every agent holds with what the server says.

    Exit status: 0 all the same; 1 a difference, or no answer; 2 bad input.
    """
    from fleet.commands import check as check_fleet  # noqa: PLC0415 - see above

    if server is not None:
        _check_address(server)
    token = _token(token_file, ADMINISTRATOR_VARIABLE)
    raise SystemExit(check_fleet(state_dir.absolute(), server, token, as_json=output == "json"))


def _check_address(server: str) -> None:
    if not _ADDRESS.fullmatch(server):
        fail(BAD_INPUT, f"--server: {server!r} is no address; give it as HOST:PORT, an IPv6 host in brackets")


def _token(token_file: str | None, variable: str) -> str:
    """Read a token from a file, standard input or the environment: a command line can be seen by every user."""
    if token_file == "-":  # noqa: S105 - a name, not a token
        token = sys.stdin.readline()
    elif token_file:
        token = _read(Path(token_file)).decode("utf-8", "replace")
    else:
        token = os.environ.get(variable, "")
    if not token.strip():
        fail(BAD_INPUT, f"no token; give --token-file or {variable}")
    return token.strip()


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        fail(BAD_INPUT, f"{path}: cannot be read ({error.strerror})")
