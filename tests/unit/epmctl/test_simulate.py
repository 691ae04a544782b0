"""`epm simulate` prints decisions for good input, and for bad input nothing but what is wrong."""

import io
import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from epmctl.main import run
from tests.builders.documents import GROUP, RULES, SETTINGS, attempt_json, document, file_json, write_documents

Outcome = tuple[int, str, str]


class Simulation:
    """Runs `epm simulate` in this process, on files in a folder of the test."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self._capsys = capsys
        self.documents = write_documents(folder / "documents", SETTINGS, RULES, GROUP)

    def run(self, *arguments: str) -> Outcome:
        code = run(["simulate", "-f", str(self.documents.parent), *arguments])
        out, err = self._capsys.readouterr()
        return code, out, err

    def one(self, attempt: object, *arguments: str) -> Outcome:
        path = self.folder / "attempt.json"
        path.write_text(json.dumps(attempt), encoding="utf-8")
        return self.run("--attempt", str(path), *arguments)

    def many(self, *lines: str | Mapping[str, object]) -> Outcome:
        path = self.folder / "attempts.jsonl"
        texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
        path.write_text("\n".join(texts), encoding="utf-8")
        return self.run("--attempts", str(path))


@pytest.fixture
def simulation(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Simulation:
    return Simulation(tmp_path, capsys)


def test_a_decision_is_printed_in_the_json_form(simulation: Simulation) -> None:
    code, out, err = simulation.one(attempt_json())

    assert (code, err) == (0, "")
    decision = json.loads(out)
    reason = decision.pop("reason")
    assert reason
    assert list(decision.items()) == [
        ("outcome", "PROMPT"),
        ("managed", True),
        ("elevationType", "USER_CONFIRMED"),
        ("validations", ["BUSINESS_JUSTIFICATION"]),
        ("source", "RULE"),
        ("policy", "developer-tools"),
        ("rule", "vscode-setup"),
    ]


def test_explain_adds_losers_and_near_misses(simulation: Simulation) -> None:
    _, out, _ = simulation.one(attempt_json(file=file_json(path="C:\\Other.exe")), "--explain")

    decision = json.loads(out)
    assert decision["source"] == "DEFAULT_RESPONSE"
    assert decision["losers"] == []
    assert decision["nearMisses"] == [{"policy": "developer-tools", "rule": "vscode-setup", "failed": "fileName"}]


def test_several_places_may_follow_one_option(simulation: Simulation) -> None:
    more = write_documents(simulation.folder / "more", document("Group", "a", "{type: USER}"), "x", name="more.yaml")

    code, out, err = simulation.run(str(more), "--attempt", "attempt.json")

    assert (code, out) == (2, "")
    assert f"{more}:" in err


def test_a_denied_attempt_is_exit_zero_too(simulation: Simulation) -> None:
    code, out, _ = simulation.one(attempt_json(arguments=["/leave"]))

    assert code == 0
    assert json.loads(out)["outcome"] == "DENY"


def test_an_attempt_that_cannot_be_evaluated_has_nulls(simulation: Simulation) -> None:
    _, out, _ = simulation.one(attempt_json(file={"path": "C:\\a.exe"}))

    decision = json.loads(out)
    assert (decision["outcome"], decision["source"]) == ("DENY", "ERROR")
    assert (decision["elevationType"], decision["policy"], decision["rule"]) == (None, None, None)


def test_many_attempts_give_a_line_each_in_their_order(simulation: Simulation) -> None:
    code, out, err = simulation.many(attempt_json(), attempt_json(arguments=["/leave"]), "", attempt_json())

    assert (code, err) == (0, "")
    assert [json.loads(line)["outcome"] for line in out.splitlines()] == ["PROMPT", "DENY", "PROMPT"]


def test_no_attempts_give_no_lines(simulation: Simulation) -> None:
    assert simulation.many() == (0, "", "")


def test_groups_and_attributes_of_each_attempt_count_for_itself(simulation: Simulation) -> None:
    settings = "{assignments: {include: [{group: all-devices, filter: 'tag = \"finance\"'}]}}"
    write_documents(
        simulation.documents.parent, document("ElevationSettingsPolicy", "workstations", settings), RULES, GROUP
    )
    finance = {"name": "ws", "attributes": {"tag": ["finance"]}}
    other = {"name": "ws", "attributes": {"tag": ["other"]}}

    _, out, _ = simulation.many(
        attempt_json(device=finance), attempt_json(device=other), attempt_json(device=finance, user={"name": "bob"})
    )

    sources = [json.loads(line)["source"] for line in out.splitlines()]
    assert sources == ["RULE", "NOT_ACTIVE", "DEFAULT_RESPONSE"]


def test_one_bad_line_leaves_standard_output_empty_and_all_bad_lines_are_named(simulation: Simulation) -> None:
    code, out, err = simulation.many(attempt_json(), "{", attempt_json(x=1, y=2), attempt_json(), "[]")

    assert (code, out) == (2, "")
    file = simulation.folder / "attempts.jsonl"
    places = [line.removeprefix(f"{file}:").split(": ")[0:2] for line in err.splitlines()]
    assert [place[0] for place in places] == ["2", "3", "3", "5"]
    assert [place[1] for place in places[1:3]] == ["x", "y"]


def test_flaws_of_documents_and_attempts_come_together(simulation: Simulation) -> None:
    write_documents(simulation.documents.parent, "kind: Nothing\n", name="bad.yaml")

    code, out, err = simulation.one(attempt_json(trigger="?"))

    assert (code, out) == (2, "")
    assert "bad.yaml:1: kind: must be one of" in err
    assert "attempt.json: trigger: must be one of REQUEST, LAUNCH, CHILD, not '?'" in err


def test_broken_json_is_named_with_its_line(simulation: Simulation) -> None:
    path = simulation.folder / "a.json"
    path.write_text('{"device":\n nothing}', encoding="utf-8")

    code, _, err = simulation.run("--attempt", str(path))

    assert code == 2
    assert err.startswith(f"{path}:2: not valid JSON: ")


def test_an_attempt_that_is_not_utf8_is_refused(simulation: Simulation) -> None:
    path = simulation.folder / "a.jsonl"
    path.write_bytes(json.dumps(attempt_json()).encode() + b"\n\xff\n")

    code, out, err = simulation.run("--attempts", str(path))

    assert (code, out) == (2, "")
    assert f"{path}:2: not UTF-8 text" in err


@pytest.mark.parametrize("option", ["--attempt", "--attempts"])
def test_an_attempt_file_that_is_not_there_is_named(simulation: Simulation, option: str) -> None:
    code, _, err = simulation.run(option, str(simulation.folder / "gone"))

    assert code == 2
    assert err == f"{simulation.folder / 'gone'}: cannot be read: no such file or directory\n"


def test_attempts_come_from_standard_input_too(simulation: Simulation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(json.dumps(attempt_json()).encode() + b"\n")))

    code, out, _ = simulation.run("--attempts", "-")

    assert code == 0
    assert json.loads(out)["outcome"] == "PROMPT"


@pytest.mark.parametrize(
    "arguments",
    [[], ["--attempt", "a", "--attempts", "b"], ["-f", "-", "--attempt", "-"], ["--attempt", "a", "--wrong"]],
)
def test_options_that_make_no_sense_are_bad_input(simulation: Simulation, arguments: list[str]) -> None:
    code, out, err = simulation.run(*arguments)

    assert (code, out) == (2, "")
    assert "Error: " in err


def test_a_lone_surrogate_is_printed_as_the_escape_it_came_as(simulation: Simulation) -> None:
    grant = {"id": "\ud800", "user": "alice", "device": "ws-17", "sha256": "a" * 64, "arguments": None}
    times = {"notBefore": "2026-11-23T00:00:00Z", "expires": "2026-11-24T00:00:00Z"}
    settings = "{defaultResponse: SUPPORT_APPROVED, assignments: {include: [{group: all-devices}]}}"
    write_documents(simulation.documents.parent, document("ElevationSettingsPolicy", "workstations", settings))

    code, out, _ = simulation.one(attempt_json(grants=[{**grant, **times}]))

    assert code == 0
    assert "\\ud800" in out


def test_simulate_runs_as_a_program_and_loads_nothing_heavy(simulation: Simulation) -> None:
    path = simulation.folder / "attempt.json"
    path.write_text(json.dumps(attempt_json()), encoding="utf-8")
    heavy = "grpc google.protobuf rich sqlalchemy cryptography structlog"
    script = (
        "import sys\nfrom epmctl.main import run\n"
        f"code = run(['simulate', '-f', {str(simulation.documents)!r}, '--attempt', {str(path)!r}])\n"
        f"sys.exit(code or ', '.join(name for name in {heavy!r}.split() if name in sys.modules) or 0)"
    )

    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False, text=True)

    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["rule"] == "vscode-setup"


def test_groups_in_groups_are_accepted_and_decide_nothing_since_an_attempts_groups_are_complete(
    simulation: Simulation,
) -> None:
    nesting = document("Group", "company", "{type: USER, groups: [developers, elsewhere]}")
    write_documents(simulation.documents.parent, SETTINGS, RULES.replace("developers", "company"), GROUP, nesting)
    inner = {**attempt_json(), "user": {"name": "alice", "groups": ["developers"], "administrator": False}}
    both = {**inner, "user": {"name": "alice", "groups": ["company", "developers"], "administrator": False}}

    outcomes = [simulation.one(attempt) for attempt in (inner, both)]

    assert [code for code, _, _ in outcomes] == [0, 0]
    assert [json.loads(out)["source"] for _, out, _ in outcomes] == ["DEFAULT_RESPONSE", "RULE"]
