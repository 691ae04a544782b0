"""Every file of tests/samples/broken holds what must be refused, and at its end the exact refusals it must meet."""

from pathlib import Path

import pytest

from epmctl.documents.load import load
from epmctl.errors import BadInputError

BROKEN = Path(__file__).parents[2] / "samples" / "broken"
MARK = "# expect "


@pytest.mark.parametrize("path", sorted(BROKEN.glob("*.yaml")), ids=lambda path: path.stem)
def test_a_broken_document_is_refused_with_file_line_and_key(path: Path) -> None:
    expected = [line.removeprefix(MARK) for line in path.read_text("utf-8").splitlines() if line.startswith(MARK)]

    with pytest.raises(BadInputError) as refused:
        load([str(path)], closed=True)

    found = [
        line.removeprefix(f"{path}:").replace(str(path), "FILE").replace(str(path.parent), "FOLDER")
        for line in refused.value.lines
    ]
    assert found == expected


def test_the_flaws_of_all_files_come_at_once() -> None:
    with pytest.raises(BadInputError) as refused:
        load([str(BROKEN)], closed=True)

    named = {line.partition(".yaml:")[0] for line in refused.value.lines}
    assert named == {str(path.with_suffix("")) for path in BROKEN.glob("*.yaml")}


def test_there_is_a_broken_document_for_each_kind_of_flaw() -> None:
    assert len(list(BROKEN.glob("*.yaml"))) >= 90
