"""A policy that holds more rules than the limit keeps as many or fewer, by whatever path it is written."""

import pytest

from elevation.model import RulesPolicy
from services._chassis.errors import InvalidError
from services.policy.model.objects import Action
from tests.builders.applying import actions, applied, revisions_of, rolled_back
from tests.builders.authoring import Desk, desk
from tests.builders.policy import rule, rules_policy
from tests.fakes.policy import MemoryStore


def wide(count: int) -> RulesPolicy:
    return rules_policy("wide", *(rule(f"r{number}") for number in range(count)))


async def lowered() -> Desk[MemoryStore]:
    """Hold a policy of five rules where two are allowed by now."""
    at = desk()
    await at.create(wide(5))
    at.most_rules = 2
    return at


async def test_an_apply_keeps_and_shrinks_it_and_lets_it_not_grow() -> None:
    at = await lowered()
    assert actions(await applied(at, wide(5))) == [("wide", Action.UNCHANGED)]
    assert actions(await applied(at, wide(4))) == [("wide", Action.UPDATED)]
    with pytest.raises(InvalidError, match="has 5 rules; at most 4 go into one policy"):
        await applied(at, wide(5))


async def test_an_update_keeps_and_shrinks_it_and_lets_it_not_grow() -> None:
    at = await lowered()
    there = await at.read(RulesPolicy, "wide")
    with pytest.raises(InvalidError, match="has 6 rules; at most 5 go into one policy"):
        await at.update(wide(6), etag=there.about.etag)
    made = await at.update(wide(3), etag=there.about.etag)
    assert len(made.content.rules) == 3


async def test_a_rollback_gives_it_no_more_rules_than_it_has() -> None:
    at = await lowered()
    there = await at.read(RulesPolicy, "wide")
    await at.update(wide(3), etag=there.about.etag)
    first = (await revisions_of(at, RulesPolicy, "wide"))[-1].change
    with pytest.raises(InvalidError, match="has 5 rules; at most 3 go into one policy"):
        await rolled_back(at, RulesPolicy, "wide", first)


async def test_another_policy_has_no_more_than_the_limit() -> None:
    at = await lowered()
    with pytest.raises(InvalidError, match="has 3 rules; at most 2 go into one policy"):
        await at.create(rules_policy("other", *wide(3).rules))
