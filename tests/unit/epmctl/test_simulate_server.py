"""`epm simulate --server` prints what a server decides in the bytes of an offline decision."""

import json
from pathlib import Path

import pytest

from elevation.codec.decisions import decode_evidence, encode_decision
from elevation.effective import EffectivePolicies
from elevation.explain import explain
from elevation.model import Attempt, RulesPolicy, SettingsPolicy
from epm.elevation.v1 import decision_pb2, event_pb2, rules_pb2
from epm.policy.v1 import analysis_pb2
from epmctl.documents.load import load
from epmctl.simulation.attempts import read_attempt
from services._chassis.errors import InvalidError, NotFoundError, Problem
from tests.builders.console import Console
from tests.builders.documents import GROUP, RULES, SETTINGS, attempt_json, document, write_documents
from tests.fakes.server import FakeServer


class Desk:
    """Asks a server about attempts in files of the test."""

    def __init__(self, console: Console, server: FakeServer, folder: Path) -> None:
        self.console = console
        self.server = server
        self.folder = folder
        self.documents = write_documents(folder / "documents", SETTINGS, RULES, GROUP)

    def attempt(self, **changes: object) -> Path:
        path = self.folder / "attempt.json"
        path.write_text(json.dumps({**attempt_json(), **changes}), encoding="utf-8")
        return path

    def decides(self) -> None:
        """Let the server decide by the documents, for whatever attempt stands in the file."""
        loaded = load([str(self.documents)], closed=True)
        policies: list[SettingsPolicy | RulesPolicy] = [*loaded.settings_policies(), *loaded.rules_policies()]
        kernel = EffectivePolicies(policies, loaded.groups(), loaded.reusable_certificates())

        def decide(_request: analysis_pb2.SimulateRequest) -> analysis_pb2.SimulateResponse:
            decision = explain(kernel.for_attempt(self.known()), self.known())
            origin = analysis_pb2.SettingOrigin(setting="enabled", value="true", policies=["s", ""], conflicting=True)
            return analysis_pb2.SimulateResponse(
                decision=encode_decision(decision),
                settings=analysis_pb2.EffectiveSettings(origins=[origin]),
                applied=True,
            )

        self.server.on(analysis_pb2.SimulateRequest, decide)

    def known(self) -> Attempt:
        found = read_attempt(json.loads((self.folder / "attempt.json").read_text("utf-8")), lambda *_: None)
        assert found is not None
        return found


@pytest.fixture
def desk(console: Console, server: FakeServer, tmp_path: Path) -> Desk:
    return Desk(console, server, tmp_path)


@pytest.mark.parametrize("explained", [(), ("--explain",)])
def test_the_same_bytes_as_offline(desk: Desk, explained: tuple[str, ...]) -> None:
    attempt = desk.attempt()
    desk.decides()
    offline = desk.console.run("simulate", "-f", desk.documents, "--attempt", attempt, *explained)
    asked = desk.console.run("simulate", "--server", "--attempt", attempt, *explained)
    assert (asked.code, asked.out) == (0, offline.out)
    assert offline.out.startswith('{\n  "outcome"')


def test_the_attempt_goes_to_the_server_as_it_stands_but_for_what_the_server_knows(desk: Desk) -> None:
    desk.decides()
    outcome = desk.console.run("simulate", "--server", "--attempt", desk.attempt(arguments=["/silent"]))
    assert "groups and attributes of the attempt are not used" in outcome.err
    [asked] = desk.server.requests(analysis_pb2.SimulateRequest)
    known = desk.known()
    assert (asked.device, asked.user, list(asked.arguments)) == (known.device.name, known.user.name, ["/silent"])
    assert (asked.trigger, asked.platform) == (event_pb2.TRIGGER_REQUEST, rules_pb2.PLATFORM_WINDOWS)
    assert decode_evidence(asked.file) == known.file
    assert asked.now.ToJsonString() == "2026-11-23T12:00:00Z"
    assert not asked.HasField("draft")


