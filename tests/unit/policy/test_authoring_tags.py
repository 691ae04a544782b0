"""Objects are given scope tags that there are; those that they carry already may stay."""

from collections.abc import Sequence

import pytest

from elevation.model import SettingsPolicy
from services._chassis.errors import DeniedError, InvalidError, Problem
from services.policy.model.objects import Action
from tests.builders.applying import actions, applied, rolled_back
from tests.builders.authoring import Desk, desk
from tests.builders.policy import settings_policy
from tests.fakes.policy import MemoryStore

MISSING = 'there is no scope tag "emaa"; make it first, or in one epm apply with this (kind ScopeTag)'


def at_desk(*tags: str) -> Desk[MemoryStore]:
    at = desk()
    at.tags = frozenset(tags)
    return at


def said(refused: pytest.ExceptionInfo[InvalidError]) -> Sequence[Problem]:
    return refused.value.problems


async def test_a_new_object_gets_no_tag_that_there_is_not() -> None:
    at = at_desk("default", "emea")
    with pytest.raises(InvalidError) as refused:
        await at.create(settings_policy(), tags=["emea", "emaa"])
    assert said(refused) == (Problem("settings_policy.metadata.scope_tags", MISSING),)
    await at.create(settings_policy(), tags=["emea", "default"])


async def test_tags_that_an_object_carries_may_stay_and_no_unknown_one_joins_them() -> None:
    at = at_desk("default", "emea")
    kept = await at.keep(settings_policy(), "gone")
    kept = await at.update(settings_policy(enabled=False), etag=kept.about.etag, tags=["gone", "emea"])
    assert kept.about.scope_tags == {"gone", "emea"}
    with pytest.raises(InvalidError) as refused:
        await at.update(settings_policy(), etag=kept.about.etag, tags=["gone", "emaa"])
    assert said(refused) == (Problem("settings_policy.metadata.scope_tags", MISSING),)


async def test_an_apply_names_the_object_whose_tag_there_is_not() -> None:
    at = at_desk("default")
    await at.keep(settings_policy("old"), "emaa")
    with pytest.raises(InvalidError) as refused:
        await applied(at, settings_policy("old"), settings_policy("new"), tags=["emaa"])
    assert said(refused) == (Problem("settings_policies[1].metadata.scope_tags", MISSING),)


async def test_pending_tags_count_while_an_apply_is_rehearsed_and_only_then() -> None:
    at = at_desk("default")
    told = await applied(at, settings_policy(), tags=["emaa"], pending_tags=["emaa"], validate_only=True)
    assert actions(told) == [("workstations", Action.CREATED)]
    with pytest.raises(InvalidError) as refused:
        await applied(at, settings_policy(), pending_tags=["emaa"])
    assert [problem.field for problem in said(refused)] == ["pending_scope_tags"]


async def test_default_is_always_there_and_a_tag_that_is_none_is_told_once() -> None:
    at = at_desk("emea")
    await at.create(settings_policy(), tags=["default"])
    with pytest.raises(InvalidError) as refused:
        await at.create(settings_policy("other"), tags=[" "])
    assert len(said(refused)) == 1


@pytest.mark.parametrize("pending", [[], ["emea"]])
async def test_nothing_is_checked_where_it_is_not_known_which_tags_there_are(pending: list[str]) -> None:
    at = at_desk()
    await applied(at, settings_policy(), tags=["emaa"], pending_tags=pending, validate_only=bool(pending))


async def test_who_may_not_give_a_tag_does_not_hear_whether_there_is_one() -> None:
    at = at_desk("default", "apac", "emea")
    at.hire("emil", tags=["emea"])
    refused = []
    for tag in ("apac", "emaa"):
        with pytest.raises(DeniedError) as denied:
            await at.create(settings_policy(), by="emil", tags=[tag])
        refused.append(str(denied.value).replace(tag, "TAG"))
    assert refused[0] == refused[1]


async def test_what_comes_back_has_the_tags_that_it_had() -> None:
    at = at_desk("default")
    made = await at.keep(settings_policy(), "gone")
    await at.delete(SettingsPolicy, "workstations")
    back = await rolled_back(at, SettingsPolicy, "workstations", int(made.about.etag))
    assert back.about.scope_tags == {"gone"}
