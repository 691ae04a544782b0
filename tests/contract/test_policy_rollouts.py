"""Rollouts and conflicts as administrators see them, at a whole installation with devices that answer."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc.aio
import pytest

from epm.elevation.v1 import settings_pb2
from epm.policy.v1 import agent_pb2, agent_pb2_grpc, policies_pb2, policies_pb2_grpc, rollouts_pb2, rollouts_pb2_grpc
from services.policy.usecases.delivery import CAPABILITY
from tests.builders.device_service import EnrolledDevice
from tests.builders.refusals import refusal_of
from tests.builders.whole import Metadata, Whole, whole

if TYPE_CHECKING:
    from epm.policy.v1.policies_pb2_grpc import PolicyServiceAsyncStub
    from epm.policy.v1.rollouts_pb2_grpc import RolloutServiceAsyncStub

READ = "policy_authoring.read"
SETTINGS = rollouts_pb2.RolloutSubject(policy="workstations")
PENDING, OFFERED, APPLIED, REJECTED = (
    rollouts_pb2.ROLLOUT_STATE_PENDING,
    rollouts_pb2.ROLLOUT_STATE_OFFERED,
    rollouts_pb2.ROLLOUT_STATE_APPLIED,
    rollouts_pb2.ROLLOUT_STATE_REJECTED,
)
DENY, CONFIRM = settings_pb2.DEFAULT_RESPONSE_DENY, settings_pb2.DEFAULT_RESPONSE_USER_CONFIRMED


class Office:
    """An installation, and administrators who look at it."""

    def __init__(self, house: Whole) -> None:
        self.house = house
        self.policies: PolicyServiceAsyncStub = policies_pb2_grpc.PolicyServiceStub(house.public)
        self.rollouts: RolloutServiceAsyncStub = rollouts_pb2_grpc.RolloutServiceStub(house.public)

    async def apply(self, *policies: policies_pb2.SettingsPolicy) -> None:
        """Make the server hold settings policies."""
        await self.policies.ApplyPolicies(
            policies_pb2.ApplyPoliciesRequest(settings_policies=policies), metadata=self.house.owner
        )

    async def delete(self, name: str) -> None:
        """Delete a settings policy."""
        request = policies_pb2.DeleteSettingsPolicyRequest(name=name)
        await self.policies.DeleteSettingsPolicy(request, metadata=self.house.owner)

    async def rollout(self, who: Metadata, **subject: Any) -> rollouts_pb2.Rollout:
        """Return how far a policy has come, as somebody sees it."""
        asked = rollouts_pb2.RolloutSubject(**{"policy": "workstations", **subject})
        answer = await self.rollouts.GetRollout(rollouts_pb2.GetRolloutRequest(subject=asked), metadata=tuple(who))
        return answer.rollout

    async def devices(self, **narrowed: Any) -> list[rollouts_pb2.RolloutDevice]:
        """Return the devices of a rollout."""
        subject = rollouts_pb2.RolloutSubject(policy=SETTINGS.policy, kind=narrowed.pop("kind", SETTINGS.kind))
        request = rollouts_pb2.ListRolloutDevicesRequest(subject=subject, **narrowed)
        return list((await self.rollouts.ListRolloutDevices(request, metadata=self.house.owner)).devices)

    async def states(self, who: Metadata, **narrowed: Any) -> list[policies_pb2.DevicePolicyState]:
        """Return the policy states of devices, as somebody sees them."""
        request = policies_pb2.ListDevicePolicyStatesRequest(**narrowed)
        return list((await self.policies.ListDevicePolicyStates(request, metadata=tuple(who))).states)

    def watch(
        self, who: Metadata, *, until_converged: bool = False
    ) -> "grpc.aio.UnaryStreamCall[rollouts_pb2.WatchRolloutRequest, rollouts_pb2.WatchRolloutResponse]":
        """Watch the rollout as somebody."""
        request = rollouts_pb2.WatchRolloutRequest(subject=SETTINGS, until_converged=until_converged)
        return self.rollouts.WatchRollout(request, metadata=tuple(who))

    @asynccontextmanager
    async def stream(self, device: EnrolledDevice) -> AsyncIterator["Stream"]:
        """Open a device's policy stream and say hello."""
        async with self.house.mesh(device.identity) as channel:
            call = agent_pb2_grpc.PolicyStreamServiceStub(channel).StreamPolicy()
            hello = agent_pb2.Hello(capabilities=[CAPABILITY])
            await call.write(agent_pb2.StreamPolicyRequest(hello=hello))
            yield Stream(call)


