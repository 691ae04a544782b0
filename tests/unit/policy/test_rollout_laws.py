"""Counts add up, and equal what one finds by looking at every device's documents."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from elevation.document import PolicyDocument
from elevation.model import ALL_USERS, GroupType, RulesPolicy, SettingsPolicy
from services.policy.model.bundle import Contents, PolicyKind
from services.policy.model.effective import EffectivePolicies
from services.policy.model.objects import Stored
from services.policy.model.rollout import (
    RolloutState,
    Subject,
    SubjectWanted,
)
from tests.builders.rollouts import World
from tests.fakes.policy_delivery import (
    FakeDirectories,
    assigned,
    device,
    group,
    rules,
    stored,
)
from tests.fakes.policy_delivery import settings as settings_of

NAMES = ("a", "b", "c")
GROUPS = ("all-devices", "all-users", "lab", "people")
DEVICES = ("d1", "d2", "d3", "d4")
Found = Mapping[tuple[PolicyKind, str], int]


def policies_in(made: World, device_id: str) -> Found:
    """Return the policies in a device's document with their revisions, as one finds them by looking at each alone."""
    corpus, directory = made.book.corpus, made.directories.directory()
    assert corpus is not None
    known = directory.devices[device_id]
    document = EffectivePolicies(corpus, directory.groups).document(known)
    found = {(PolicyKind.RULES, name): revision for name, revision in document.revisions.items()}
    for policy in corpus.settings_policies:
        alone = EffectivePolicies(replace(corpus, settings_policies=(policy,), rules_policies=()), directory.groups)
        # Settings for all users take part for anybody once something else provisions the device.
        provisioned = has_settings(document)
        if has_settings(alone.document(known)) or (provisioned and policy_is_for_all_users(policy.content)):
            found[PolicyKind.SETTINGS, policy.name] = policy.about.revision
    return found


def has_settings(document: PolicyDocument) -> bool:
    return any(user.settings is not None for user in (document.any_user, *document.users))


def policy_is_for_all_users(policy: SettingsPolicy) -> bool:
    included = {include.group for include in policy.assignments.include}
    return ALL_USERS in included and not policy.assignments.exclude


policies = st.dictionaries(
    st.tuples(st.sampled_from(PolicyKind), st.sampled_from(NAMES)),
    st.lists(st.sampled_from(GROUPS), min_size=1, max_size=2, unique=True),
    max_size=4,
)
actions = st.lists(
    st.tuples(st.sampled_from(DEVICES), st.sampled_from(["hello", "again", "offer", "apply", "refuse"])), max_size=8
)


def authored(
    kind: PolicyKind, name: str, groups: list[str], revision: int
) -> Stored[SettingsPolicy] | Stored[RulesPolicy]:
    if kind is PolicyKind.SETTINGS:
        return stored(replace(settings_of(name), assignments=assigned(*groups)), revision)
    return stored(rules(name, *groups), revision)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(policies, actions), min_size=1, max_size=4))
async def test_counts_equal_what_one_finds_by_looking_at_every_device(
    rounds: list[tuple[dict[tuple[PolicyKind, str], list[str]], list[tuple[str, str]]]],
) -> None:
    groups = [group("lab", "D1", "D2"), group("people", "alice", kind=GroupType.USER)]
    made = World(
        FakeDirectories(device("d1", "alice"), device("d2"), device("d3", "alice", "bob"), device("d4"), groups=groups)
    )
    holds: dict[str, Found] = {}
    newest: dict[str, tuple[Found, str]] = {}
    revisions: dict[tuple[PolicyKind, str], tuple[list[str], int]] = {}
    for number, (wanted, steps) in enumerate(rounds, start=1):
        for key, groups_of in wanted.items():
            if key not in revisions or revisions[key][0] != groups_of:
                revisions[key] = groups_of, number
        revisions = {key: revisions[key] for key in wanted}
        made.author(*(authored(*key, groups_of, revision) for key, (groups_of, revision) in revisions.items()))
        for device_id, action in steps:
            await act(made, device_id, action, holds=holds, newest=newest)
    for kind, name in revisions:
        await check(made, Subject(name, kind, revisions[kind, name][1]), holds, newest)


async def act(
    made: World, device_id: str, action: str, *, holds: dict[str, Found], newest: dict[str, tuple[Found, str]]
) -> None:
    """Let a device do something, and note what one knows of it without the server's bundles."""
    before = made.delivery(device_id)
    if action == "hello":
        await made.hello(device_id)
        holds[device_id] = {}
        if device_id in newest:
            newest[device_id] = (
                newest[device_id][0],
                {"applied": "offered"}.get(newest[device_id][1], newest[device_id][1]),
            )
        return
    if action == "again":
        held = before.applied_revision == before.revision
        await made.hello(device_id, before.revision if held else 0, before.sha256 if held else b"")
        if not held:
            holds[device_id] = {}
        return
    same = before.revision and before.sha256 == made.mark(device_id).sha256
    stands = newest[device_id][1] if same else "offered"
    newest[device_id] = policies_in(made, device_id), stands
    if same and stands == "applied":
        holds[device_id] = newest[device_id][0]
    if action == "offer":
        await made.offer(device_id)
    elif action == "apply" and stands != "rejected":
        await made.apply(device_id)
        holds[device_id] = newest[device_id][0]
        newest[device_id] = newest[device_id][0], "applied"
    elif action == "refuse" and stands == "offered":
        await made.refuse(device_id, "no")
        newest[device_id] = newest[device_id][0], "rejected"
    else:
        await made.offer(device_id)


async def check(
    made: World, subject: Subject, holds: Mapping[str, Found], newest: Mapping[str, tuple[Found, str]]
) -> None:
    """Compare the counts of one policy with a count by hand."""
    key = subject.kind, subject.policy
    expected = dict.fromkeys(RolloutState, 0)
    for device_id in DEVICES:
        held = holds.get(device_id, {}).get(key, 0)
        if key not in policies_in(made, device_id):
            expected[RolloutState.LEAVING] += bool(held)
            continue
        document, stands = newest.get(device_id, ({}, ""))
        contained = document.get(key, 0) >= subject.revision
        state = RolloutState.PENDING
        if held >= subject.revision:
            state = RolloutState.APPLIED
        elif contained and stands in ("offered", "rejected"):
            state = RolloutState(stands)
        expected[state] += 1
    found = await made.rollout(SubjectWanted(subject.policy, subject.kind))
    counted = {
        RolloutState.PENDING: found.pending,
        RolloutState.OFFERED: found.offered,
        RolloutState.APPLIED: found.applied,
        RolloutState.REJECTED: found.rejected,
        RolloutState.LEAVING: found.leaving,
    }
    assert counted == expected, subject
    assert found.targeted == sum(expected.values()) - expected[RolloutState.LEAVING]
    listed = await made.devices(SubjectWanted(subject.policy, subject.kind))
    assert {state: sum(each.state is state for each in listed) for state in RolloutState} == expected


@given(
    st.dictionaries(st.text(max_size=8), st.integers(1, 2**62), max_size=4),
    st.dictionaries(st.text(max_size=8), st.integers(1, 2**62), max_size=4),
    st.none() | st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=4000)),
)
def test_contents_come_back_from_their_text(
    of_settings: dict[str, int], of_rules: dict[str, int], stale_after: timedelta | None
) -> None:
    contents = Contents(settings=of_settings, rules=of_rules, stale_after=stale_after)
    assert Contents.from_text(contents.to_text()) == contents
