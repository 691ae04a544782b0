"""`epm rollout`: did the policy arrive? Counts of devices by how far they are, followed until all have answered.

The exit code says it to programs: 0 once every device that the policy is for has applied it, else 1.
"""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from typing import Final, cast

import click
import grpc

from epm.policy.v1 import rollouts_pb2, rollouts_pb2_grpc
from epmctl.client import CallError, Client, logged_in
from epmctl.grouping import CommandGroup
from epmctl.kinds.model import at, time_at
from epmctl.limits import limit_option, say_if_more, to_ask, within
from epmctl.moments import span
from epmctl.output import Record, output_option, print_json, print_table, show
from epmctl.plain import to_plain, words_of
from epmctl.progress import RolloutDisplay, shortfall

RETURN_SECONDS: Final = 60.0
"""How long a server that went away is waited for."""

MOST_RETRIES: Final = 5
"""How often in a row a watch that broke off is taken up again."""

_KINDS: Final = words_of(rollouts_pb2.PolicyKind.DESCRIPTOR)
_STATES: Final = words_of(rollouts_pb2.RolloutState.DESCRIPTOR)
_COUNTS: Final = ("targeted", "pending", "offered", "applied", "rejected", "leaving", "stale", "offline")
_DEVICES: Final = {
    "DEVICE": at("deviceName"),
    "STATE": at("state"),
    "REVISION": at("appliedRevision"),
    "CONNECTED": at("connected"),
    "OFFLINE SINCE": time_at("offlineSince"),
    "CONFIRMED": time_at("confirmed"),
    "STALE": at("stale"),
    "REJECTED BECAUSE": at("rejections"),
}
_policy_argument = click.argument("policy")
_kind_option = click.option(
    "--kind",
    type=click.Choice(tuple(_KINDS), case_sensitive=False),
    help="Which is meant, where a settings policy and a rules policy have the name.",
)
_revision_option = click.option(
    "--revision", type=click.IntRange(1), help="Count devices that have this revision or a newer one; else the newest."
)


@click.group(cls=CommandGroup)
def rollout() -> None:
    """Tell how far a policy has come, and watch it arrive."""


@rollout.command()
@_policy_argument
@_kind_option
@_revision_option
@click.option("--watch", is_flag=True, help="Follow it until every device has applied or rejected it.")
@click.option("--timeout", type=span, metavar="SPAN", help="With --watch: give up after so long, for example 30s.")
@output_option
def status(
    *, policy: str, kind: str | None, revision: int | None, watch: bool, timeout: timedelta | None, output: str
) -> int:
    """Count the devices that POLICY is for, by how far they are.

    Exit code 0: every one of them has applied it. 1: one has rejected it, or is not there yet.
    """
    if timeout is not None and not watch:
        raise click.UsageError("--timeout goes with --watch")
    subject = _subject(policy, kind, revision)
    with logged_in() as client:
        found = _followed(client, subject, timeout, output) if watch else _counted(client, subject, output)
    if found is None:
        click.echo("nothing was heard in time", err=True)
        return 1
    if missing := shortfall(found):
        click.echo(missing, err=True)
    return 1 if missing else 0


@rollout.command(name="devices")
@_policy_argument
@_kind_option
@_revision_option
@click.option(
    "--state",
    type=click.Choice(tuple(_STATES), case_sensitive=False),
    metavar="|".join(_STATES),
    help="Only devices that are so far.",
)
@click.option("--stale", is_flag=True, help="Only devices whose policy counts no more, so long were they away.")
@click.option("--offline", is_flag=True, help="Only devices that are not connected now.")
@limit_option
@output_option
def list_devices(  # noqa: PLR0913 - one parameter an option
    *,
    policy: str,
    kind: str | None,
    revision: int | None,
    state: str | None,
    stale: bool,
    offline: bool,
    limit: int,
    output: str,
) -> None:
    """List the devices that POLICY is for or still on, by name, with how far each is."""
    asked = rollouts_pb2.ListRolloutDevicesRequest(
        subject=_subject(policy, kind, revision), stale_only=stale, offline_only=offline
    )
    if state is not None:
        asked.state = rollouts_pb2.RolloutState.ValueType(_STATES[state])
    with logged_in() as client:
        found = list(_devices(client, asked, to_ask(limit)))
    rows = within(found, limit)
    if output == "json":
        print_json(rows)
    else:
        print_table(list(_DEVICES), [[column(row) for column in _DEVICES.values()] for row in rows])
    say_if_more(found, limit)


