"""`epm rollout` tells whether a policy has arrived, and its exit code says so too."""

import json

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from epm.policy.v1 import policies_pb2, rollouts_pb2
from epmctl.progress import RolloutDisplay, bar
from services._chassis.errors import NotFoundError, UnavailableError
from tests.builders.console import Console
from tests.fakes.server import FakeServer

NOON = Timestamp(seconds=1_795_435_200, nanos=5)
SUBJECT = rollouts_pb2.RolloutSubject(policy="tools", kind=rollouts_pb2.POLICY_KIND_RULES, revision=7)


def counted(**counts: int) -> rollouts_pb2.Rollout:
    reasons = [rollouts_pb2.RejectionCount(reason="no room on the disk", devices=counts.get("rejected", 0))]
    targeted = sum(counts.get(name, 0) for name in ("pending", "offered", "applied", "rejected"))
    return rollouts_pb2.Rollout(
        subject=SUBJECT,
        targeted=targeted,
        time=NOON,
        rejections=reasons if counts.get("rejected") else [],
        **counts,
    )


def watched(*rollouts: rollouts_pb2.Rollout) -> list[rollouts_pb2.WatchRolloutResponse]:
    return [rollouts_pb2.WatchRolloutResponse(rollout=rollout) for rollout in rollouts]


def answers(server: FakeServer, rollout: rollouts_pb2.Rollout) -> None:
    server.on(rollouts_pb2.GetRolloutRequest, rollouts_pb2.GetRolloutResponse(rollout=rollout))


def test_a_policy_that_has_arrived_is_counted_and_ends_well(console: Console, server: FakeServer) -> None:
    answers(server, counted(applied=3, stale=1))
    outcome = console.run("rollout", "status", "tools", "--kind", "rules", "--revision", "7")
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.splitlines() == [
        "rules policy tools, revision 7",
        "TARGETED  PENDING  OFFERED  APPLIED  REJECTED  LEAVING  STALE  OFFLINE",
        "       3        0        0        3         0        0      1        0",
    ]
    [asked] = server.requests(rollouts_pb2.GetRolloutRequest)
    assert asked.subject == SUBJECT


def test_without_kind_and_revision_the_server_chooses(console: Console, server: FakeServer) -> None:
    answers(server, counted(applied=1))
    console.run("rollout", "status", "tools")
    [asked] = server.requests(rollouts_pb2.GetRolloutRequest)
    assert asked.subject == rollouts_pb2.RolloutSubject(policy="tools")


def test_a_rejection_is_told_with_its_reason_and_ends_badly(console: Console, server: FakeServer) -> None:
    answers(server, counted(applied=1, rejected=2))
    outcome = console.run("rollout", "status", "tools")
    assert (outcome.code, outcome.err) == (1, "3 devices, 2 rejected it\n")
    assert "no room on the disk        2" in outcome.out


def test_a_policy_that_is_under_way_ends_badly_too(console: Console, server: FakeServer) -> None:
    answers(server, counted(applied=1, offered=1, pending=2))
    outcome = console.run("rollout", "status", "tools", "--output", "json")
    assert (outcome.code, outcome.err) == (1, "4 devices, 3 not there yet\n")
    assert (outcome.json["targeted"], outcome.json["subject"]["kind"]) == (4, "RULES")


def test_a_watch_prints_a_line_for_each_change_and_ends_when_all_have_answered(
    console: Console, server: FakeServer
) -> None:
    first, last = counted(applied=1, pending=1, offline=1), counted(applied=2)
    server.streams(rollouts_pb2.WatchRolloutRequest, watched(first, first, last))
    outcome = console.run("rollout", "status", "tools", "--watch")
    assert outcome.code == 0
    assert outcome.out.splitlines() == [
        "2026-11-23T12:00:00Z revision 7: 1 of 2 applied, 1 pending, 1 offline",
        "2026-11-23T12:00:00Z revision 7: 2 of 2 applied",
    ]
    [asked] = server.requests(rollouts_pb2.WatchRolloutRequest)
    assert asked.until_converged


def test_a_watch_prints_an_object_a_line_for_programs(console: Console, server: FakeServer) -> None:
    server.streams(rollouts_pb2.WatchRolloutRequest, watched(counted(offered=1), counted(rejected=1)))
    outcome = console.run("rollout", "status", "tools", "--watch", "--output", "json")
    assert outcome.code == 1
    assert [json.loads(line)["rejected"] for line in outcome.out.splitlines()] == [0, 1]


def test_a_watch_that_breaks_off_is_taken_up_again(console: Console, server: FakeServer) -> None:
    away = UnavailableError("the server is about to end; watch again", reason="DRAINING")
    server.streams(rollouts_pb2.WatchRolloutRequest, [*watched(counted(pending=1)), away], watched(counted(applied=1)))
    outcome = console.run("rollout", "status", "tools", "--watch")
    assert outcome.code == 0
    assert outcome.out.endswith("1 of 1 applied\n")


def test_a_server_that_stays_away_is_given_up(console: Console, server: FakeServer) -> None:
    server.streams(rollouts_pb2.WatchRolloutRequest, [UnavailableError("no directory yet")])
    outcome = console.run("rollout", "status", "tools", "--watch")
    assert (outcome.code, outcome.err) == (1, "no directory yet\n")
    assert len(server.requests(rollouts_pb2.WatchRolloutRequest)) == 6


