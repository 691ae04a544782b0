"""Why a policy reaches somebody: the reasons agree with what decides, for all assignments and memberships."""

from hypothesis import given
from hypothesis import strategies as st

from elevation.assignment import Memberships, targets
from elevation.model import Assignments, Exclude, FilterMode, Group, GroupType, Include
from elevation.reach import Part, Reason, Seen, reasons

DEVICES = ["all-devices", "laptops", "kiosks", "unknown"]
USERS = ["all-users", "developers"]
GROUPS = {
    "laptops": Group("laptops", GroupType.DEVICE, ("ws-17",)),
    "kiosks": Group("kiosks", GroupType.DEVICE, groups=("laptops",)),
    "developers": Group("developers", GroupType.USER, ("alice",)),
}
TYPES = {name: group.type for name, group in GROUPS.items()}
FILTERS = ["", 'os = "linux"', 'NOT os = "linux"']

includes = st.builds(
    Include, st.sampled_from([*DEVICES, *USERS]), st.sampled_from(FILTERS), st.sampled_from(FilterMode)
)
assigned = st.builds(
    Assignments,
    st.lists(includes, max_size=4).map(tuple),
    st.lists(st.builds(Exclude, st.sampled_from([*DEVICES, *USERS])), max_size=2).map(tuple),
)
memberships = st.builds(
    Memberships,
    st.sets(st.sampled_from(["laptops", "kiosks"])).map(lambda found: frozenset(found) | {"all-devices"}),
    st.sampled_from([frozenset(), frozenset({"all-users"}), frozenset({"all-users", "developers"})]),
    st.sampled_from([{"os": "linux"}, {"os": "windows"}, {}]),
)


@given(assigned, memberships)
def test_reasons_agree_with_what_decides(assignments: Assignments, found: Memberships) -> None:
    told = reasons(assignments, TYPES, GROUPS, Seen("ws-17", "alice", found))
    reached = targets(assignments, TYPES, found)
    assert {reason.type for reason in told if reason.part is Part.INCLUDED} == reached
    assert bool(reached) == any(reason.part is Part.INCLUDED for reason in told)
    parts = {reason.part for reason in told}
    assert len(parts & {Part.INCLUDED, Part.EXCLUDED}) == 1 or parts <= {Part.NOT_A_MEMBER, Part.FILTERED_OUT}
    assert bool(told) == bool(assignments.include) or Part.EXCLUDED in parts


def test_the_nested_group_is_named_only_for_those_who_are_members_by_it_alone() -> None:
    both = Memberships(frozenset({"laptops", "kiosks", "all-devices"}), frozenset(), {})
    assignments = Assignments((Include("laptops"), Include("kiosks")))
    direct, nested = reasons(assignments, TYPES, GROUPS, Seen("ws-17", "", both))
    assert (direct.through, nested.through) == ("", "laptops")
    listed = {**GROUPS, "kiosks": Group("kiosks", GroupType.DEVICE, ("ws-17",), groups=("laptops",))}
    assert reasons(assignments, TYPES, listed, Seen("ws-17", "", both))[1].through == ""


def test_a_group_that_nobody_knows_excludes_everybody() -> None:
    nobody = Memberships(frozenset({"all-devices"}), frozenset(), {})
    assignments = Assignments((Include("all-devices"),), (Exclude("unknown"),))
    told = reasons(assignments, TYPES, GROUPS, Seen("ws-17", "", nobody))
    assert told == (Reason(Part.EXCLUDED, "unknown", None),)
