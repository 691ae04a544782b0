from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elevation.model import GroupType
from services.device.model.devices import Attested, Ownership
from services.device.model.groups import Group
from services.device.model.used_groups import UsedGroup, reached_otherwise
from tests.builders.devices import a_group

FINANCE = ('os = "linux" AND tag = "finance"',)


def reached(
    *used: UsedGroup,
    groups: Iterable[Group] = (),
    before: Attested | None = None,
    after: Attested,
    anybody: bool = False,
) -> list[str]:
    known = {group.name: [group] for group in groups}
    return list(reached_otherwise(used, known, before=before or Attested(), after=after, anybody=anybody))


@pytest.mark.parametrize(
    ("before", "after", "asked"),
    [
        ((), ("finance",), True),
        (("finance",), (), True),
        (("finance",), ("finance", "sales"), False),
        ((), ("sales",), False),
    ],
)
def test_a_tag_counts_where_a_filter_asks_for_it(
    before: tuple[str, ...], after: tuple[str, ...], *, asked: bool
) -> None:
    old, new = Attested(tags=before), Attested(tags=after)
    own_filter = a_group("laptops", filter=FINANCE[0])
    for used, groups in ((UsedGroup("laptops", FINANCE), []), (UsedGroup("laptops"), [own_filter])):
        assert reached(used, groups=groups, before=old, after=new) == ["laptops"] * asked
    assert reached(UsedGroup("laptops"), groups=[a_group("other", filter=FINANCE[0])], before=old, after=new) == []


@pytest.mark.parametrize(("ownership", "asked"), [(Ownership.PERSONAL, True), (Ownership.CORPORATE, False)])
def test_ownership_counts_where_a_filter_asks_for_it(ownership: Ownership, *, asked: bool) -> None:
    used = UsedGroup("all-devices", ("ownership = personal",))
    assert reached(used, after=Attested(ownership=ownership)) == ["all-devices"] * asked


def test_what_the_agent_reports_is_not_asked_for_here() -> None:
    used = UsedGroup("all-devices", ('os = "linux" OR name : ws OR osVersion > 6 OR architecture = arm64',))
    assert reached(used, after=Attested(tags=("ws",), ownership=Ownership.PERSONAL)) == []


@pytest.mark.parametrize("used", [UsedGroup("g", any_filter=True), UsedGroup("g", ("shape = round",))])
def test_a_filter_that_is_not_known_or_cannot_be_read_may_ask_for_anything(used: UsedGroup) -> None:
    assert reached(used, after=Attested(tags=("x",))) == ["g"]
    assert reached(used, after=Attested(ownership=Ownership.CORPORATE)) == ["g"]
    assert reached(used, after=Attested(users=("alice",), scope_tags=("emea",))) == []


def test_a_user_counts_who_is_bound_or_let_go_and_is_in_the_group() -> None:
    people = a_group("people", "alice", "bob", type=GroupType.USER)
    used = UsedGroup("people")
    assert reached(used, groups=[people], after=Attested(users=("alice", "carol"))) == ["people"]
    assert reached(used, groups=[people], before=Attested(users=("bob",)), after=Attested()) == ["people"]
    old, new = Attested(users=("bob",)), Attested(users=("bob", "carol"))
    assert reached(used, groups=[people], before=old, after=new) == []


def test_a_device_that_is_called_as_a_user_is_none() -> None:
    devices = a_group("devices", "alice", type=GroupType.DEVICE)
    assert reached(UsedGroup("devices"), groups=[devices], after=Attested(users=("alice",)), anybody=True) == []


def test_anybody_may_be_in_any_group_of_users_even_an_empty_one() -> None:
    groups = [a_group("people", "alice", type=GroupType.USER), a_group("nobody", type=GroupType.USER)]
    used = UsedGroup("people"), UsedGroup("nobody"), UsedGroup("all-users"), UsedGroup("all-devices")
    assert reached(*used, groups=groups, after=Attested(), anybody=True) == ["people", "nobody"]


PARTS = (
    a_group("a", "alice", type=GroupType.USER),
    a_group("b", "bob", type=GroupType.USER),
    a_group("c", filter='os = "linux" AND tag = "finance"'),
    a_group("d", filter="ownership = personal"),
)
attested = st.builds(
    Attested,
    users=st.sets(st.sampled_from(["alice", "bob", "carol"])).map(lambda found: tuple(sorted(found))),
    tags=st.sets(st.sampled_from(["finance", "sales"])).map(lambda found: tuple(sorted(found))),
    ownership=st.sampled_from(Ownership),
)


@given(parts=st.lists(st.sampled_from(PARTS), unique=True), before=attested, after=attested, anybody=st.booleans())
def test_a_group_reaches_otherwise_if_one_of_those_that_make_it_up_does(
    *, parts: list[Group], before: Attested, after: Attested, anybody: bool
) -> None:
    used = UsedGroup("whole", ("tag = sales",))
    whole = reached_otherwise([used], {"whole": parts}, before=before, after=after, anybody=anybody)
    alone = [
        *reached_otherwise([used], {}, before=before, after=after, anybody=anybody),
        *(
            name
            for part in parts
            for name in reached_otherwise(
                [UsedGroup(part.name)], {part.name: [part]}, before=before, after=after, anybody=anybody
            )
        ),
    ]
    assert bool(list(whole)) is bool(alone)
