"""The policy service in a process of its own, as an operator starts it, with an estate in its database on disk."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from time import perf_counter

import grpc
import grpc.aio

from benchmarks.authored.estate import Estate
from benchmarks.distributing.neighbours import Directory, neighbours, run_policy
from benchmarks.distribution import Process
from elevation.model import GroupType, RulesPolicy
from epm.device.v1 import devices_pb2, groups_pb2, lifecycle_pb2
from epm.policy.v1 import analysis_pb2, analysis_pb2_grpc, policies_pb2, policies_pb2_grpc
from services._chassis import datadir
from services._chassis.config import SERVICES, ServiceSettings
from services._chassis.server import Host
from services.policy.codec.authored import certificate_to_proto, rules_policy_to_proto, settings_policy_to_proto
from services.policy.model.directory import DirectoryDevice
from services.policy.model.objects import Corpus, Stored
from tests.fakes.access import FakeAccess

AT_ONCE = 10
"""Policies that are authored in one call."""

POLICY = "policy-002"
"""One for a site, which is changed."""

MILLI = 1000
Call = Callable[[], Awaitable[object]]


class Caller:
    """Call the service as an Owner."""

    def __init__(self, channel: grpc.aio.Channel, token: str) -> None:
        self._policies = policies_pb2_grpc.PolicyServiceStub(channel)
        self._analysis = analysis_pb2_grpc.AnalysisServiceStub(channel)
        self._metadata = (("authorization", f"Bearer {token}"),)
        self._changes = 0

    async def author(self, corpus: Corpus, directory_revision: int) -> None:
        """Create everything."""
        shared = policies_pb2.ApplyPoliciesRequest(
            reusable_certificates=[certificate_to_proto(found.content) for found in corpus.certificates],
            settings_policies=[settings_policy_to_proto(found.content) for found in corpus.settings_policies],
            directory_revision=directory_revision,
        )
        await self._policies.ApplyPolicies(shared, metadata=self._metadata)
        policies = [rules_policy_to_proto(found.content) for found in corpus.rules_policies]
        for start in range(0, len(policies), AT_ONCE):
            request = policies_pb2.ApplyPoliciesRequest(rules_policies=policies[start : start + AT_ONCE])
            await self._policies.ApplyPolicies(request, metadata=self._metadata)

    async def stored(self) -> policies_pb2.RulesPolicy:
        """Return the policy as it is."""
        request = policies_pb2.GetRulesPolicyRequest(name=POLICY)
        return (await self._policies.GetRulesPolicy(request, metadata=self._metadata)).rules_policy

    def saving(self, policy: policies_pb2.RulesPolicy) -> Call:
        """Return the call that changes one rule and hears what lint finds; each follows the one before."""

        async def save() -> None:
            self._changes += 1
            policy.rules[0].description = f"change {self._changes}"
            request = policies_pb2.UpdateRulesPolicyRequest(rules_policy=policy)
            answer = await self._policies.UpdateRulesPolicy(request, metadata=self._metadata)
            policy.metadata.etag = answer.rules_policy.metadata.etag

        return save

    def previewing(self, policy: policies_pb2.RulesPolicy) -> Call:
        """Return the call that asks whom another assignment would reach."""
        draft = policies_pb2.RulesPolicy()
        draft.CopyFrom(policy)
        draft.assignments.include.add(group="site-9", filter='tag = "build-2"')
        request = analysis_pb2.PreviewAssignmentsRequest(draft=analysis_pb2.Draft(rules_policies=[draft]))
        return lambda: self._analysis.PreviewAssignments(request, metadata=self._metadata)

    def explaining(self, device: str) -> Call:
        """Return the call that asks what applies to a device, and why."""
        request = analysis_pb2.GetEffectivePolicyRequest(device=device)
        return lambda: self._analysis.GetEffectivePolicy(request, metadata=self._metadata)


async def measure(estate: Estate, folder: Path, rounds: int) -> dict[str, float]:
    """Return how long calls take, and a save where nothing else is authored."""
    alone = replace(estate.corpus, rules_policies=tuple(_only(estate.corpus)))
    async with serving(estate, folder / "whole") as (whole, revision), serving(estate, folder / "alone") as (bare, _):
        await whole.author(estate.corpus, revision)
        await bare.author(alone, revision)
        device = next(iter(estate.directory.devices.values())).name
        stored = await whole.stored()
        calls = {
            "save_ms": whole.saving(stored),
            "save_alone_ms": bare.saving(await bare.stored()),
            "preview_ms": whole.previewing(stored),
            "effective_policy_ms": whole.explaining(device),
        }
        took = {name: [await timed(call) for _ in range(rounds + 1)][1:] for name, call in calls.items()}
    figures = {name: median(each) for name, each in took.items()}
    return {**figures, "save_to_save_alone": figures["save_ms"] / figures["save_alone_ms"]}


async def timed(call: Call) -> float:
    """Return how many milliseconds a call takes."""
    started = perf_counter()
    await call()
    return (perf_counter() - started) * MILLI


@asynccontextmanager
async def serving(estate: Estate, folder: Path) -> AsyncIterator[tuple[Caller, int]]:
    """Start the service beside played neighbours; give who calls it, and the revision of the directory."""
    settings = ServiceSettings(data_dir=folder, public_port=0, mesh_port=0, drain_grace=timedelta(0))
    datadir.prepare(settings, SERVICES, now=datetime.now(UTC))
    access, directory = FakeAccess(), Directory([_device(found) for found in estate.directory.devices.values()])
    token = access.owner()
    beside = Host(settings.alone("device"))
    address = beside.bind().mesh_address
    beside.add(neighbours(access, directory))
    await beside.start()
    directory.put(groups=list(_groups(estate)))
    own = replace(settings.alone("policy"), rbac_address=address, device_address=address)
    server = Process(run_policy, own, folder / "policy.log")
    _, public = await server.hear()
    credentials = grpc.ssl_channel_credentials(settings.ca.read_bytes())
    async with grpc.aio.secure_channel(public, credentials) as channel:
        yield Caller(channel, token), directory.revision
    server.process.terminate()
    await asyncio.to_thread(server.process.join)
    await beside.stop()


def _only(corpus: Corpus) -> Iterator[Stored[RulesPolicy]]:
    return (found for found in corpus.rules_policies if found.name == POLICY)


def _device(device: DirectoryDevice) -> lifecycle_pb2.DirectoryDevice:
    attributes = device.attributes
    personal = attributes["ownership"] == "personal"
    return lifecycle_pb2.DirectoryDevice(
        device_id=device.device_id,
        name=device.name,
        enrolment_state=devices_pb2.ENROLMENT_STATE_ENROLLED,
        os=str(attributes["os"]),
        os_version=str(attributes["osVersion"]),
        architecture=str(attributes["architecture"]),
        ownership=devices_pb2.OWNERSHIP_PERSONAL if personal else devices_pb2.OWNERSHIP_CORPORATE,
        tags=list(attributes["tag"]),
        users=sorted(device.users),
        scope_tags=sorted(device.scope_tags),
    )


def _groups(estate: Estate) -> Iterator[lifecycle_pb2.DirectoryGroup]:
    types = {GroupType.DEVICE: groups_pb2.GROUP_TYPE_DEVICE, GroupType.USER: groups_pb2.GROUP_TYPE_USER}
    for group in estate.directory.groups.values():
        yield lifecycle_pb2.DirectoryGroup(
            name=group.name, type=types[group.type], members=group.members, filter=group.filter, groups=group.groups
        )
