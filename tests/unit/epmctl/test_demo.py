"""What the demo gives to the commands that it runs."""

from pathlib import Path

import pytest

from epmctl.demo.stage import Stage


def test_tables_of_the_demo_fit_the_terminal_with_their_indentation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert Stage.prepare(tmp_path).environ["COLUMNS"] == "76"


def test_where_no_terminal_shows_the_demo_tables_are_whole(tmp_path: Path) -> None:
    assert "COLUMNS" not in Stage.prepare(tmp_path).environ
