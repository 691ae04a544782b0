"""Pages of what is authored, from every store: in memory, on SQLite and on PostgreSQL."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from elevation.model import ReusableCertificate, RulesPolicy, SettingsPolicy
from services._chassis.client import MESSAGE_LIMIT
from services._chassis.paging import LARGEST_PAGE, PageRequest, page_request
from services.policy.model.listing import Order, Sorting
from services.policy.model.objects import AnyContent, Stored
from services.policy.ports import Selection, Store
from services.policy.store.objects import SqlStore
from tests.builders.policy import creation, reusable, rule, rules_policy, settings_policy, stored
from tests.builders.policy_database import policy_database
from tests.fakes.clock import NOW


async def put(store: Store, *items: Stored[AnyContent]) -> None:
    async with store.writing() as work:
        await work.next_revision()
        for item in items:
            await work.save(creation(item))


async def names(
    store: Store, kind: type[AnyContent], request: PageRequest, visible: frozenset[str] | None = None
) -> list[str]:
    async with store.reading() as work:
        return [item.name for item in (await work.page(kind, request, Selection(visible))).items]


async def test_pages_follow_one_another_by_code_points(policy_store: Store) -> None:
    await put(policy_store, *(stored(reusable(name)) for name in ("b", "a", "B", "ä", "Z", "a b")))
    first = PageRequest(4, question="certificates")
    async with policy_store.reading() as work:
        page = await work.page(ReusableCertificate, first)
    assert [item.name for item in page.items] == ["B", "Z", "a", "a b"]
    assert page.next_token == first.next_token(("a b",))
    assert await names(policy_store, ReusableCertificate, PageRequest(4, ("a b",))) == ["b", "ä"]


async def test_a_page_shows_one_kind(policy_store: Store) -> None:
    await put(
        policy_store,
        stored(settings_policy("slow")),
        stored(settings_policy()),
        stored(rules_policy()),
        stored(reusable()),
    )
    assert await names(policy_store, SettingsPolicy, PageRequest(10)) == ["slow", "workstations"]
    assert await names(policy_store, RulesPolicy, PageRequest(10)) == ["tools"]


async def test_the_last_page_has_no_next_one(policy_store: Store) -> None:
    await put(policy_store, stored(reusable("a")), stored(reusable("b")))
    async with policy_store.reading() as work:
        page = await work.page(ReusableCertificate, PageRequest(2))
    assert (len(page.items), page.next_token) == (2, "")


async def test_pages_are_narrowed_by_tags_before_they_are_cut(policy_store: Store) -> None:
    tagged = {"a": ["emea"], "b": ["apac"], "c": ["apac", "emea"], "d": ["EMEA"], "e": ["emea"]}
    await put(policy_store, *(stored(reusable(name), *tags) for name, tags in tagged.items()))
    assert await names(policy_store, ReusableCertificate, PageRequest(2), frozenset({"emea"})) == ["a", "c"]
    assert await names(policy_store, ReusableCertificate, PageRequest(9), frozenset({"emea", "apac"})) == [
        "a",
        "b",
        "c",
        "e",
    ]
    assert await names(policy_store, ReusableCertificate, PageRequest(9), frozenset({"emea%"})) == []


@pytest.mark.parametrize(
    ("by", "names"), [(Sorting.NAME, "abcde"), (Sorting.UPDATED, "ecabd"), (Sorting.REVISION, "dabec")]
)
@pytest.mark.parametrize("descending", [False, True])
async def test_pages_follow_one_another_in_every_order(
    policy_store: Store, by: Sorting, names: str, *, descending: bool
) -> None:
    facts = {"a": (2, 3), "b": (2, 3), "c": (1, 5), "d": (3, 1), "e": (0, 4)}
    for name, (moment, revision) in facts.items():
        await put(policy_store, stored(reusable(name), revision=revision, now=NOW + timedelta(microseconds=moment)))
    selection = Selection(order=Order(by, descending=descending))
    for size in (1, 2, 4):
        found, request = "", PageRequest(size)
        async with policy_store.reading() as work:
            while True:
                page = await work.page(ReusableCertificate, request, selection)
                found += "".join(item.name for item in page.items)
                if not page.next_token:
                    break
                request = page_request(page_size=size, page_token=page.next_token, shape=selection.order.shape)
        assert found == (names[::-1] if descending else names)


async def test_pages_hold_only_what_passes_the_test_and_are_full(policy_store: Store) -> None:
    await put(policy_store, *(stored(reusable(f"c{number:03}"), "emea") for number in range(250)))
    selection = Selection(frozenset({"emea"}), lambda item: item.name.endswith("9"))
    async with policy_store.reading() as work:
        first = await work.page(ReusableCertificate, PageRequest(24), selection)
        rest = await work.page(ReusableCertificate, PageRequest(24, ("c239",)), selection)
    assert [item.name for item in first.items] == [f"c{number:02}9" for number in range(24)]
    assert first.next_token == PageRequest(24).next_token(("c239",))
    assert [item.name for item in rest.items] == ["c249"]
    assert rest.next_token == ""


async def test_a_page_that_is_just_full_is_the_last_if_nothing_else_passes(policy_store: Store) -> None:
    await put(policy_store, *(stored(reusable(f"c{number:03}")) for number in range(130)))
    selection = Selection(matches=lambda item: item.name in {"c000", "c120"})
    async with policy_store.reading() as work:
        page = await work.page(ReusableCertificate, PageRequest(2), selection)
    assert ([item.name for item in page.items], page.next_token) == (["c000", "c120"], "")


async def test_a_page_stays_below_the_limit_on_a_message(
    tmp_path: Path,
) -> None:
    bulky = tuple(replace(rule(f"rule-{number}"), arguments=("x" * 8000,) * 9) for number in range(20))
    async with policy_database(f"sqlite:///{tmp_path / 'policy.db'}") as database:
        policy_store = SqlStore(database)
        await put(policy_store, *(stored(rules_policy(f"bulky-{number}", *bulky)) for number in range(4)))
        request = PageRequest(50)
        async with policy_store.reading() as work:
            page = await work.page(RulesPolicy, request)
        assert [item.name for item in page.items] == ["bulky-0", "bulky-1"]
        assert page.next_token == request.next_token(("bulky-1",))
        assert await names(policy_store, RulesPolicy, PageRequest(50, ("bulky-1",))) == ["bulky-2", "bulky-3"]
    assert LARGEST_PAGE < MESSAGE_LIMIT


async def test_labels_and_tags_count_towards_the_limit_on_a_message(tmp_path: Path) -> None:
    async with policy_database(f"sqlite:///{tmp_path / 'policy.db'}") as database:
        policy_store = SqlStore(database)
        labels = {f"l{number}": "ä" * 8000 for number in range(100)}
        for name in "abc":
            item = stored(reusable(name), *(f"{number}" * 100 for number in range(100)))
            await put(policy_store, replace(item, about=replace(item.about, labels=labels)))
        assert await names(policy_store, ReusableCertificate, PageRequest(50)) == ["a"]
        assert await names(policy_store, ReusableCertificate, PageRequest(50, ("a",))) == ["b"]
