"""`epm devices`: list devices, tell what became of them, and let them go.

A device is named by its identifier or by its name. The name of a retired or banned device may stand for several; then
the identifier is asked for.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Final, TypeVar, cast

import click
from google.protobuf.message import Message

from epm.device.v1 import devices_pb2, devices_pb2_grpc
from epmctl.client import CallError, Client, logged_in
from epmctl.commands.get import print_object, print_objects
from epmctl.errors import BadInputError
from epmctl.grouping import CommandGroup
from epmctl.kinds.model import at, time_at
from epmctl.kinds.registry import each_object, find_kind, find_object
from epmctl.limits import limit_option, say_if_more, to_ask, within
from epmctl.output import Record, print_json, print_table, print_yaml
from epmctl.plain import to_plain
from epmctl.policystate import policy_state
from epmctl.reason import reason_option

_IDENTIFIER: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_HISTORY: Final = {
    "TIME": time_at("time"),
    "KIND": at("kind"),
    "BEFORE": at("before"),
    "AFTER": at("after"),
    "ACTOR": at("actor"),
    "REASON": at("reason"),
}
_DEVICE: Final = click.argument("device")

Send = Callable[[devices_pb2_grpc.DeviceServiceStub, Client, str, str], Message]
"""Asks the server to do something with a device of this identifier, for this reason."""
F = TypeVar("F", bound=Callable[..., object])


def _output_option(default: str) -> Callable[[F], F]:
    return click.option(
        "--output",
        type=click.Choice(("table", "json", "yaml")),
        default=default,
        show_default=True,
        help="How to print it.",
    )


@click.group(cls=CommandGroup)
def devices() -> None:
    """List devices, tell what became of them, and let them go.

    DEVICE is the identifier of a device or its name.
    """


@devices.command(name="list")
@_output_option("table")
def list_(output: str) -> None:
    """List the devices that you may see, by name."""
    kind = find_kind("devices")
    with logged_in() as client:
        print_objects(kind, each_object(client, kind), output)


@devices.command()
@_DEVICE
@_output_option("yaml")
def show(device: str, output: str) -> None:
    """Show a device whole.

    Its state and why, its certificate, its groups, what filters see of it, how far its policy has come, and the settings
    on which policies disagree there.
    """
    kind = find_kind("devices")
    with logged_in() as client:
        found = find_object(client, kind, identifier_of(client, device))
        policy = policy_state(client, cast("str", found["deviceId"]))
    print_object(kind, found if policy is None else {**found, "policy": policy}, output)


@devices.command()
@_DEVICE
@limit_option
@_output_option("table")
def history(device: str, limit: int, output: str) -> None:
    """Tell what became of a device, newest first.

    Enrolments, EPM states, certificates, suspicions of a clone.
    """
    with logged_in() as client:
        found = list(_entries(client, identifier_of(client, device), to_ask(limit)))
    rows = within(found, limit)
    if output == "json":
        print_json(rows)
    elif output == "yaml":
        print_yaml([("", row) for row in rows])
    else:
        print_table(list(_HISTORY), [[column(row) for column in _HISTORY.values()] for row in rows])
    say_if_more(found, limit)


def _change(name: str, help_text: str, done: str, send: Send) -> None:
    """Add a command that does something with one device and says what it came to."""

    @devices.command(name=name, help=help_text)
    @_DEVICE
    @reason_option
    @_output_option("table")
    def command(device: str, reason: str, output: str) -> None:
        with logged_in(reason) as client:
            device_id = identifier_of(client, device)
            answer = to_plain(send(devices_pb2_grpc.DeviceServiceStub(client.channel), client, device_id, reason))
        record = cast("Record", answer.get("device")) or {"deviceId": device_id}
        if output == "json":
            print_json(record)
        elif output == "yaml":
            print_yaml([("", record)])
        else:
            click.echo(f"device {device} {done}")


def identifier_of(client: Client, device: str) -> str:
    """Return the identifier of a device; raise CommandError where there is none, or more than one."""
    if _IDENTIFIER.fullmatch(device):
        return device
    kind = find_kind("devices")
    stub = devices_pb2_grpc.DeviceServiceStub(client.channel)
    try:
        return client.call(stub.GetDevice, devices_pb2.GetDeviceRequest(device=device)).device.device_id
    except CallError as error:
        if not error.absent:
            raise
    left = [cast("str", each["deviceId"]) for each in each_object(client, kind) if each["name"] == device]
    if len(left) > 1:
        raise BadInputError(f"several devices were named {device!r}; give the identifier: {', '.join(left)}")
    return left[0] if left else device


def _entries(client: Client, device_id: str, limit: int | None) -> Iterator[Record]:
    stub = devices_pb2_grpc.DeviceServiceStub(client.channel)

    def fetch(size: int, token: str) -> tuple[Sequence[Record], str]:
        request = devices_pb2.ListDeviceHistoryRequest(device=device_id, page_size=size, page_token=token)
        answer = client.call(stub.ListDeviceHistory, request)
        return [to_plain(entry) for entry in answer.entries], answer.next_page_token

    return client.pages(fetch, limit=limit)


_change(
    "retire",
    "Retire a device. It is cut off, and keeps its record, name and history for when it enrols again.",
    "is retired",
    lambda stub, client, device_id, reason: client.call(
        stub.RetireDevice, devices_pb2.RetireDeviceRequest(device_id=device_id, reason=reason)
    ),
)
_change(
    "ban",
    "Ban a device. It is cut off, and neither its name nor its keys enrol again.",
    "is banned; epm devices lift-ban lets it enrol again",
    lambda stub, client, device_id, reason: client.call(
        stub.BanDevice, devices_pb2.BanDeviceRequest(device_id=device_id, reason=reason)
    ),
)
_change(
    "lift-ban",
    "Lift the ban of a device. It is retired from then on.",
    "is no longer banned but retired",
    lambda stub, client, device_id, reason: client.call(
        stub.LiftDeviceBan, devices_pb2.LiftDeviceBanRequest(device_id=device_id, reason=reason)
    ),
)
_change(
    "delete",
    "Delete a device. It is cut off, and its record and history are gone; audit records and reports stay.",
    "is deleted",
    lambda stub, client, device_id, reason: client.call(
        stub.DeleteDevice, devices_pb2.DeleteDeviceRequest(device_id=device_id, reason=reason)
    ),
)
_change(
    "clear-clone",
    "Clear the suspicion of a clone. The device is one again, and its quarantine ends.",
    "is no longer suspected of being two",
    lambda stub, client, device_id, reason: client.call(
        stub.ClearSuspectedClone, devices_pb2.ClearSuspectedCloneRequest(device_id=device_id, reason=reason)
    ),
)