def test_a_watch_gives_up_when_its_time_is_up(console: Console, server: FakeServer) -> None:
    server.holds(rollouts_pb2.WatchRolloutRequest, watched(counted(pending=1, offline=1)))
    outcome = console.run("rollout", "status", "tools", "--watch", "--timeout", "PT0.3S")
    assert (outcome.code, outcome.err) == (1, "1 devices, 1 not there yet\n")


def test_a_policy_that_is_not_there_is_said_in_a_line(console: Console, server: FakeServer) -> None:
    gone = NotFoundError('there is no policy "tools"; list them for their names')
    server.on(rollouts_pb2.GetRolloutRequest, gone)
    server.streams(rollouts_pb2.WatchRolloutRequest, [gone])
    for arguments in ([], ["--watch"]):
        outcome = console.run("rollout", "status", "tools", *arguments)
        assert (outcome.code, outcome.out, outcome.err) == (1, "", f"{gone}\n")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--timeout", "30s"], "--timeout goes with --watch"),
        (["--watch", "--timeout", "soon"], "must be a span"),
        (["--revision", "0"], "0 is not in the range"),
        (["--kind", "group"], "'group' is not one of"),
    ],
)
def test_options_that_make_no_sense_are_bad_input(
    console: Console, server: FakeServer, arguments: list[str], said: str
) -> None:
    outcome = console.run("rollout", "status", "tools", *arguments)
    assert outcome.code == 2
    assert said in outcome.err
    assert server.asked == []


def test_the_devices_of_a_rollout_are_listed_page_by_page(console: Console, server: FakeServer) -> None:
    def page(request: rollouts_pb2.ListRolloutDevicesRequest) -> rollouts_pb2.ListRolloutDevicesResponse:
        number = int(request.page_token or 1)
        device = rollouts_pb2.RolloutDevice(
            device_id=f"d{number}",
            device_name=f"ws-{number}",
            state=rollouts_pb2.ROLLOUT_STATE_REJECTED,
            applied_revision=6,
            rejections=["no room on the disk"],
            confirmed=NOON,
            offline_since=NOON,
        )
        token = str(number + 1) if number < 3 else ""
        return rollouts_pb2.ListRolloutDevicesResponse(devices=[device], next_page_token=token)

    server.on(rollouts_pb2.ListRolloutDevicesRequest, page)
    outcome = console.run("rollout", "devices", "tools", "--state", "rejected", "--offline", "--stale", "--limit", "2")
    assert (outcome.code, outcome.err) == (0, "there are more than 2; --limit 0 shows all of them\n")
    heading, *rows = outcome.out.splitlines()
    assert heading.split() == [
        "DEVICE",
        "STATE",
        "REVISION",
        "CONNECTED",
        "OFFLINE",
        "SINCE",
        "CONFIRMED",
        "STALE",
        "REJECTED",
        "BECAUSE",
    ]
    assert rows[0].split()[:5] == ["ws-1", "REJECTED", "6", "no", "2026-11-23T12:00:00Z"]
    assert len(rows) == 2
    asked = server.requests(rollouts_pb2.ListRolloutDevicesRequest)[0]
    assert (asked.state, asked.offline_only, asked.stale_only) == (rollouts_pb2.ROLLOUT_STATE_REJECTED, True, True)


@pytest.mark.parametrize(
    ("counts", "drawn"),
    [
        ({"applied": 4}, "[" + "#" * 30 + "]"),
        ({"applied": 1, "pending": 1}, "[" + "#" * 15 + "." * 15 + "]"),
        ({"applied": 9997, "rejected": 1, "offered": 1, "pending": 1}, "[" + "#" * 27 + "!>.]"),
        ({}, "[" + " " * 30 + "]"),
    ],
)
def test_a_bar_shows_whatever_there_is(counts: dict[str, int], drawn: str) -> None:
    assert bar(counted(**counts)) == drawn


def test_a_terminal_is_drawn_over_and_over(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    with RolloutDisplay(output="table", live=True) as display:
        display.show(counted(applied=1, pending=1))
        display.show(counted(applied=2))
    drawn = capsys.readouterr().out.split("\r")
    assert drawn[1:] == [
        "[###############...............] 1 of 2 applied, 1 pending",
        "[##############################] 2 of 2 applied           \n",
    ]
    assert max(map(len, drawn)) <= 60


def test_a_device_is_shown_with_its_policy_and_its_conflicts(console: Console, server: FakeServer) -> None:
    from epm.device.v1 import devices_pb2  # noqa: PLC0415 - this test alone asks for a device

    device = devices_pb2.Device(device_id="0199a3c0-0000-7000-8000-000000000001", name="ws-17")
    values = [policies_pb2.ConflictingValue(policy="a", value="DENY"), policies_pb2.ConflictingValue(value="x")]
    conflict = policies_pb2.SettingsConflict(setting="defaultResponse", effective="DENY", values=values)
    state = policies_pb2.DevicePolicyState(device_id=device.device_id, applied_revision=4, conflicts=[conflict])
    server.on(devices_pb2.GetDeviceRequest, devices_pb2.GetDeviceResponse(device=device))
    server.on(policies_pb2.ListDevicePolicyStatesRequest, policies_pb2.ListDevicePolicyStatesResponse(states=[state]))
    shown = console.run("devices", "show", device.device_id, "--output", "json").json
    assert shown["policy"]["appliedRevision"] == 4
    assert shown["policy"]["conflicts"][0]["effective"] == "DENY"
    [asked] = server.requests(policies_pb2.ListDevicePolicyStatesRequest)
    assert asked.device == device.device_id