def test_settings_are_added_where_they_are_asked_for(desk: Desk) -> None:
    attempt = desk.attempt()
    desk.decides()
    outcome = desk.console.run("simulate", "--server", "--attempt", attempt, "--settings")
    assert outcome.json["settings"] == {"enabled": {"value": "true", "policies": ["s", ""], "conflicting": True}}
    assert outcome.json["applied"] is True
    offline = desk.console.run("simulate", "-f", desk.documents, "--attempt", attempt, "--settings")
    assert (offline.code, offline.out) == (2, "")


def test_many_attempts_are_asked_about_in_their_order(desk: Desk) -> None:
    lines = desk.folder / "attempts.jsonl"
    desk.attempt()
    desk.decides()
    texts = [json.dumps({**attempt_json(), "arguments": [word]}) for word in ("a", "b")]
    lines.write_text("\n".join(texts), encoding="utf-8")
    outcome = desk.console.run("simulate", "--server", "--attempts", lines)
    assert len(outcome.out.splitlines()) == 2
    assert [list(asked.arguments) for asked in desk.server.requests(analysis_pb2.SimulateRequest)] == [["a"], ["b"]]


def test_documents_are_a_draft_and_faults_of_it_name_their_lines(desk: Desk) -> None:
    role = document("Role", "tier2", "{rights: [policy_authoring.read]}")
    draft = write_documents(desk.folder / "draft", RULES, GROUP, role)
    fault = Problem("draft.rules_policies[0].rules[0].detection.file_name", "is not nice")
    desk.server.on(analysis_pb2.SimulateRequest, InvalidError([fault, Problem("file.sha256", "is odd")]))
    outcome = desk.console.run("simulate", "--server", "-f", draft, "--attempt", desk.attempt())
    assert (outcome.code, outcome.out) == (2, "")
    lines = outcome.err.splitlines()
    assert "not used: a Role changes nothing" in lines[0]
    assert lines[-2].startswith(f"{draft}:")
    assert lines[-2].endswith(": spec.rules[0].detection.fileName: is not nice")
    assert lines[-1] == "file.sha256: is odd"
    [asked] = desk.server.requests(analysis_pb2.SimulateRequest)
    assert [policy.metadata.name for policy in asked.draft.rules_policies] == ["developer-tools"]
    assert [group.name for group in asked.draft.groups] == ["developers"]


def test_a_device_that_is_not_there_is_a_refusal(desk: Desk) -> None:
    desk.server.on(analysis_pb2.SimulateRequest, NotFoundError('there is no device "x"'))
    outcome = desk.console.run("simulate", "--server", "--attempt", desk.attempt())
    assert (outcome.code, outcome.out) == (1, "")
    assert outcome.err.endswith('there is no device "x"\n')


def test_half_a_character_is_bad_input(desk: Desk) -> None:
    text = json.dumps({**attempt_json(), "arguments": ["\ud800"]})
    path = desk.folder / "attempt.json"
    path.write_text(text, encoding="utf-8")
    outcome = desk.console.run("simulate", "--server", "--attempt", path)
    assert (outcome.code, outcome.out) == (2, "")
    assert "half a character" in outcome.err


def test_without_documents_and_server_nothing_is_decided(desk: Desk) -> None:
    outcome = desk.console.run("simulate", "--attempt", desk.attempt())
    assert (outcome.code, outcome.out) == (2, "")


def test_a_decision_of_a_newer_server_is_not_guessed_at(desk: Desk) -> None:
    strange = decision_pb2.Decision(outcome=99)  # type: ignore[arg-type]
    desk.server.on(analysis_pb2.SimulateRequest, analysis_pb2.SimulateResponse(decision=strange))
    outcome = desk.console.run("simulate", "--server", "--attempt", desk.attempt())
    assert (outcome.code, outcome.out) == (1, "")
    assert "this epm does not know" in outcome.err
