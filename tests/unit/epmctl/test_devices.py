"""`epm devices` names a device by its name or identifier, and tells what became of it."""

import pytest
import yaml
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from epm.device.v1 import devices_pb2
from epm.elevation.v1 import document_pb2
from services._chassis.errors import NotFoundError, StateError
from tests.builders.console import Console
from tests.fakes.server import FakeServer

NOON = Timestamp(seconds=1_795_435_200, nanos=5)
ID = "0199a3c0-0000-7000-8000-000000000001"
OTHER = "0199a3c0-0000-7000-8000-000000000002"
REASON = "No settings policy applies; the component goes at 2026-11-30T12:00:00Z unless one comes back."
DEVICE = devices_pb2.Device(
    device_id=ID,
    name="ws-17",
    enrolment_state=devices_pb2.ENROLMENT_STATE_ENROLLED,
    epm_state=document_pb2.EPM_STATE_DEPROVISION_PENDING,
    epm_state_reason=REASON,
    os="linux",
)
CHANGES: list[tuple[str, type[Message], Message]] = [
    ("retire", devices_pb2.RetireDeviceRequest, devices_pb2.RetireDeviceResponse(device=DEVICE)),
    ("ban", devices_pb2.BanDeviceRequest, devices_pb2.BanDeviceResponse(device=DEVICE)),
    ("lift-ban", devices_pb2.LiftDeviceBanRequest, devices_pb2.LiftDeviceBanResponse(device=DEVICE)),
    ("clear-clone", devices_pb2.ClearSuspectedCloneRequest, devices_pb2.ClearSuspectedCloneResponse(device=DEVICE)),
    ("delete", devices_pb2.DeleteDeviceRequest, devices_pb2.DeleteDeviceResponse()),
]


def entry(number: int) -> devices_pb2.DeviceHistoryEntry:
    return devices_pb2.DeviceHistoryEntry(
        time=NOON,
        kind=devices_pb2.DEVICE_HISTORY_KIND_EPM_STATE,
        before="ACTIVE",
        after="DEPROVISION_PENDING",
        reason=f"reason {number}",
        actor="service:policy",
    )


def page_of_three(request: devices_pb2.ListDeviceHistoryRequest) -> devices_pb2.ListDeviceHistoryResponse:
    number = int(request.page_token or 0)
    following = str(number + 1) if number < 2 else ""
    return devices_pb2.ListDeviceHistoryResponse(entries=[entry(number)], next_page_token=following)


@pytest.fixture
def known(server: FakeServer) -> FakeServer:
    """Give a server with one enrolled device that has a history."""
    server.on(devices_pb2.GetDeviceRequest, devices_pb2.GetDeviceResponse(device=DEVICE))
    server.on(devices_pb2.ListDevicesRequest, devices_pb2.ListDevicesResponse(devices=[DEVICE]))
    server.on(devices_pb2.ListDeviceHistoryRequest, page_of_three)
    for _, request, answer in CHANGES:
        server.on(request, answer)
    return server


@pytest.mark.usefixtures("known")
def test_the_list_has_a_line_for_every_device(console: Console) -> None:
    outcome = console.run("devices", "list")

    assert outcome.out.splitlines()[1].split() == [
        "ws-17", "linux", "ENROLLED", "DEPROVISION_PENDING", "-", "-", "-", "-", ID,
    ]  # fmt: skip
    assert [device["name"] for device in console.run("devices", "list", "--output", "json").json] == ["ws-17"]
    assert yaml.safe_load(console.run("devices", "list", "--output", "yaml").out)["deviceId"] == ID


@pytest.mark.parametrize(("quarantined", "note"), [(False, "suspected clone"), (True, "suspected clone, quarantined")])
def test_a_device_that_looks_like_two_is_marked_in_the_list(
    console: Console, known: FakeServer, *, quarantined: bool, note: str
) -> None:
    marked = devices_pb2.Device(device_id=ID, suspected_clone=NOON, quarantined=quarantined)
    known.on(devices_pb2.ListDevicesRequest, devices_pb2.ListDevicesResponse(devices=[marked]))

    assert f"  {note}  " in console.run("devices", "list").out


@pytest.mark.usefixtures("known")
def test_a_device_is_shown_with_the_reason_of_its_state(console: Console) -> None:
    shown = yaml.safe_load(console.run("devices", "show", "ws-17").out)

    assert (shown["epmState"], shown["epmStateReason"]) == ("DEPROVISION_PENDING", REASON)
    assert console.run("devices", "show", "ws-17", "--output", "json").json["epmStateReason"] == REASON


