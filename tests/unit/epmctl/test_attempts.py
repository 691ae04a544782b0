"""Attempts are read strictly, and everything wrong with one comes at once."""

from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from elevation.model import Attempt
from elevation.words import Platform, Trigger
from epmctl.jsontext import JsonError, parse_json
from epmctl.simulation.attempts import read_attempt
from tests.builders.documents import HASH, attempt_json, file_json, grant_json
from tests.builders.elevation import certificate, pem

Json = dict[str, object]


def read(value: object) -> Attempt:
    problems: list[tuple[str, str]] = []
    attempt = read_attempt(value, lambda path, message: problems.append((path, message)))
    assert problems == []
    assert attempt is not None
    return attempt


def problems_of(value: object) -> dict[str, str]:
    problems: dict[str, str] = {}
    assert read_attempt(value, problems.__setitem__) is None
    return problems


def test_an_attempt_is_read_with_every_key() -> None:
    signer = {"leafPem": pem("vendor"), "chainPems": [pem("issuing")], "trusted": True}
    attempt = read(
        attempt_json(
            file=file_json(signers=[signer], rootOnlyPath=True, companyName="C"),
            grants=[grant_json(arguments=["/silent"], usesLeft=2)],
        )
    )

    assert (attempt.device.name, attempt.device.groups) == ("ws-17", frozenset({"all-devices"}))
    assert attempt.device.attributes == {"os": "windows"}
    assert (attempt.user.name, attempt.user.groups, attempt.user.administrator) == (
        "alice",
        frozenset({"developers"}),
        False,
    )
    assert (attempt.trigger, attempt.platform) == (Trigger.REQUEST, Platform.WINDOWS)
    assert (attempt.file.sha256, attempt.file.root_only_path, attempt.file.company_name) == (HASH, True, "C")
    assert attempt.file.signers[0].leaf == certificate("vendor")
    assert attempt.file.signers[0].chain == (certificate("issuing"),)
    assert attempt.file.signers[0].trusted
    (grant,) = attempt.grants
    assert (grant.arguments, grant.uses_left) == (("/silent",), 2)
    assert grant.expires == datetime(2026, 11, 24, tzinfo=UTC)
    assert attempt.now == datetime(2026, 11, 23, 12, tzinfo=UTC)
    assert attempt.policy_confirmed == datetime(2026, 11, 23, 11, 59, tzinfo=UTC)


def test_what_may_be_absent_has_its_default() -> None:
    attempt = read(
        {
            "device": {"name": "d"},
            "user": {"name": "u"},
            "trigger": "REQUEST",
            "platform": "LINUX",
            "file": {"path": "/usr/bin/env"},
            "now": "2026-11-23T12:00:00Z",
        }
    )

    assert (attempt.device.groups, attempt.device.attributes) == (frozenset(), {})
    assert (attempt.user.groups, attempt.user.administrator) == (frozenset(), False)
    assert (attempt.arguments, attempt.parent, attempt.grants, attempt.policy_confirmed) == ((), None, (), None)
    assert not attempt.file.root_only_path


@pytest.mark.parametrize("absent", ["sha256", "version", "description", "productName", "internalName", "companyName"])
def test_null_blank_and_absent_facts_are_equal(absent: str) -> None:
    without = {key: value for key, value in file_json().items() if key != absent}

    found = [read(attempt_json(file=facts)) for facts in (without, {**without, absent: None}, {**without, absent: ""})]

    assert found[0] == found[1] == found[2]


def test_a_file_without_its_path_is_an_attempt_that_cannot_be_evaluated_not_bad_input() -> None:
    assert read(attempt_json(file={"sha256": HASH})).file.path == ""


def test_times_have_any_offset() -> None:
    assert read(attempt_json(now="2026-11-23T14:00:00.250+02:00")).now == datetime(2026, 11, 23, 12, 0, 0, 250_000, UTC)


def test_attributes_are_an_open_map() -> None:
    device = {"name": "d", "attributes": {"tag": ["a", "b"], "ours": "x", "cores": 8, "vm": True, "none": None}}

    attributes = read(attempt_json(device=device)).device.attributes

    assert attributes == {"tag": ("a", "b"), "ours": "x", "cores": "8", "vm": "true"}


@pytest.mark.parametrize("key", ["device", "user", "trigger", "platform", "file", "now"])
def test_a_required_key_is_missed(key: str) -> None:
    attempt = {name: value for name, value in attempt_json().items() if name != key}

    assert problems_of(attempt) == {key: "required key is missing"}


@pytest.mark.parametrize(
    ("path", "change"),
    [
        ("colour", lambda: attempt_json(colour="red")),
        ("device.colour", lambda: attempt_json(device={"name": "d", "colour": "red"})),
        ("user.colour", lambda: attempt_json(user={"name": "u", "colour": "red"})),
        ("file.colour", lambda: attempt_json(file=file_json(colour="red"))),
        ("parent.colour", lambda: attempt_json(trigger="CHILD", parent={"policy": "p", "rule": "r", "colour": 1})),
        ("grants[1].colour", lambda: attempt_json(grants=[grant_json(), grant_json(colour="red")])),
        (
            "file.signers[0].colour",
            lambda: attempt_json(file=file_json(signers=[{"leafPem": pem("vendor"), "trusted": True, "colour": 1}])),
        ),
    ],
)
def test_an_unknown_key_is_refused_at_every_level(path: str, change: Callable[[], Json]) -> None:
    problems = problems_of(change())

    assert list(problems) == [path]
    assert problems[path].startswith("unknown key; known keys: ")


