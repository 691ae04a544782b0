"""The administrator of the benchmark: authors policies for the fleet, and changes them over the public door."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Self

import grpc
import grpc.aio

from benchmarks.distributing.neighbours import REGIONS
from epm.elevation.v1 import rules_pb2, settings_pb2
from epm.policy.v1 import policies_pb2, policies_pb2_grpc

POLICIES = 4
RULES = 6


class Administrator:
    """Speak for an Owner."""

    def __init__(self, stub: "policies_pb2_grpc.PolicyServiceAsyncStub", token: str) -> None:
        self._stub = stub
        self._metadata = (("authorization", f"Bearer {token}"),)
        self._changes = 0

    @classmethod
    @asynccontextmanager
    async def at(cls, address: str, roots: bytes, token: str) -> AsyncIterator[Self]:
        """Reach the public door."""
        async with grpc.aio.secure_channel(address, grpc.ssl_channel_credentials(roots)) as channel:
            yield cls(policies_pb2_grpc.PolicyServiceStub(channel), token)

    async def begin(self, directory_revision: int) -> None:
        """Create settings and tools for all devices, tools for each region, and some for the lab."""
        named = [*((f"tools-{number}", "all-devices") for number in range(POLICIES)), ("lab", "lab")]
        named += [(f"tools-{region}", region) for region in REGIONS]
        settings = policies_pb2.SettingsPolicy(
            metadata=policies_pb2.Metadata(name="workstations"),
            settings=settings_pb2.ElevationSettings(
                enabled=True,
                default_response=settings_pb2.DEFAULT_RESPONSE_DENY,
                send_reporting_data=True,
                reporting_scope=settings_pb2.REPORTING_SCOPE_ALL,
            ),
            assignments=_assigned("all-devices"),
        )
        request = policies_pb2.ApplyPoliciesRequest(
            settings_policies=[settings],
            rules_policies=[_rules_policy(name, group, 0) for name, group in named],
            directory_revision=directory_revision,
        )
        await self._stub.ApplyPolicies(request, metadata=self._metadata)

    async def change(self, name: str) -> None:
        """Change the rules of a policy."""
        self._changes += 1
        group = "all-devices" if name.startswith("tools") else name
        request = policies_pb2.ApplyPoliciesRequest(rules_policies=[_rules_policy(name, group, self._changes)])
        await self._stub.ApplyPolicies(request, metadata=self._metadata)


def _rules_policy(name: str, group: str, version: int) -> policies_pb2.RulesPolicy:
    return policies_pb2.RulesPolicy(
        metadata=policies_pb2.Metadata(name=name),
        platform=rules_pb2.PLATFORM_WINDOWS,
        rules=list(_rules(version)),
        assignments=_assigned(group),
    )


def _rules(version: int) -> Iterator[rules_pb2.Rule]:
    for number in range(RULES):
        yield rules_pb2.Rule(
            name=f"setup-{number}",
            description=f"version {version} of what installs tool {number}",
            elevation_type=rules_pb2.ELEVATION_TYPE_AUTOMATIC,
            child_processes=rules_pb2.CHILD_PROCESSES_REQUIRE_RULE,
            detection=rules_pb2.Detection(file_name=f"setup-{number}.exe", file_hash=f"{number:064x}"),
        )


def _assigned(group: str) -> policies_pb2.Assignments:
    return policies_pb2.Assignments(include=[policies_pb2.IncludedGroup(group=group)])
