"""Every RPC by every role, called over TLS at the four services in one process, as the golden matrix says."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from datetime import UTC, datetime
from itertools import product
from pathlib import Path

import grpc.aio
import pytest

from epm.access.v1 import options_pb2
from epm.rbac.v1 import rbac_pb2
from services._chassis import pki
from services._chassis.config import SERVICES
from services._chassis.rights import RIGHT_NAMES
from tests.builders.refusals import read_refusal
from tests.builders.rpcs import Probe, empty, for_callers, label_of, methods, path_of, probes, rule_of
from tests.builders.whole import Metadata, Whole, answer, whole

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "access-matrix.txt"
ROLES = {
    "Endpoint Privilege Manager": "EPM",
    "Endpoint Security Manager": "ESM",
    "Endpoint Privilege Reader": "EPR",
    "Read Only Operator": "ROO",
    "Elevation Approver": "APP",
    "Device Administrator": "DEV",
    "Role Administrator": "ROL",
    "Auditor": "AUD",
    "Owner": "OWN",
}
COLUMNS = (*ROLES.values(), "none", "only", "but")
REFUSED = frozenset({"RIGHT_MISSING", "OWNER_REQUIRED", "CALLER_NOT_ALLOWED"})
LET_IN = frozenset(
    {"OK", "INVALID_ARGUMENT", "NOT_FOUND", "FAILED_PRECONDITION", "ALREADY_EXISTS", "ABORTED", "CANCELLED"}
)
"""What an empty request may come to once its caller is admitted."""


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[Whole]:
    async with whole(tmp_path) as made:
        yield made


async def verdict(channel: grpc.aio.Channel, path: str, request: bytes, metadata: Metadata) -> str:
    """Return `x` for who is let in, `.` for who is refused for a missing right, else how the call failed."""
    try:
        await answer(channel, path, request, metadata)
    except grpc.aio.AioRpcError as error:
        refusal = read_refusal(error)
        if refusal.code == "PERMISSION_DENIED" and refusal.reason in REFUSED:
            return "."
        return "x" if refusal.code in LET_IN else f"{refusal.code}:{refusal.reason}"
    return "x"


def reach(role: str) -> tuple[str, ...]:
    """Return the scope groups of a holder; an Owner reaches everything by its role."""
    return () if role == "Owner" else ("all-devices",)


def without(probe: Probe) -> set[frozenset[str]]:
    """Return the sets of all rights but those that bar every way: one right of each."""
    return {RIGHT_NAMES - set(missing) for missing in product(*probe.ways)}


async def principals(house: Whole, all_probes: Iterable[Probe]) -> dict[frozenset[str], Metadata]:
    """Make somebody for every set of rights that a column needs."""
    wanted = {rights for probe in all_probes for rights in (*probe.ways, *without(probe))}
    made: dict[frozenset[str], Metadata] = {}
    roles, assignments = [], []
    for number, rights in enumerate(sorted(wanted, key=sorted)):
        name = f"custom{number}"
        made[rights] = await house.token(name)
        if rights:
            given = {"name": name, "members": [f"user:{name}"], "scope_groups": ["all-devices"]}
            roles.append(rbac_pb2.Role(name=name, rights=rights))
            assignments.append(rbac_pb2.RoleAssignment(role=name, **given))  # type: ignore[arg-type]
    request = rbac_pb2.ApplyAccessRequest(roles=roles, role_assignments=assignments)
    await house.rbac.ApplyAccess(request, metadata=house.owner)
    return made


async def column(house: Whole, probe: Probe, who: Iterable[Metadata]) -> str:
    """Call as each of them: `x` if any is let in, `.` if all are refused."""
    sent = probe.request.SerializeToString()
    verdicts = {await verdict(house.public, probe.path, sent, metadata) for metadata in who}
    return "x" if "x" in verdicts else " ".join(sorted(verdicts)) or "-"


async def test_everybody_gets_as_far_as_the_golden_matrix_says(house: Whole) -> None:
    all_probes = list(probes())
    holders = {role: await house.hire(f"holder-of-{code}", role, groups=reach(role)) for role, code in ROLES.items()}
    nobody = await house.token("nobody")
    made = await principals(house, all_probes)
    await house.settled()
    rights = await rights_of_roles(house)
    lines: list[str] = []
    for probe in all_probes:
        cells = [await column(house, probe, [holders[role]]) for role in ROLES]
        others: list[list[Metadata]] = [
            [nobody],
            [made[way] for way in probe.ways],
            [made[rest] for rest in without(probe)],
        ]
        cells += [await column(house, probe, who) for who in others]
        assert cells == expected(probe, rights), probe.label
        lines.append(f"{probe.label:<60}{line(cells)}{probe.needs}".rstrip())
    assert part("administrators", COLUMNS, lines) == golden("administrators")


def expected(probe: Probe, rights: Mapping[str, frozenset[str]]) -> list[str]:
    """Return the row of a probe as the rights of the roles have it."""
    roles = ["x" if role == "Owner" or probe.enough(rights[role]) else "." for role in ROLES]
    anybody = probe.enough(frozenset())
    only = "." if probe.owner_alone else "x"
    return [*roles, "x" if anybody else ".", only, "-" if anybody else "."]


async def rights_of_roles(house: Whole) -> dict[str, frozenset[str]]:
    listed = await house.rbac.ListRoles(rbac_pb2.ListRolesRequest(page_size=1000), metadata=house.owner)
    built_in = {role.name: frozenset(role.rights) for role in listed.roles if role.built_in}
    assert built_in.keys() == ROLES.keys()
    return built_in


async def test_devices_and_services_get_as_far_as_the_golden_matrix_says(house: Whole) -> None:
    identities = {
        "a device": (await house.enrol()).identity,
        **{name: service(house, name) for name in (*SERVICES, "stranger")},
    }
    lines: list[str] = []
    for method in for_callers(options_pb2.CALLER_DEVICE, options_pb2.CALLER_SERVICE):
        rule, cells = rule_of(method), []
        for identity in identities.values():
            async with house.mesh(identity) as channel:
                cells.append(await verdict(channel, path_of(method), empty(method).SerializeToString(), ()))
        devices = "x" if options_pb2.CALLER_DEVICE in rule.callers else "."
        assert cells == [devices, *("x" if name in rule.services else "." for name in (*SERVICES, "stranger"))]
        lines.append(f"{label_of(method):<60}{line(cells, 11)}".rstrip())
    assert part("devices and services", identities, lines, 11) == golden("devices and services")


def test_everybody_may_call_what_the_golden_matrix_lists_and_nothing_else() -> None:
    lines = [label_of(method) for method in for_callers(options_pb2.CALLER_ANONYMOUS)]
    assert "\n".join(["== everybody, without a token", *lines]) == golden("everybody, without a token")


async def test_without_a_good_token_nobody_is_an_administrator(house: Whole) -> None:
    bad: list[Metadata] = [(), (("authorization", "Bearer epm_nobodys"),), (("authorization", "Basic b3duZXI6"),)]
    strict = for_callers(options_pb2.CALLER_ADMINISTRATOR)
    calls = [
        verdict(house.public, path_of(method), b"", metadata)
        for method, metadata in zip(strict, bad * 99, strict=False)
    ]
    codes = {found.partition(":")[0] for found in await asyncio.gather(*calls)}
    assert codes <= {"UNAUTHENTICATED", "RESOURCE_EXHAUSTED"}
    assert "UNAUTHENTICATED" in codes


async def test_no_method_answers_at_the_other_door(house: Whole) -> None:
    behind = {options_pb2.CALLER_DEVICE, options_pb2.CALLER_SERVICE}
    mesh = {method for method in methods() if behind & set(rule_of(method).callers)}
    for method in mesh:
        assert (await verdict(house.public, path_of(method), b"", house.owner)).startswith("UNIMPLEMENTED")
    async with house.mesh(service(house, "policy")) as channel:
        for method in set(methods()) - mesh:
            assert (await verdict(channel, path_of(method), b"", house.owner)).startswith("UNIMPLEMENTED")


def service(house: Whole, name: str) -> pki.Issued:
    return pki.issue_service(authority(house), name, (), trust_domain="openepm", now=datetime.now(UTC))


def authority(house: Whole) -> pki.Authority:
    return pki.load_authority(house.host.settings.ca, house.host.settings.ca_key)


def line(cells: Iterable[str], wide: int = 6) -> str:
    return "".join(f"{cell} ".ljust(wide) for cell in cells)


def part(title: str, columns: Iterable[str], lines: Iterable[str], wide: int = 6) -> str:
    """Write one part of the golden file."""
    return "\n".join([f"== {title}", f"{'':<60}{line(columns, wide)}".rstrip(), *lines])


def golden(title: str) -> str:
    """Read one part of the golden file."""
    parts = GOLDEN.read_text(encoding="utf-8").split("\n\n")
    return next((text.strip("\n") for text in parts if text.startswith(f"== {title}\n")), "")
