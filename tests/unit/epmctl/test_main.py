"""`epm` finds its commands and imports none that was not asked for."""

import subprocess
import sys
from pathlib import Path

import pytest

from epmctl.main import COMMANDS, run

EPM = Path(sys.executable).parent / "epm"
NESTED = {"report": ("report consumers", "report dead-letters"), "requests": ("requests notices",)}
PAGE = (Path(__file__).resolve().parents[3] / "docs" / "command-line.md").read_text(encoding="utf-8")


def test_help_lists_every_command_and_imports_none() -> None:
    heavy = "grpc google.protobuf rich sqlalchemy cryptography yaml elevation"
    script = (
        "import sys\nfrom epmctl.main import run\nrun(['--help'])\n"
        f"sys.exit(', '.join(name for name in {heavy!r}.split() if name in sys.modules) or 0)"
    )

    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False, text=True)

    assert (done.returncode, done.stderr) == (0, "")
    assert all(f"  {name} " in done.stdout for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_of_the_registry_can_be_imported(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([name, "--help"]) == 0
    assert f"Usage: epm {name}" in capsys.readouterr().out


@pytest.mark.parametrize("name", COMMANDS)
def test_help_cuts_no_sentence_about_a_command(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    for group in (name, *NESTED.get(name, ())):
        assert run([*group.split(), "--help"]) == 0
        _, _, listed = capsys.readouterr().out.partition("Commands:")
        assert "..." not in listed


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_stands_on_its_page(name: str) -> None:
    assert f"`epm {name}" in PAGE


def test_an_unknown_command_is_bad_input() -> None:
    done = subprocess.run([EPM, "simulat"], capture_output=True, check=False, text=True)

    assert done.returncode == 2
    assert "No such command 'simulat'" in done.stderr


def test_a_reader_that_goes_away_is_no_error() -> None:
    done = subprocess.run(
        ["/bin/sh", "-c", f"{EPM} simulate --help | true"], capture_output=True, check=False, text=True
    )

    assert done.stderr == ""


def test_a_reader_that_goes_away_early_leaves_exit_code_zero() -> None:
    script = "import sys, click\nfrom epmctl import main\n@click.command()\ndef many():\n"
    script += "    for n in range(100_000):\n        click.echo('line')\n"
    script += "main.cli.get_command = lambda ctx, name: many\nsys.argv[1:] = ['many']\nmain.main()"

    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        errors = process.stderr.read()

    assert (process.returncode, errors) == (0, b"")
