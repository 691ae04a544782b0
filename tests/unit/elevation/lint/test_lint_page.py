"""The page of the catalogue says what the catalogue says, and its examples have what they show."""

import re
from pathlib import Path

import pytest
import yaml

from elevation.lint.catalogue import CATALOGUE, Check
from elevation.lint.findings import Severity
from epmctl.errors import BadInputError
from tests.builders.linting import lint

PAGE = (Path(__file__).resolve().parents[4] / "docs" / "lint.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^### ([A-Z]\d+): (.*?)(?=^### |\Z)", PAGE, flags=re.MULTILINE | re.DOTALL))
EXAMPLES = {
    check: found[1] for check, text in SECTIONS.items() if (found := re.search(r"```yaml\n(.*?)```", text, re.DOTALL))
}
FINDINGS_ALL_THE_SAME = {"L9", "L15", "D23"}
"""Checks that can be errors, whose examples are documents that can be read."""
WITHOUT_EXAMPLE = {"L6", "L28", "L31"}
"""An expired certificate is too long to show; documents do not tell which groups there are, nor what rules are used for."""


def test_the_page_has_every_check_in_order_and_no_other() -> None:
    assert list(SECTIONS) == list(CATALOGUE)
    assert set(EXAMPLES) == set(CATALOGUE) - WITHOUT_EXAMPLE


@pytest.mark.parametrize("check", CATALOGUE.values(), ids=lambda check: check.id)
def test_a_section_says_what_the_check_says(check: Check) -> None:
    heading, _, text = SECTIONS[check.id].partition("\n")
    assert heading == f"{check.title} ({', '.join(severity.name.lower() for severity in check.severities)})"
    assert f"{check.why} {check.remedy}" in text
    if check.why_in_part:
        assert f"In part: {check.why_in_part} {check.remedy_in_part}" in text


@pytest.mark.parametrize("check", EXAMPLES)
def test_an_example_has_what_it_shows(check: str) -> None:
    documents = list(yaml.safe_load_all(EXAMPLES[check]))
    if CATALOGUE[check].severities[0] is Severity.ERROR and check not in FINDINGS_ALL_THE_SAME:
        with pytest.raises(BadInputError):
            lint(*documents)
    else:
        assert check in {finding.check for finding in lint(*documents)}


def test_the_catalogue_holds_all_checks_of_the_reference() -> None:
    assert list(CATALOGUE) == [*(f"L{number}" for number in range(1, 32)), "D22", "D23"]


def test_every_check_says_all_in_whole_sentences() -> None:
    for check in CATALOGUE.values():
        assert check.severities == tuple(sorted(check.severities, reverse=True))
        assert all(text[0].isupper() and text.endswith(".") for text in (check.why, check.remedy))
        assert bool(check.why_in_part) is bool(check.remedy_in_part)
        assert not check.why_in_part or Severity.INFO in check.severities
