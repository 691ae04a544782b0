"""`epm requests approve|deny|revoke`: answer a request, or take an approval back."""

from contextlib import suppress
from datetime import timedelta
from typing import Final

import click

from epm.policy.v1 import requests_pb2
from epmctl.client import Client, logged_in
from epmctl.errors import BadInputError, CommandError
from epmctl.moments import span
from epmctl.output import output_option, print_json, show, whole_seconds
from epmctl.plain import to_plain
from epmctl.reason import check_reason
from epmctl.requestcalls import about, find_request, requests_of
from epmctl.requestdenial import denial_of
from epmctl.spans import in_words

_MOST_USES: Final = 2**31 - 1
_request = click.argument("request_id", metavar="ID")
_reason = click.option(
    "--reason",
    default="",
    callback=check_reason,
    metavar="TEXT",
    help="Why; the user reads it, and the audit log has it.",
)


@click.command()
@_request
@click.option(
    "--for",
    "access",
    type=span,
    metavar="SPAN",
    help="How long the user may elevate, from now on, such as 8h or PT8H; 24h if not said.",
)
@click.option("--uses", type=click.IntRange(1, _MOST_USES), help="How often; any number of times if not said.")
@click.option("--any-arguments", is_flag=True, help="With any arguments, not those of the request alone.")
@_reason
@output_option
def approve(
    *, request_id: str, access: timedelta | None, uses: int | None, any_arguments: bool, reason: str, output: str
) -> None:
    """Let the user of a request elevate the file on that device for a while; nobody approves their own."""
    asked = requests_pb2.ApproveElevationRequestRequest(
        id=request_id, max_uses=uses or 0, any_arguments=any_arguments, reason=reason
    )
    if access is not None:
        asked.access.FromTimedelta(access)
    with logged_in() as client:
        answer = about(request_id, lambda: client.call(requests_of(client).ApproveElevationRequest, asked))
        denied = _denied(client, request_id)
    given = answer.request.access
    until = whole_seconds(given.until.ToJsonString())
    times = f"{given.max_uses} times" if given.max_uses > 1 else "once" if given.max_uses else "any number of times"
    long = in_words(given.until.ToDatetime() - getattr(given, "from").ToDatetime())
    arguments = "any arguments" if given.any_arguments else "the arguments of the request"
    _say(answer.request, "approved", f"{times} with {arguments}, until {until} ({long})", output)
    if denied:
        click.echo(f"it is denied by {show(denied)}; have the rule changed, or revoke the approval", err=True)


@click.command()
@_request
@_reason
@output_option
def deny(*, request_id: str, reason: str, output: str) -> None:
    """Say no to a request, with the reason that the user reads; it is asked for on a terminal."""
    asked = requests_pb2.DenyElevationRequestRequest(id=request_id, reason=reason.strip() or _asked_reason())
    with logged_in() as client:
        answer = about(request_id, lambda: client.call(requests_of(client).DenyElevationRequest, asked))
    _say(answer.request, "denied", "", output)


@click.command()
@_request
@_reason
@output_option
def revoke(*, request_id: str, reason: str, output: str) -> None:
    """Take an approval back; a connected device hears of it at once."""
    asked = requests_pb2.RevokeElevationRequestRequest(id=request_id, reason=reason)
    with logged_in() as client:
        answer = about(request_id, lambda: client.call(requests_of(client).RevokeElevationRequest, asked))
    _say(answer.request, "revoked", "", output)


def _denied(client: Client, request_id: str) -> str:
    """Name what denies what was just approved; nothing where that cannot be told, for it is approved all the same."""
    with suppress(CommandError):
        return denial_of(find_request(client, request_id))
    return ""


def _asked_reason() -> str:
    """Ask for the reason of a denial; raise BadInputError where nobody answers."""
    try:
        reason: str = click.prompt("reason, which the user reads", err=True, value_proc=_read_reason)
    except click.Abort:
        raise BadInputError("nobody said why; give --reason, which the user reads") from None
    return reason


def _read_reason(text: str) -> str:
    context = click.get_current_context()
    if not text.strip():
        raise click.BadParameter("must say something")
    return check_reason(context, context.command.params[0], text.strip())


def _say(request: requests_pb2.ElevationRequest, done: str, more: str, output: str) -> None:
    """Say what was done, to which request, so that a mistaken identifier is seen."""
    if output == "json":
        print_json(to_plain(request))
        return
    click.echo(f"{done}  {show(request.user)} on {show(request.device_name)}: {show(request.file.path)}")
    if more:
        click.echo(f"{'':{len(done)}}  {more}")
