"""The JSON Schema of documents says what the loader reads: neither refuses by shape what the other takes."""

import json
import re
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from elevation.lint.accepting import IN_RULES, IN_SPECS
from epmctl.demo.samples import make_samples
from epmctl.documents.checks import check_drafts
from epmctl.documents.files import Source
from epmctl.documents.kindtables import SPECS, document_shape
from epmctl.documents.load import _read_source
from epmctl.documents.model import Kind
from epmctl.documents.nodes import Flaws, ListNode, MapNode, Node, ScalarNode, read_nodes
from epmctl.documents.shapes import Each, Nested, Shape, Text
from epmctl.errors import Flaw
from epmctl.schema.make import document_schema, written
from epmctl.schema.shipped import PLACE
from tests.builders.console import Console
from tests.builders.documents import GROUP, RULES, SETTINGS
from tests.builders.elevation import golden_cases
from tests.builders.shapes import Document, broken, documents
from tests.fakes.clock import NOW

ROOT = Path(__file__).parents[3]
BROKEN = ROOT / "tests" / "samples" / "broken"
KINDS = st.sampled_from(list(Kind))
OF_SHAPE = re.compile(
    r"unknown key|required key is missing|must be (text|a list|a mapping|one of|true or false|openepm/v1|user:NAME)"
    r"|must not be blank|needs either|has members or a filter|goes? without a filter"
)
# What is wrong before any schema sees it: keys that are no text, and what YAML 1.1 alone takes for a truth value or a day.
OF_YAML = frozenset({"yes-for-true", "date-for-text", "key-that-is-a-number", "key-that-is-a-list"})


@cache
def validator() -> Draft202012Validator:
    return Draft202012Validator(json.loads(PLACE.read_text(encoding="utf-8")))


def refused_by_schema(document: object) -> bool:
    return not validator().is_valid(document)


def flaws_of_shape(text: str) -> list[Flaw]:
    """Give what the loader finds wrong before it asks what documents mean."""
    flaws: list[Flaw] = []
    _read_source(Source("it.yaml", text), flaws)
    return flaws


def plain(node: Node) -> Any:
    """Give what an editor checks: the values of YAML, times as they are written."""
    if isinstance(node, MapNode):
        return {key: plain(value) for key, value in node.entries.items()}
    if isinstance(node, ListNode):
        return [plain(item) for item in node.items]
    if isinstance(node, ScalarNode) and node.type not in {"str", "timestamp"}:
        return yaml.safe_load(node.value)
    return node.value if isinstance(node, ScalarNode) else None


def plain_documents(text: str) -> list[Any]:
    return [plain(root) for root in read_nodes(text, Flaws("it.yaml"))]


def texts_of_the_repository() -> dict[str, str]:
    """Give the good documents there are, by where they stand."""
    blocks = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs" / "semantics.md").read_text("utf-8"), re.DOTALL)
    return {
        "builders": f"{SETTINGS}---\n{RULES}---\n{GROUP}",
        **{f"semantics-{number}": block for number, block in enumerate(blocks) if "apiVersion" in block},
        "tour": (ROOT / "docs" / "tour" / "policies.yaml").read_text("utf-8"),
        **{f"golden-{case.scenario}": case.documents_text for case in golden_cases()},
    }


TEXTS = texts_of_the_repository()


def test_the_shipped_schema_is_what_the_tables_make() -> None:
    assert PLACE.read_text(encoding="utf-8") == written(document_schema()), "run `make schema`"


def test_the_schema_is_one() -> None:
    Draft202012Validator.check_schema(json.loads(PLACE.read_text(encoding="utf-8")))


@pytest.mark.parametrize("place", TEXTS)
def test_the_good_documents_of_the_repository_are_taken(place: str) -> None:
    found = plain_documents(TEXTS[place])
    assert found
    assert [error.message for document in found for error in validator().iter_errors(document)] == []


def test_the_documents_of_the_demo_are_taken(tmp_path: Path) -> None:
    folder = make_samples(tmp_path, now=NOW).documents
    found = [document for file in folder.glob("*.yaml") for document in plain_documents(file.read_text("utf-8"))]
    assert len(found) > 5
    assert [error.message for document in found for error in validator().iter_errors(document)] == []


def wrong_by_shape() -> Iterator[str]:
    for path in sorted(BROKEN.glob("*.yaml")):
        text = path.read_text("utf-8", errors="replace")
        if path.stem not in OF_YAML and any(
            OF_SHAPE.search(line) for line in re.findall("^# expect .*", text, re.MULTILINE)
        ):
            yield path.stem


@pytest.mark.parametrize("name", list(wrong_by_shape()))
def test_what_is_wrong_by_shape_alone_is_refused(name: str) -> None:
    text = (BROKEN / f"{name}.yaml").read_text("utf-8")
    assert any(refused_by_schema(document) for document in plain_documents(text))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(KINDS.flatmap(documents))