@pytest.mark.usefixtures("known")
def test_the_history_tells_when_what_by_whom_and_why(console: Console) -> None:
    outcome = console.run("devices", "history", "ws-17")

    head, first, *_ = outcome.out.splitlines()
    assert head.split() == ["TIME", "KIND", "BEFORE", "AFTER", "ACTOR", "REASON"]
    assert first.split(maxsplit=5) == [
        "2026-11-23T12:00:00Z", "EPM_STATE", "ACTIVE", "DEPROVISION_PENDING", "service:policy", "reason 0",
    ]  # fmt: skip


@pytest.mark.parametrize(("limit", "shown", "more"), [(2, 2, True), (3, 3, False), (0, 3, False)])
@pytest.mark.usefixtures("known")
def test_the_history_is_fetched_page_by_page_up_to_the_limit(
    console: Console, *, limit: int, shown: int, more: bool
) -> None:
    outcome = console.run("devices", "history", ID, "--limit", str(limit), "--output", "json")

    assert [entry["reason"] for entry in outcome.json] == [f"reason {number}" for number in range(shown)]
    assert ("--limit 0" in outcome.err) == more


@pytest.mark.usefixtures("known")
def test_the_history_in_yaml_is_a_document_an_entry(console: Console) -> None:
    outcome = console.run("devices", "history", ID, "--output", "yaml")

    assert [entry["after"] for entry in yaml.safe_load_all(outcome.out)] == ["DEPROVISION_PENDING"] * 3


@pytest.mark.parametrize(("command", "request_type"), [(name, request) for name, request, _ in CHANGES])
@pytest.mark.parametrize("device", ["ws-17", ID])
def test_every_change_names_the_device_by_its_identifier_and_says_why(
    console: Console, known: FakeServer, *, command: str, request_type: type[Message], device: str
) -> None:
    outcome = console.run("devices", command, device, "--reason", "ticket 4711")

    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.startswith(f"device {device} is ")
    assert known.requests(request_type) == [request_type(device_id=ID, reason="ticket 4711")]


@pytest.mark.parametrize("command", [name for name, *_ in CHANGES])
@pytest.mark.usefixtures("known")
def test_every_change_tells_programs_which_device_it_was(console: Console, command: str) -> None:
    assert console.run("devices", command, "ws-17", "--output", "json").json["deviceId"] == ID
    assert yaml.safe_load(console.run("devices", command, "ws-17", "--output", "yaml").out)["deviceId"] == ID


def test_a_device_that_left_is_found_by_its_name(console: Console, known: FakeServer) -> None:
    known.on(devices_pb2.GetDeviceRequest, NotFoundError("there is no such device"))

    assert console.run("devices", "lift-ban", "ws-17").code == 0
    assert known.requests(devices_pb2.LiftDeviceBanRequest)[0].device_id == ID


def test_a_name_that_several_devices_left_asks_for_the_identifier(console: Console, known: FakeServer) -> None:
    known.on(devices_pb2.GetDeviceRequest, NotFoundError("there is no such device"))
    both = [DEVICE, devices_pb2.Device(device_id=OTHER, name="ws-17")]
    known.on(devices_pb2.ListDevicesRequest, devices_pb2.ListDevicesResponse(devices=both))

    outcome = console.run("devices", "delete", "ws-17")

    assert (outcome.code, known.requests(devices_pb2.DeleteDeviceRequest)) == (2, [])
    assert ID in outcome.err
    assert OTHER in outcome.err


def test_a_device_that_is_not_there_is_refused_by_the_server(console: Console, known: FakeServer) -> None:
    known.on(devices_pb2.GetDeviceRequest, NotFoundError("there is no such device"))
    known.on(devices_pb2.BanDeviceRequest, NotFoundError("there is no such device"))

    outcome = console.run("devices", "ban", "nobody")

    assert (outcome.code, outcome.out) == (1, "")
    assert "there is no such device" in outcome.err


def test_what_the_server_refuses_is_said(console: Console, known: FakeServer) -> None:
    known.on(devices_pb2.RetireDeviceRequest, StateError("the device is banned"))

    outcome = console.run("devices", "retire", "ws-17")

    assert (outcome.code, outcome.err) == (1, "the device is banned\n")