@pytest.mark.parametrize(
    ("path", "change"),
    [
        ("", lambda: ["not an object"]),
        ("device", lambda: attempt_json(device="ws-17")),
        ("device.name", lambda: attempt_json(device={"name": ""})),
        ("device.name", lambda: attempt_json(device={"name": 17})),
        ("device.groups", lambda: attempt_json(device={"name": "d", "groups": "all-devices"})),
        ("device.groups[1]", lambda: attempt_json(device={"name": "d", "groups": ["a", 1]})),
        ("device.attributes", lambda: attempt_json(device={"name": "d", "attributes": []})),
        ("device.attributes.os", lambda: attempt_json(device={"name": "d", "attributes": {"os": {}}})),
        ("user.administrator", lambda: attempt_json(user={"name": "u", "administrator": "no"})),
        ("user.administrator", lambda: attempt_json(user={"name": "u", "administrator": 0})),
        ("trigger", lambda: attempt_json(trigger="request")),
        ("trigger", lambda: attempt_json(trigger=["REQUEST"])),
        ("platform", lambda: attempt_json(platform="BEOS")),
        ("file.version", lambda: attempt_json(file=file_json(version=1.8))),
        ("file.sha256", lambda: attempt_json(file=file_json(sha256="abc"))),
        ("file.sha256", lambda: attempt_json(file=file_json(sha256="g" * 64))),
        ("file.sha256", lambda: attempt_json(file=file_json(sha256=5))),
        ("file.rootOnlyPath", lambda: attempt_json(file=file_json(rootOnlyPath="yes"))),
        ("file.signers", lambda: attempt_json(file=file_json(signers={}))),
        ("file.signers[0]", lambda: attempt_json(file=file_json(signers=["x"]))),
        ("file.signers[0].leafPem", lambda: attempt_json(file=file_json(signers=[{"trusted": True}]))),
        ("file.signers[0].leafPem", lambda: attempt_json(file=file_json(signers=[{"leafPem": "x", "trusted": True}]))),
        ("file.signers[0].trusted", lambda: attempt_json(file=file_json(signers=[{"leafPem": pem("vendor")}]))),
        (
            "file.signers[0].chainPems[0]",
            lambda: attempt_json(
                file=file_json(signers=[{"leafPem": pem("vendor"), "chainPems": ["x"], "trusted": True}])
            ),
        ),
        ("arguments", lambda: attempt_json(arguments="/silent")),
        ("arguments[0]", lambda: attempt_json(arguments=[None])),
        ("parent", lambda: attempt_json(trigger="CHILD")),
        ("parent", lambda: attempt_json(parent={"policy": "p", "rule": "r"})),
        ("parent.rule", lambda: attempt_json(trigger="CHILD", parent={"policy": "p"})),
        ("grants", lambda: attempt_json(grants={})),
        ("grants[0].usesLeft", lambda: attempt_json(grants=[grant_json(usesLeft=-1)])),
        ("grants[0].usesLeft", lambda: attempt_json(grants=[grant_json(usesLeft=True)])),
        ("grants[0].expires", lambda: attempt_json(grants=[grant_json(expires=None)])),
        ("grants[0].sha256", lambda: attempt_json(grants=[grant_json(sha256="")])),
        ("now", lambda: attempt_json(now="2026-11-23T12:00:00")),
        ("now", lambda: attempt_json(now="yesterday")),
        ("now", lambda: attempt_json(now=None)),
        ("now", lambda: attempt_json(now="2026-02-30T12:00:00Z")),
        ("policyConfirmed", lambda: attempt_json(policyConfirmed=1)),
    ],
)
def test_a_wrong_value_is_refused_with_its_path(path: str, change: Callable[[], object]) -> None:
    assert list(problems_of(change())) == [path]


def test_a_grant_has_to_say_which_arguments_it_allows() -> None:
    grant = {key: value for key, value in grant_json().items() if key != "arguments"}

    problems = problems_of(attempt_json(grants=[grant]))

    assert problems == {"grants[0].arguments": "required key is missing; write null for any arguments"}


def test_everything_wrong_comes_at_once() -> None:
    problems = problems_of({"device": {}, "user": {"name": 1}, "trigger": "?", "file": {"x": 1}, "y": 2})

    assert set(problems) == {"device.name", "user.name", "trigger", "platform", "file.x", "now", "y"}


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ('{"now": 1, "now": 2}', "now"),
        ('{"device": {"name": "a", "name": "b"}}', "device.name"),
        ('{"device": {"name": "a", "attributes": {"os": "a", "os": "b"}}}', "device.attributes.os"),
        ('{"file": {"path": "a", "path": "b"}}', "file.path"),
    ],
)
def test_a_duplicate_key_is_refused(text: str, path: str) -> None:
    problems: list[tuple[str, str]] = []

    assert read_attempt(parse_json(text), lambda *problem: problems.append(problem)) is None

    assert (path, "duplicate key; keep one") in problems


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", 1),
        ("{", 1),
        ('{"a": 1,\n "b" 2}', 2),
        ("{} {}", 1),
        ('{"a": NaN}', 1),
        ('{"a": -Infinity}', 1),
        ("[" * 200_000, 1),
        ('{"a": ' + "9" * 5000 + "}", 1),
    ],
)
def test_text_that_is_no_json_is_refused_with_its_line(text: str, line: int) -> None:
    with pytest.raises(JsonError) as refused:
        parse_json(text)

    assert refused.value.line == line
    assert str(refused.value).startswith("not valid JSON")
