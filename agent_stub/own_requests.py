"""The command `epm-agent requests`: what users see and do of their own elevation requests."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from agent_stub.options import OUTPUT, SOCKET, STATE

_AS = click.option("--as", "stated_user", help="Unsafe agents only: the user who asks.")


@click.group(invoke_without_command=True)
@click.option("--watch", is_flag=True, help="Go on showing what becomes of them, until interrupted.")
@_AS
@OUTPUT
@STATE
@SOCKET
@click.pass_context
def requests(context: click.Context, /, **options: object) -> None:
    """Show your own elevation requests, newest first.

    Exit status: 0, 1 where the agent refuses, 4 no agent answers.
    """
    if context.invoked_subcommand is None:
        raise SystemExit(_asked(lambda: _listed(options)))


@requests.command()
@click.argument("request_id", metavar="ID")
@_AS
@OUTPUT
@STATE
@SOCKET
@click.pass_context
def cancel(context: click.Context, /, request_id: str, **options: object) -> None:
    """Take a request back that is not decided yet."""
    before = context.parent.params if context.parent is not None else {}
    given = {name for name in options if context.get_parameter_source(name) is not ParameterSource.DEFAULT}
    raise SystemExit(_asked(lambda: _cancelled(request_id, options | before | {name: options[name] for name in given})))


def _listed(options: Mapping[str, Any]) -> None:
    found = _ask({"do": "requests"}, options)
    if options["output"] == "json" and not options["watch"]:
        click.echo(json.dumps(found, indent=1))
        return
    for request in found:
        _show(request, options["output"])
    if not found and not options["watch"]:
        click.echo("you have no requests that this device knows")
    while options["watch"]:
        for request in _ask({"do": "await"}, options):
            _show(request, options["output"])


def _cancelled(request_id: str, options: Mapping[str, Any]) -> None:
    (request,) = _ask({"do": "cancel", "id": request_id}, options)
    _show(request, options["output"])


def _show(request: Mapping[str, Any], output: str) -> None:
    """Show a request; as JSON each is one line, so that whoever watches can read them as they come."""
    from agent_stub.commands import visible  # noqa: PLC0415 - `--help` answers at once

    if output == "json":
        click.echo(json.dumps(request))
        return
    mark = "* " if request["new"] else "  "
    command = " ".join((request["file"], *request["arguments"]))
    click.echo(visible(f"{mark}{request['id']}  {request['state']:<9}  {command}"))
    click.echo(visible(f"    {request['message']}"))


def _ask(question: dict[str, Any], options: Mapping[str, Any]) -> list[dict[str, Any]]:
    from agent_stub.commands import socket_of  # noqa: PLC0415 - see above
    from agent_stub.control.client import ask  # noqa: PLC0415 - see above

    user = options["stated_user"]
    stated = {"stated": {"user": user}} if user else {}
    state: Path | None = options["state_dir"]
    found: list[dict[str, Any]] = ask(socket_of(state, options["socket_path"]), question | stated)["requests"]
    return found


def _asked(action: Callable[[], None]) -> int:
    from agent_stub.commands import ELEVATED, NO_AGENT, NOT_ELEVATED, complain  # noqa: PLC0415 - see above
    from agent_stub.control.client import AgentError, UnreachableError  # noqa: PLC0415 - see above

    try:
        action()
    except UnreachableError as error:
        return complain(str(error), NO_AGENT)
    except AgentError as error:
        return complain(str(error), NOT_ELEVATED)
    except KeyboardInterrupt:
        return ELEVATED
    return ELEVATED
