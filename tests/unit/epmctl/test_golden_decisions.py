"""The golden decisions come out of the file form exactly as they are written, with one simulator for each scenario."""

import json
from itertools import groupby
from pathlib import Path

import pytest

from epmctl.documents.load import load
from epmctl.errors import Flaw
from epmctl.simulation.attemptfiles import AttemptSink, read_attempt_lines
from epmctl.simulation.decisions import Simulator
from tests.builders.elevation import GoldenCase, golden_cases

SCENARIOS = [(name, tuple(cases)) for name, cases in groupby(golden_cases(), key=lambda case: case.scenario)]


@pytest.mark.parametrize(("name", "cases"), SCENARIOS, ids=[name for name, _ in SCENARIOS])
def test_a_scenario_is_decided_as_written(name: str, cases: tuple[GoldenCase, ...], tmp_path: Path) -> None:
    documents = tmp_path / "documents.yaml"
    documents.write_text(cases[0].documents_text, encoding="utf-8")
    attempts = tmp_path / "attempts.jsonl"
    attempts.write_text("".join(json.dumps(case.attempt) + "\n" for case in cases), encoding="utf-8")
    simulator = Simulator(load([str(documents)], closed=True), explained=True, indented=False)
    flaws: list[Flaw] = []

    read_attempt_lines(str(attempts), AttemptSink(simulator.take, flaws))

    assert flaws == []
    found = [json.loads(line) for line in simulator.lines]
    assert [{**decision, "reason": ""} for decision in found] == [
        {**_expected(case, decision), "reason": ""} for case, decision in zip(cases, found, strict=True)
    ], name


def _expected(case: GoldenCase, found: dict[str, object]) -> dict[str, object]:
    """Give the whole expectation; losers and near misses that a case does not state are taken as found."""
    if case.is_explained:
        return case.full_expectation
    return {**case.full_expectation, "losers": found["losers"], "nearMisses": found["nearMisses"]}