class Stream:
    """A device that answers as the test says."""

    def __init__(self, call: Any) -> None:
        self._call = call

    async def offer(self) -> agent_pb2.Offer:
        """Return the next offer."""
        while True:
            response = await self._call.read()
            assert isinstance(response, agent_pb2.StreamPolicyResponse)
            if response.WhichOneof("message") == "offer":
                return response.offer

    async def apply(self) -> None:
        """Take the next offer."""
        offer = await self.offer()
        revision = agent_pb2.Manifest.FromString(offer.signed_manifest.manifest).revision
        ack = agent_pb2.Ack(nonce=offer.nonce, revision=revision)
        await self._call.write(agent_pb2.StreamPolicyRequest(ack=ack))

    async def refuse(self, *reasons: str) -> None:
        """Refuse the next offer."""
        offer = await self.offer()
        nack = agent_pb2.Nack(nonce=offer.nonce, reasons=reasons)
        await self._call.write(agent_pb2.StreamPolicyRequest(nack=nack))


@pytest.fixture
async def office(tmp_path: Path) -> AsyncIterator[Office]:
    async with whole(tmp_path) as house:
        yield Office(house)


def workstations(
    name: str = "workstations",
    response: "settings_pb2.DefaultResponse.ValueType" = DENY,
    tags: tuple[str, ...] = (),
) -> policies_pb2.SettingsPolicy:
    return policies_pb2.SettingsPolicy(
        metadata=policies_pb2.Metadata(name=name, scope_tags=tags),
        settings=settings_pb2.ElevationSettings(enabled=True, default_response=response),
        assignments=policies_pb2.Assignments(include=[policies_pb2.IncludedGroup(group="all-devices")]),
    )


async def until(
    watch: "grpc.aio.UnaryStreamCall[rollouts_pb2.WatchRolloutRequest, rollouts_pb2.WatchRolloutResponse]",
    **counts: int,
) -> rollouts_pb2.Rollout:
    """Watch until the counts are these."""
    while True:
        answer = await watch.read()
        assert isinstance(answer, rollouts_pb2.WatchRolloutResponse)
        if all(getattr(answer.rollout, name) == count for name, count in counts.items()):
            return answer.rollout


async def test_a_watch_tells_the_truth_as_it_happens(office: Office) -> None:
    house = office.house
    willing, refusing = await house.enrol("willing"), await house.enrol("refusing")
    away = await house.enrol("away")
    await office.apply(workstations())
    await office.rollout(house.owner)  # streams that open before the policy is known are offered a document without it
    async with office.stream(willing) as first, office.stream(refusing) as second:
        watch = office.watch(house.owner)
        await until(watch, targeted=3, offered=2, pending=1, offline=1)
        await first.apply()
        await until(watch, applied=1, offered=1)
        await second.refuse("no room on the disk", "the clock is wrong")
        found = await until(watch, applied=1, rejected=1, pending=1)
        assert [(each.reason, each.devices) for each in found.rejections] == [
            ("no room on the disk", 1),
            ("the clock is wrong", 1),
        ]
        assert found.subject.kind == rollouts_pb2.POLICY_KIND_SETTINGS
        [refused] = await office.devices(state=REJECTED)
        assert (refused.device_name, list(refused.rejections)) == (
            "refusing",
            ["no room on the disk", "the clock is wrong"],
        )
        assert (refused.connected, refused.applied_revision) == (True, 0)
    await until(watch, offline=3)
    assert [each.device_name for each in await office.devices(state=PENDING, offline_only=True)] == ["away"]
    [here] = await office.devices(state=APPLIED)
    assert here.HasField("offline_since")
    ending = office.watch(house.owner, until_converged=True)
    async with office.stream(away) as third:
        await third.apply()
        await until(ending, applied=2, rejected=1)
        assert await ending.read() == grpc.aio.EOF
        assert await ending.code() == grpc.StatusCode.OK


async def test_a_change_that_was_just_made_is_never_counted_as_arrived(office: Office) -> None:
    device = await office.house.enrol()
    async with office.stream(device) as stream:
        await stream.apply()  # the document of a device without policies
        for number in range(1, 6):
            await office.apply(workstations(response=CONFIRM if number % 2 else DENY))
            found = await office.rollout(office.house.owner)
            assert (found.targeted, found.applied) == (1, 0)
            watch = office.watch(office.house.owner, until_converged=True)
            await stream.apply()
            await until(watch, applied=1)


