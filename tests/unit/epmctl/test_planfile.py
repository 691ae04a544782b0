"""Plans are kept whole, for one server, and readable by their owner alone."""

import hashlib
import json
import stat
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from epmctl.ascode.binding import Terms
from epmctl.ascode.canonical import of_documents
from epmctl.ascode.plan import Owner
from epmctl.ascode.planfile import (
    Installation,
    PlanFile,
    installation_of,
    read_plan,
    refuse_other_server,
    write_plan,
)
from epmctl.documents.load import load, load_texts
from epmctl.documents.model import Kind
from epmctl.errors import BadInputError
from epmctl.profile import Profile
from tests.builders.documents import GROUP, RULES, SETTINGS, write_documents

HERE = Installation("epm.example.com:443", "abc")
GROUP_REF = (Kind.Group, "developers")


def plan(**values: Any) -> PlanFile:
    kept = PlanFile(
        installation=HERE,
        created="2026-11-23T12:00:00+00:00",
        documents=[],
        terms=Terms(
            {GROUP_REF: "e1", (Kind.ReusableCertificate, "b"): ""},
            ((Kind.ReusableCertificate, "b"),),
            Owner("k", "v=w"),
        ),
    )
    return replace(kept, **values)


def refused(place: Path) -> str:
    with pytest.raises(BadInputError) as error:
        read_plan(str(place))
    (line,) = error.value.lines
    return line.removeprefix(f"{place}: ")


def test_a_plan_comes_back_as_it_was_kept(tmp_path: Path) -> None:
    write_plan(tmp_path / "p", plan())
    assert read_plan(str(tmp_path / "p")) == plan()


def test_the_documents_in_it_read_as_those_of_the_files(tmp_path: Path) -> None:
    odd = GROUP.replace("developers", '"d: \\U0001F600 é"').replace("alice", '"a: b"')
    files = of_documents(load([str(write_documents(tmp_path, SETTINGS, RULES, odd))], closed=False).documents)
    write_plan(tmp_path / "p", plan(documents=list(files.values())))
    kept = read_plan(str(tmp_path / "p"))
    assert of_documents(load_texts(kept.sources("p")).documents) == files


def test_only_its_owner_reads_it(tmp_path: Path) -> None:
    write_plan(tmp_path / "p", plan())
    assert stat.S_IMODE((tmp_path / "p").stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["p"]


def test_a_plan_that_was_changed_by_hand_is_refused(tmp_path: Path) -> None:
    write_plan(tmp_path / "p", plan())
    text = (tmp_path / "p").read_text()
    (tmp_path / "p").write_text(text.replace("developers", "everybody"))
    assert refused(tmp_path / "p") == "is damaged or was changed by hand; plan again"


def test_a_plan_that_was_cut_off_and_what_is_no_plan_are_refused(tmp_path: Path) -> None:
    write_plan(tmp_path / "p", plan())
    for text in ((tmp_path / "p").read_text()[:-9], "", "[]", "{}", "kind: Group"):
        (tmp_path / "q").write_text(text)
        assert refused(tmp_path / "q") == "holds no plan; epm plan -o FILE writes one"


@pytest.mark.parametrize("change", [{"deletions": None}, {"expected": [{"kind": "Nothing", "name": "a", "etag": ""}]}])
def test_what_is_no_plan_is_refused_with_the_right_digest_too(tmp_path: Path, change: dict[str, object]) -> None:
    write_plan(tmp_path / "p", plan())
    whole = json.loads((tmp_path / "p").read_text())
    content = {**whole["content"], **change}
    digest = hashlib.sha256(json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()).hexdigest()
    (tmp_path / "p").write_text(json.dumps({**whole, "content": content, "digest": digest}))
    assert refused(tmp_path / "p") == "is no plan of epm's, for all that its digest is right; plan again"


def test_a_plan_of_another_version_is_refused(tmp_path: Path) -> None:
    write_plan(tmp_path / "p", plan())
    whole = json.loads((tmp_path / "p").read_text())
    (tmp_path / "p").write_text(json.dumps({**whole, "formatVersion": 2}))
    assert refused(tmp_path / "p") == "has a format that this epm does not know; plan again with this epm"


@pytest.mark.parametrize("other", [replace(HERE, server="other:443"), replace(HERE, ca_digest="def")])
def test_a_plan_is_for_one_server_by_its_address_and_its_ca(other: Installation) -> None:
    refuse_other_server(plan(), HERE, "p")
    with pytest.raises(BadInputError, match="p: was made for "):
        refuse_other_server(plan(), other, "p")


def test_a_ca_is_the_same_however_its_lines_are_broken() -> None:
    one, same, other = (installation_of(Profile("s:1", ca, "t")) for ca in ("A\nB\n", "AB", "AC"))
    assert one == same != other


def test_a_folder_that_is_not_there_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="cannot be written"):
        write_plan(tmp_path / "none" / "p", plan())
