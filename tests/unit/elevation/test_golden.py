"""Decide the golden cases as `epm simulate` does: from files, through the document form."""

import re
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from elevation.decision import decide
from elevation.effective import EffectivePolicies
from elevation.explain import explain
from epmctl.documents.load import load
from epmctl.simulation.attempts import read_attempt
from tests.builders.elevation import GoldenCase, decision_form, golden_cases

CASES = list(golden_cases())


@cache
def policies_of(documents: str) -> EffectivePolicies:
    with TemporaryDirectory() as folder:
        (Path(folder) / "documents.yaml").write_text(documents, encoding="utf-8")
        loaded = load([folder], closed=True)
    return EffectivePolicies(
        [*loaded.settings_policies(), *loaded.rules_policies()], loaded.groups(), loaded.reusable_certificates()
    )


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.scenario}: {case.name}")
def test_a_golden_case_is_decided_as_the_specification_says(case: GoldenCase) -> None:
    problems: list[tuple[str, str]] = []
    attempt = read_attempt(case.attempt, lambda path, message: problems.append((path, message)))
    assert attempt is not None, problems
    policy = policies_of(case.documents_text).for_attempt(attempt)

    decided, explained = decision_form(decide(policy, attempt)), decision_form(explain(policy, attempt))

    expected = case.full_expectation
    assert decided == {**expected, "losers": [], "nearMisses": []}
    if case.is_explained:
        assert explained == expected
    else:
        assert {**explained, "losers": [], "nearMisses": []} == decided


def test_every_golden_case_names_what_it_proves() -> None:
    assert all(case.proves and all(re.fullmatch(r"[DF]\d+", number) for number in case.proves) for case in CASES)


def test_golden_cases_have_names_of_their_own() -> None:
    names = [(case.scenario, case.name) for case in CASES]
    assert len(set(names)) == len(names)


def test_there_are_enough_golden_cases() -> None:
    assert len(CASES) >= 150


def test_the_golden_cases_reach_every_decision_about_deciding() -> None:
    proved = {number for case in CASES for number in case.proves}
    about_deciding = [1, 2, 3, 4, 6, 10, 11, 12, 13, 14, 15, 17, 18, 19, 21, 22, 25]
    assert {f"D{number}" for number in about_deciding} <= proved
    assert {f"F{number}" for number in (*range(34, 48), 48, 49, 50, 56, 57, 60, 61, 63, 64, 79)} <= proved
