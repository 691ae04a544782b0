"""What a device would decide: the same as offline, and the same as by the document that it is sent."""

import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent_stub.policy.document import DevicePolicy, read_document
from elevation.codec.decisions import decode_decision, encode_decision
from elevation.codec.document import decode_document
from elevation.effective import EffectivePolicies
from elevation.explain import explain
from elevation.model import (
    ALL_USERS,
    Assignments,
    Attempt,
    DefaultResponse,
    Device,
    Group,
    GroupType,
    Include,
    RulesPolicy,
    SettingsPolicy,
    User,
)
from epm.elevation.v1 import document_pb2
from epmctl.documents.load import load
from epmctl.simulation.attempts import read_attempt
from epmctl.simulation.decisions import Simulator, decision_json, json_line
from services._chassis.permits import Permit
from services.policy.codec.documents import MouldMaker
from services.policy.model.directory import DirectoryDevice
from services.policy.usecases.analysis.drafted import Drafting
from services.policy.usecases.analysis.simulation import Simulated, Simulation, SimulationWanted
from services.policy.usecases.means import Means
from tests.builders.elevation import GoldenCase, golden_cases
from tests.builders.rollouts import ALL, World
from tests.fakes.clock import NOW
from tests.fakes.policy import FakeLinting
from tests.fakes.policy_delivery import FakeDirectories, stored
from tests.unit.elevation.test_laws import attempts, policies

GOLDEN = [pytest.param(case, id=f"{case.scenario}: {case.name}") for case in golden_cases()]


@pytest.mark.parametrize("case", GOLDEN)
async def test_a_golden_attempt_is_decided_as_offline_byte_for_byte(case: GoldenCase, tmp_path: Path) -> None:
    path = tmp_path / "documents.yaml"
    path.write_text(case.documents_text, encoding="utf-8")
    documents = load([str(path)], closed=True)
    flaws: list[str] = []
    attempt = read_attempt(case.attempt, lambda at, message: flaws.append(f"{at}: {message}"))
    assert attempt is not None, flaws
    offline = Simulator(documents, explained=True, indented=True)
    offline.take(attempt)
    here = world_for(attempt, *documents.groups())
    here.author(
        *(stored(policy) for policy in documents.settings_policies()),
        *(stored(policy) for policy in documents.rules_policies()),
        certificates=documents.reusable_certificates(),
    )

    found = await simulate(here, attempt)

    assert printed(found) == offline.lines[0]
    agents, reasons = read_document(sent(here), "dev-1")
    assert agents is not None, reasons
    assert found.decision == explain(agents.for_user(attempt.user.name), attempt)


@settings(max_examples=300, deadline=None)
@given(
    targeted=policies(),
    attempt=attempts,
    response=st.sampled_from(DefaultResponse),
    known=st.booleans(),
)
async def test_the_server_the_agent_and_the_kernel_decide_alike(
    targeted: list[tuple[RulesPolicy, bool]],
    attempt: Attempt,
    response: DefaultResponse,
    known: bool,  # noqa: FBT001 - hypothesis names it
) -> None:
    everybody, developers = Assignments((Include("all-devices"),)), Assignments((Include("developers"),))
    anyone = Assignments((Include(ALL_USERS),))
    authored = [
        replace(policy, assignments=(anyone if number % 2 else developers) if user_targeted else everybody)
        for number, (policy, user_targeted) in enumerate(targeted)
    ]
    rests = SettingsPolicy("settings", default_response=response, assignments=everybody)
    here = world_for(attempt, users={"alice", "bob"} if known else {"bob"})
    here.directories.group(Group("developers", GroupType.USER, ("alice",)))
    here.author(stored(rests), *map(stored, authored))

    found = await simulate(here, attempt)

    # The agent: by the bytes of its document. The kernel: by the documents of the administrator.
    agents = DevicePolicy(decode_document(document_pb2.PolicyDocument.FromString(sent(here))))
    groups = frozenset({"developers"}) if known else frozenset()
    there = replace(attempt, user=User("alice", groups | {ALL_USERS}, attempt.user.administrator), device=Device("ws"))
    kernel = EffectivePolicies([rests, *authored], [Group("developers", GroupType.USER)])
    assert found.decision == explain(agents.for_user("alice"), attempt)
    assert found.decision == explain(kernel.for_attempt(there), there)
    assert printed(found) == json_line(decision_json(found.decision, explained=True), indented=True)


def sent(here: World) -> bytes:
    """Return the document as the device gets it."""
    device = here.directories.directory().devices["dev-1"]
    return MouldMaker().mould(here.book.effective().document(device)).fill(device, None)


def world_for(attempt: Attempt, *groups: Group, users: Iterable[str] | None = None) -> World:
    """Have the device of an attempt with its user, both in the groups that the attempt names."""
    device, user = attempt.device, attempt.user
    made = DirectoryDevice(
        device_id="dev-1",
        name=device.name,
        enrolled=True,
        attributes=device.attributes,
        users=frozenset({user.name} if users is None else users),
    )
    members = {GroupType.DEVICE: (device.name, device.groups), GroupType.USER: (user.name, user.groups)}
    filled = [
        replace(group, filter="", groups=(), members=(name,) if group.name in within else ())
        for group in groups
        for name, within in [members[group.type]]
    ]
    return World(FakeDirectories(made, groups=filled))


async def simulate(here: World, attempt: Attempt, *, permit: Permit = ALL, **changes: object) -> Simulated:
    """Ask what would happen with an attempt."""
    wanted = SimulationWanted(
        device="dev-1",
        user=attempt.user.name,
        administrator=attempt.user.administrator,
        trigger=attempt.trigger,
        platform=attempt.platform,
        file=attempt.file,
        arguments=attempt.arguments,
        parent=attempt.parent,
        now=attempt.now,
        policy_confirmed=attempt.policy_confirmed,
        grants=attempt.grants,
    )
    means = Means(directories=here.directories, linting=FakeLinting())
    drafting = Drafting(here.store, here.book, here.caught_up, means)
    simulation = Simulation(drafting, here.book, here.deliveries)
    return await simulation.simulate(replace(wanted, **changes), permit=permit, now=NOW)  # type: ignore[arg-type]


def printed(found: Simulated) -> bytes:
    """Print a decision that came over the wire."""
    message = encode_decision(found.decision)
    told = decode_decision(type(message).FromString(message.SerializeToString()))
    assert json.loads(json_line(decision_json(told, explained=False), indented=False))
    return json_line(decision_json(told, explained=True), indented=True)
