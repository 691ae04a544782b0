from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from fleet.main import main
from fleet.members import Member, name_of, opened
from tests.fakes.agent import Installation


@pytest.fixture
def fleet(tmp_path: Path) -> Path:
    """Keep two agents that were enrolled."""
    house = Installation()
    with opened(tmp_path / "fleet") as members:
        for number in (1, 2):
            members.add(Member(number, house.identity(), house.credentials()), "localhost:1")
    assert name_of(1) == "sim-00001"
    return tmp_path / "fleet"


def epm_sim(*arguments: str | Path, text: str = "") -> Result:
    return CliRunner().invoke(main, list(map(str, arguments)), input=text, env={"EPM_TOKEN": ""})


def test_all_that_is_wrong_with_a_run_is_said_at_once(tmp_path: Path, fleet: Path) -> None:
    script = tmp_path / "script.yaml"
    script.write_text("faults: [{fault: explode, rate: 1}, {fault: drop}]", encoding="utf-8")
    options: list[str | Path] = [
        "--agents",
        "3",
        "--faithful",
        "4",
        "--duration",
        "soon",
        "--ramp",
        "-1s",
        "--script",
        script,
    ]
    done = epm_sim("run", "--state-dir", fleet, *options)
    assert done.exit_code == 2
    places = [line.removeprefix("epm-sim: ").split(": ")[0] for line in done.stderr.splitlines()]
    assert places == ["--duration", "--ramp", "--script", "--script", "--agents", "--faithful"]


def test_a_script_that_can_befall_nobody_is_refused(tmp_path: Path, fleet: Path) -> None:
    script = tmp_path / "script.yaml"
    script.write_text("faults: [{fault: kill-after-rename, rate: 1}]", encoding="utf-8")
    done = epm_sim("run", "--state-dir", fleet, "--script", script)
    assert done.exit_code == 2
    assert "none of the 2 agents (0 of them faithful) can have kill-after-rename" in done.stderr


@pytest.mark.parametrize("command", ["run", "check"])
def test_a_fleet_that_is_not_there_is_named_with_the_remedy(tmp_path: Path, command: str) -> None:
    options = ["--token-file", "-"] if command == "check" else []
    done = epm_sim(command, "--state-dir", tmp_path / "none", *options, text="token\n")
    assert done.exit_code == 2
    assert "run `epm-sim enrol` first" in done.stderr
    assert not (tmp_path / "none").exists()


def test_a_fleet_that_never_ran_has_nothing_to_compare(fleet: Path) -> None:
    done = epm_sim("check", "--state-dir", fleet, "--token-file", "-", text="token\n")
    assert (done.exit_code, "ever ran" in done.stderr) == (2, True)


def test_a_comparison_needs_a_token(fleet: Path) -> None:
    done = epm_sim("check", "--state-dir", fleet)
    assert (done.exit_code, "no token" in done.stderr) == (2, True)


def test_a_server_that_is_no_address_is_refused(tmp_path: Path) -> None:
    done = epm_sim("enrol", "--server", "here", "--count", "1", "--state-dir", tmp_path / "fleet", "--token-file", "-")
    assert (done.exit_code, "HOST:PORT" in done.stderr) == (2, True)
