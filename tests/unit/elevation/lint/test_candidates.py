"""Rules are compared with all that they have to do with, however many there are."""

from dataclasses import replace
from random import Random

import pytest

from elevation.lint.candidates import Candidates
from elevation.lint.recognition import Recognition, recognitions
from elevation.model import Detection, ElevationType, Platform, Rule, RulesPolicy
from tests.builders.elevation import HASH, authority, publisher

NUMBER = 120


def some_rules(random: Random) -> tuple[Recognition, ...]:
    """Make rules with names of few letters, so that many share their beginnings, ends and middles."""

    def name() -> str:
        pieces = [
            "".join(random.choices("ab", k=random.randrange(3))) for _ in range(random.choice([1, 2, 2, 3, 3, 3]))
        ]
        return f"{random.choice('**?').join(pieces)}.exe"

    detection = Detection(certificate=publisher())
    rules = tuple(
        Rule(
            f"r{number}",
            elevation_type=random.choice(list(ElevationType)),
            detection=replace(
                detection,
                file_name=name(),
                file_hash=random.choice(["", "", HASH]),
                certificate=random.choice([None, publisher(), publisher("other"), authority()]),
                product_name=random.choice(["", "p", "q"]),
            ),
        )
        for number in range(NUMBER)
    )
    return recognitions(RulesPolicy("p", Platform.WINDOWS, rules), {})


def test_names_that_are_the_same_are_filed_once() -> None:
    rules = some_rules(Random(4))  # noqa: S311
    before = Candidates(rules)
    assert Candidates(rules, before.names).names is before.names
    fewer = Candidates(rules[1:], before.names)
    assert fewer.names.all == Candidates(rules[1:]).names.all != before.names.all


@pytest.mark.parametrize("seed", range(3))
def test_no_rule_is_left_out(seed: int) -> None:
    rules = some_rules(Random(seed))  # noqa: S311
    candidates = Candidates(rules)

    for rule in rules:
        sharing = set(candidates.sharing(rule, lambda _: True))
        wider, narrower = set(candidates.wider(rule)), set(candidates.narrower(rule))
        assert {other for other in rules if other.shares(rule)} <= sharing
        for other in rules:
            if other.takes_in(rule) and other.denies >= rule.denies:
                assert other in wider
            if rule.takes_in(other) and rule.denies >= other.denies:
                assert other in narrower