def _subject(policy: str, kind: str | None, revision: int | None) -> rollouts_pb2.RolloutSubject:
    subject = rollouts_pb2.RolloutSubject(policy=policy, revision=revision or 0)
    if kind is not None:
        subject.kind = rollouts_pb2.PolicyKind.ValueType(_KINDS[kind])
    return subject


def _counted(client: Client, subject: rollouts_pb2.RolloutSubject, output: str) -> rollouts_pb2.Rollout:
    """Ask once, and print what is counted."""
    stub = rollouts_pb2_grpc.RolloutServiceStub(client.channel)
    found = client.call(stub.GetRollout, rollouts_pb2.GetRolloutRequest(subject=subject)).rollout
    record = to_plain(found)
    if output == "json":
        print_json(record)
        return found
    named = cast("Record", record["subject"])
    click.echo(f"{str(named['kind']).lower()} policy {show(found.subject.policy)}, revision {found.subject.revision}")
    print_table([count.upper() for count in _COUNTS], [[record[count] for count in _COUNTS]])
    if found.rejections:
        click.echo()
        print_table(
            ("REJECTED BECAUSE", "DEVICES"), [(rejection.reason, rejection.devices) for rejection in found.rejections]
        )
    return found


def _followed(
    client: Client, subject: rollouts_pb2.RolloutSubject, timeout: timedelta | None, output: str
) -> rollouts_pb2.Rollout | None:
    """Print what is counted whenever it changes, until all have answered or the time is up; return the last count."""
    display = RolloutDisplay(output=output, live=sys.stdout.isatty())
    last: rollouts_pb2.Rollout | None = None
    with display:
        for last in _watched(client, subject, None if timeout is None else timeout.total_seconds()):
            display.show(last)
    return last


def _watched(
    client: Client, subject: rollouts_pb2.RolloutSubject, seconds: float | None
) -> Iterator[rollouts_pb2.Rollout]:
    """Give the counts; a watch that breaks off is taken up again, for the server may be another one by now."""
    stub = rollouts_pb2_grpc.RolloutServiceStub(client.channel)
    request = rollouts_pb2.WatchRolloutRequest(subject=subject, until_converged=True)
    once = rollouts_pb2.GetRolloutRequest(subject=subject)
    left = _countdown(seconds)
    failures = 0
    while True:
        try:
            if failures:
                client.call(stub.GetRollout, once, deadline=left(RETURN_SECONDS), wait=True)
            for answer in client.stream(stub.WatchRollout, request, deadline=left()):
                failures = 0
                yield answer.rollout
        except CallError as error:
            failures += 1
            if error.code is grpc.StatusCode.DEADLINE_EXCEEDED and seconds is not None:
                return
            if error.code is not grpc.StatusCode.UNAVAILABLE or failures > MOST_RETRIES:
                raise
        else:
            return


def _countdown(seconds: float | None) -> Callable[..., float | None]:
    """Return what tells how many seconds are left, of those that it is given at most; None: no end."""
    end = None if seconds is None else time.monotonic() + seconds

    def left(most: float | None = None) -> float | None:
        rest = None if end is None else max(end - time.monotonic(), 0.0)
        return most if rest is None else min(rest, rest if most is None else most)

    return left


def _devices(client: Client, asked: rollouts_pb2.ListRolloutDevicesRequest, limit: int | None) -> Iterator[Record]:
    stub = rollouts_pb2_grpc.RolloutServiceStub(client.channel)

    def fetch(size: int, token: str) -> tuple[Sequence[Record], str]:
        request = rollouts_pb2.ListRolloutDevicesRequest(page_size=size, page_token=token)
        request.MergeFrom(asked)
        page = client.call(stub.ListRolloutDevices, request)
        return [to_plain(device) for device in page.devices], page.next_page_token

    return client.pages(fetch, limit=limit)
