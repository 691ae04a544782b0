"""Lists of what is authored: filtered, sorted, page by page."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from elevation.model import (
    DefaultResponse,
    ElevationType,
    Exclude,
    Include,
    Platform,
    ReusableCertificate,
    RulesPolicy,
    SettingsPolicy,
)
from services._chassis.errors import InvalidError
from services.policy.model.certificates import fingerprint_of
from services.policy.model.listing import read_filter
from services.policy.model.objects import AnyContent, Stored
from tests.builders.authoring import Desk, desk
from tests.builders.policy import included, reusable, rule, rules_policy, settings_policy, stored
from tests.fakes.clock import NOW
from tests.fakes.policy import MemoryStore


def finds(item: Stored[AnyContent], text: str) -> bool:
    test = read_filter(type(item.content), text)
    assert callable(test), test
    return test(item)


COMMON = [
    "name = {name} AND name : {name}",
    'description = "for all"',
    "scopeTag = emea AND scopeTag : apac AND scopeTag != other",
    "label.owner = team AND label.owner:* AND NOT label.other:*",
    'updatedBy = "user:alice"',
    f'created = "{NOW.isoformat()}" AND created >= {NOW.date().isoformat()}',
    f'updated <= "{NOW.isoformat()}"',
    "revision = 7 AND revision > 6",
]


@pytest.mark.parametrize("text", COMMON)
@pytest.mark.parametrize(
    "content", [settings_policy(), rules_policy(), reusable()], ids=lambda content: type(content).__name__
)
def test_what_every_object_has_is_found(content: AnyContent, text: str) -> None:
    item = stored(replace(content, description="for all"), "emea", "apac", revision=7)
    assert finds(item, text.format(name=content.name))
    assert not finds(item, f"NOT ({text.format(name=content.name)})")


SETTINGS = settings_policy(
    enabled=True, default_response=DefaultResponse.DENY, assignments=included("laptops", excluding=["kiosks"])
)
RULES = replace(
    rules_policy(
        "tools",
        rule("a", reusable="vendor"),
        replace(rule("b"), elevation_type=ElevationType.DENY, arguments=None),
        assignments=replace(included(), include=(Include("developers", 'os = "linux"'),), exclude=(Exclude("guests"),)),
    ),
    platform=Platform.LINUX,
)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (SETTINGS, "enabled = true"),
        (SETTINGS, "enabled != false"),
        (SETTINGS, "defaultResponse = DENY"),
        (SETTINGS, "assigned : laptops AND assigned != kiosks"),
        (RULES, "platform = LINUX"),
        (RULES, "rules = 2 AND rules > 1"),
        (RULES, "elevationType = DENY AND elevationType : USER_CONFIRMED AND elevationType != AUTOMATIC"),
        (RULES, "certificate = vendor AND certificate : vendor AND certificate:*"),
        (RULES, "assigned = developers"),
        (RULES, "excluded = guests AND excluded != developers"),
        (reusable(), f'subject = "{reusable().certificate.subject}"'),
        (reusable(), f'issuer : "{reusable().certificate.issuer[:6]}"'),
        (reusable(), f"fingerprint = {fingerprint_of(reusable().certificate)}"),
        (reusable(), f'notAfter = "{reusable().certificate.not_after.isoformat()}"'),
    ],
)
def test_what_a_kind_has_of_its_own_is_found(content: AnyContent, text: str) -> None:
    assert finds(stored(content), text)
    assert not finds(stored(content), f"NOT ({text})")


async def listed(at: Desk[MemoryStore], kind: type[AnyContent] = ReusableCertificate, **wanted: Any) -> list[list[str]]:
    """Return the names on every page."""
    pages: list[list[str]] = []
    token = ""
    while True:
        page = await at.list(kind, page_token=token, **wanted)
        pages.append([item.name for item in page.items])
        token = page.next_token
        if not token:
            return pages


async def test_pages_are_full_whatever_the_filter_leaves_out() -> None:
    at = desk()
    for number in range(9):
        await at.keep(rules_policy(f"p{number}", *(rule(f"r{each}") for each in range(number % 3 + 1))))
    assert await listed(at, RulesPolicy, filter="rules = 1", page_size=2) == [["p0", "p3"], ["p6"]]
    assert await listed(at, RulesPolicy, filter="rules > 9", page_size=2) == [[]]


@pytest.mark.parametrize(
    ("order_by", "names"),
    [
        ("", "abcd"),
        ("name", "abcd"),
        ("name desc", "dcba"),
        ("updated", "bacd"),
        ("updated desc", "dcab"),
        ("revision", "dbac"),
        (" revision   desc ", "cabd"),
    ],
)
async def test_a_list_stands_in_the_order_that_is_asked_for(order_by: str, names: str) -> None:
    at = desk()
    facts = {"a": (2, 3), "b": (1, 2), "c": (2, 4), "d": (3, 1)}
    for name, (hours, revision) in facts.items():
        item = stored(reusable(name), revision=revision, now=NOW + timedelta(hours=hours))
        at.store.objects["reusable_certificate", name] = item
    for size in (1, 2, 3, 9):
        pages = await listed(at, order_by=order_by, page_size=size)
        assert "".join(name for page in pages for name in page) == names


async def test_pages_repeat_and_leave_out_nothing_though_objects_come_and_go() -> None:
    at = desk()
    for name in ("b", "d", "f"):
        await at.keep(reusable(name))
    first = await at.list(ReusableCertificate, page_size=2)
    await at.keep(reusable("a"))
    await at.keep(reusable("e"))
    await at.delete(ReusableCertificate, "d")
    rest = await at.list(ReusableCertificate, page_size=2, page_token=first.next_token)
    assert [[item.name for item in page.items] for page in (first, rest)] == [["b", "d"], ["e", "f"]]


@pytest.mark.parametrize(
    "other", [{"filter": "name : a"}, {"order_by": "updated"}, {"filter": "", "order_by": "name desc"}]
)
async def test_a_token_belongs_to_its_filter_and_its_order(other: dict[str, str]) -> None:
    at = desk()
    for name in ("a", "b"):
        await at.keep(settings_policy(name))
    token = (await at.list(SettingsPolicy, page_size=1)).next_token
    with pytest.raises(InvalidError) as refused:
        await at.list(SettingsPolicy, page_size=1, page_token=token, **other)
    assert [problem.field for problem in refused.value.problems] == ["page_token"]


async def test_all_that_is_wrong_with_a_call_is_said_at_once() -> None:
    wanted: dict[str, Any] = {"filter": "colour = red", "order_by": "size", "page_size": -1, "page_token": "?"}
    with pytest.raises(InvalidError) as refused:
        await desk().list(SettingsPolicy, **wanted)
    problems = {problem.field: problem.message for problem in refused.value.problems}
    assert list(problems) == ["filter", "order_by", "page_size", "page_token"]
    assert 'field "colour" is unknown' in problems["filter"]
    assert "position 1" in problems["filter"]
    assert problems["order_by"] == '"size" is no order; known are name, updated, revision (position 1)'


@pytest.mark.parametrize(
    ("order_by", "position"),
    [("size", 1), ("  Name", 3), ("name,updated", 1), ("name up", 6), ("name asc", 6), ("name desc desc", 11)],
)
async def test_an_order_that_means_nothing_is_told_where(order_by: str, position: int) -> None:
    with pytest.raises(InvalidError, match=f"position {position}\\)"):
        await desk().list(RulesPolicy, order_by=order_by)


@pytest.mark.parametrize(
    ("kind", "field"),
    [
        (SettingsPolicy, "platform"),
        (RulesPolicy, "enabled"),
        (ReusableCertificate, "assigned"),
        (ReusableCertificate, "notBefore"),
    ],
)
async def test_a_field_of_another_kind_is_unknown(kind: type[AnyContent], field: str) -> None:
    with pytest.raises(InvalidError, match="is unknown; known are name, description, scopeTag"):
        await desk().list(kind, filter=f"{field} = x")