def test_a_document_whose_shape_is_right_is_taken_by_both(document: Document) -> None:
    text = yaml.safe_dump(document, allow_unicode=True)
    assert flaws_of_shape(text) == []
    assert [error.message for error in validator().iter_errors(document)] == []


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(KINDS.flatmap(lambda kind: st.tuples(st.just(kind), documents(kind))), st.data())
def test_a_document_with_one_flaw_of_shape_is_refused_by_both(
    drawn: tuple[Kind, Document], data: st.DataObject
) -> None:
    kind, document = drawn
    for told, flawed in data.draw(st.sampled_from(list(broken(kind, document))).map(lambda one: [one])):
        assert refused_by_schema(flawed), f"{told}: the schema takes {flawed}"
        assert flaws_of_shape(yaml.safe_dump(flawed, allow_unicode=True)), f"{told}: the loader takes {flawed}"


def test_every_key_tells_editors_what_it_is_for() -> None:
    untold = [
        f"{shape.title}.{name}"
        for kind in Kind
        for shape in shapes(document_shape(SPECS[kind]))
        for name, key in shape.keys.items()
        if not key.told.endswith(".")
    ]
    assert untold == []


def test_no_two_tables_have_one_title() -> None:
    found = {id(shape): shape.title for kind in Kind for shape in shapes(SPECS[kind])}
    assert len(set(found.values())) == len(found)


def test_the_schema_lists_the_checks_that_may_be_set_aside_in_each_place() -> None:
    definitions = document_schema()["$defs"]
    assert definitions["RuleLintIgnore"]["properties"]["ignore"]["enum"] == list(IN_RULES)  # type: ignore[index,call-overload]
    assert definitions["LintIgnore"]["properties"]["ignore"]["enum"] == list(IN_SPECS)  # type: ignore[index,call-overload]


@pytest.mark.parametrize(
    ("check", "of_spec", "of_rule"), [("L18", True, False), ("L7", False, True), ("L99", False, False)]
)
def test_the_schema_and_the_loader_take_the_same_checks(check: str, of_spec: bool, of_rule: bool) -> None:  # noqa: FBT001
    entry = {"ignore": check, "reason": "agreed"}
    for taken, document in ((of_spec, accepting(spec=[entry])), (of_rule, accepting(rule=[entry]))):
        flaws: list[Flaw] = []
        read = _read_source(Source("it.yaml", yaml.safe_dump(document)), flaws)
        keys = {flaw.key for flaw in (*flaws, *check_drafts(read, tuple(flaws), closed=False))}
        assert any(key.endswith("].ignore") for key in keys) is not taken
        assert refused_by_schema(document) is not taken


def accepting(*, spec: Sequence[object] = (), rule: Sequence[object] = ()) -> Document:
    """Make a document of a rules policy that accepts findings as a whole, and in its rule."""
    found: list[Document] = plain_documents(RULES)
    (document,) = found
    document["spec"]["lint"] = list(spec)
    document["spec"]["rules"] = [{**document["spec"]["rules"][0], "lint": list(rule)}]
    return document


def test_the_command_prints_what_is_shipped(stranger: Console) -> None:
    assert stranger.run("schema").json == json.loads(PLACE.read_text(encoding="utf-8"))


@pytest.mark.parametrize("kind", Kind)
def test_the_command_prints_the_schema_of_one_kind_alone(stranger: Console, kind: Kind) -> None:
    one = stranger.run("schema", kind.name).json
    Draft202012Validator.check_schema(one)
    (group,) = plain_documents(GROUP)
    assert Draft202012Validator(one).is_valid(group) == (kind is Kind.Group)
    assert ("Rule" in one["$defs"]) == (kind is Kind.ElevationRulesPolicy)


def test_the_command_knows_no_other_kind(stranger: Console) -> None:
    outcome = stranger.run("schema", "Policy")
    assert outcome.code == 2
    assert outcome.err.startswith("unknown kind 'Policy'; known kinds: ElevationSettingsPolicy, ")


def shapes(shape: Shape) -> Iterator[Shape]:
    yield shape
    for key in shape.keys.values():
        if isinstance(key.value, Nested | Each):
            yield from shapes(key.value.shape)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(KINDS.flatmap(lambda kind: st.tuples(st.just(kind), documents(kind))), st.data())
def test_a_text_that_is_too_long_for_the_schema_is_too_long_for_the_loader(
    drawn: tuple[Kind, Document], data: st.DataObject
) -> None:
    kind, document = drawn
    at, key, most = data.draw(st.sampled_from(list(limited(document, document_shape(SPECS[kind])))))
    at[key] = "x" * (most + 1)
    assert refused_by_schema(document)
    flaws: list[Flaw] = []
    read = _read_source(Source("it.yaml", yaml.safe_dump(document, allow_unicode=True)), flaws)
    flaws += check_drafts(read, tuple(flaws), closed=False)
    keys = (f".{key}", ".certificate")  # of LINUX, where there is none, nothing else is said of it
    assert any(flaw.key.endswith(keys) for flaw in flaws), f"the loader takes {key} of {most + 1} characters"


def limited(found: Any, shape: Shape) -> Iterator[tuple[Document, str, int]]:
    """Give every text of a document, by its mapping and its key, with the length that the schema allows."""
    for name, key in shape.keys.items():
        if name not in found or found[name] is None:
            continue
        if isinstance(key.value, Text) and name not in {"apiVersion", "kind"}:
            yield found, name, key.value.most
        elif isinstance(key.value, Nested):
            yield from limited(found[name], key.value.shape)
        elif isinstance(key.value, Each):
            for entry in found[name]:
                yield from limited(entry, key.value.shape)