async def test_everybody_counts_what_they_may_see(office: Office) -> None:
    house = office.house
    await house.hire("emea", {READ}, tags=["emea"])
    await house.hire("apac", {READ}, tags=["apac"])
    tagged = await house.enrolment_token(house.owner, scope_tags=["emea"])
    await house.enrol("paris", tagged)
    await house.enrol("elsewhere")
    await house.settled()
    await office.apply(workstations(tags=("emea",)))
    assert (await office.rollout(house.owner)).targeted == 2
    assert (await office.rollout(await house.token("emea"))).targeted == 1
    for who in ("apac",):
        refused = await refusal_of(office.rollout(await house.token(who)))
        assert (refused.code, refused.reason) == ("NOT_FOUND", "NOT_FOUND")
    [state] = await office.states(await house.token("emea"))
    assert state.device_name == "paris"


async def test_a_subject_that_means_nothing_is_refused(office: Office) -> None:
    owner = office.house.owner
    await office.apply(workstations())
    found = await office.rollout(owner)
    ahead = await refusal_of(office.rollout(owner, revision=found.subject.revision + 1))
    assert (ahead.code, ahead.fields) == ("INVALID_ARGUMENT", {"subject.revision"})
    unknown = await refusal_of(office.rollout(owner, kind=9))
    assert (unknown.code, unknown.fields) == ("INVALID_ARGUMENT", {"subject.kind"})
    missing = await refusal_of(office.rollout(owner, kind=rollouts_pb2.POLICY_KIND_RULES))
    assert missing.code == "NOT_FOUND"
    state = await refusal_of(office.devices(state=9))
    assert (state.code, state.fields) == ("INVALID_ARGUMENT", {"state"})
    all_at_once = await refusal_of(office.devices(state=9, page_size=-1, page_token="forged", kind=9))
    assert all_at_once.fields == {"subject.kind", "state", "page_size", "page_token"}
    token = await refusal_of(office.devices(page_token="forged"))
    assert (token.code, token.reason) == ("INVALID_ARGUMENT", "PAGE_TOKEN_INVALID")


async def test_a_watch_ends_with_the_policy(office: Office) -> None:
    await office.apply(workstations())
    watch = office.watch(office.house.owner)
    await until(watch, targeted=0)
    await office.delete("workstations")
    with pytest.raises(grpc.aio.AioRpcError):
        await until(watch, targeted=99)
    assert await watch.code() == grpc.StatusCode.NOT_FOUND


async def test_conflicts_are_seen_and_clear_by_themselves(office: Office) -> None:
    house = office.house
    owner = house.owner
    await house.hire("local", {READ}, tags=["default"])
    await house.hire("elsewhere", {READ}, tags=["emea"])  # which makes the tag
    await house.settled()
    device = await house.enrol("ws-1")
    await house.enrol("ws-2")
    hidden = workstations("hidden", CONFIRM, tags=("emea",))
    hidden.assignments.include[0].filter = 'name = "ws-1"'
    await office.apply(workstations(), hidden)
    await office.rollout(owner)  # what was authored is known from here on
    [state] = await office.states(owner, conflicting_only=True)
    assert (state.device_name, state.device_id) == ("ws-1", device.device_id)
    [conflict] = state.conflicts
    assert (conflict.user, conflict.setting, conflict.effective) == ("", "defaultResponse", "DENY")
    assert [(said.policy, said.value) for said in conflict.values] == [
        ("hidden", "USER_CONFIRMED"),
        ("workstations", "DENY"),
    ]
    [shown] = await office.states(await house.token("local"), device="ws-1")
    assert [said.policy for said in shown.conflicts[0].values] == ["", "workstations"]
    [other] = await office.states(owner, device="ws-2")
    assert not other.conflicts
    await office.apply(workstations(response=CONFIRM))
    await office.rollout(owner)
    assert await office.states(owner, conflicting_only=True) == []


async def test_a_watch_is_sent_away_by_a_process_that_ends(office: Office) -> None:
    await office.apply(workstations())
    watch = office.watch(office.house.owner)
    await until(watch, targeted=0)
    [policy] = [part for part in office.house.host._parts if part.name == "policy"]
    for hook in policy.on_drain:
        await hook()
    with pytest.raises(grpc.aio.AioRpcError):
        await until(watch, targeted=99)
    assert await watch.code() == grpc.StatusCode.UNAVAILABLE
