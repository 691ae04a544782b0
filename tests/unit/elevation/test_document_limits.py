"""How much a document for a device may hold, and how much a policy."""

import pytest

from elevation.checks import MAX_RULES, MOST_RULES, check_rules_policy
from elevation.document import PolicyDocument, UserPolicy, check_document
from tests.builders.elevation import HASH, policy, rule


def of_rules(count: int) -> PolicyDocument:
    wide = policy(*(rule(f"r{number}", file_hash=HASH) for number in range(count)))
    return PolicyDocument("d1", "laptop", UserPolicy("", None), (), (wide,), {wide.name: 1})


def test_a_device_accepts_as_many_rules_of_one_policy_as_an_installation_may_allow() -> None:
    assert check_document(of_rules(MOST_RULES)) == []
    (problem,) = check_document(of_rules(MOST_RULES + 1))
    assert problem.path == "rulesPolicies[0].rules"
    assert "at most 1000 go into one policy" in problem.message


@pytest.mark.parametrize("most", [1, MAX_RULES, MOST_RULES])
def test_a_policy_holds_as_many_rules_as_is_said(most: int) -> None:
    rules = [rule(f"r{number}", file_hash=HASH) for number in range(most + 1)]
    assert check_rules_policy(policy(*rules[:most]), most_rules=most) == []
    (problem,) = check_rules_policy(policy(*rules), most_rules=most)
    assert problem.path == "rules"
    assert f"has {most + 1} rules; at most {most} " in problem.message


def test_where_nothing_is_said_it_is_a_hundred() -> None:
    rules = [rule(f"r{number}", file_hash=HASH) for number in range(101)]
    assert [problem.path for problem in check_rules_policy(policy(*rules))] == ["rules"]
