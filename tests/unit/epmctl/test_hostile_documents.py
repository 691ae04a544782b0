"""Documents that would eat time or memory, or show what they are not, are refused early and with their place."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from epmctl.documents import nodes
from epmctl.documents.checks import check_drafts
from epmctl.documents.files import Source
from epmctl.documents.load import _read_source, load
from epmctl.documents.shapes import Shape
from epmctl.errors import BadInputError, Flaw
from tests.builders.documents import GROUP, HASH, RULES, document, write_documents

MEGABYTE = 1024 * 1024


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Count the events of YAML that are taken, in the only entry."""
    counted = [0]
    read = nodes._events

    def counting(text: str) -> Iterator[yaml.Event]:
        for event in read(text):
            counted[0] += 1
            yield event

    monkeypatch.setattr(nodes, "_events", counting)
    return counted


def refusals(folder: Path, *documents: str) -> list[str]:
    """Give what is refused, without the name of the file before it."""
    file = write_documents(folder, *documents)
    with pytest.raises(BadInputError) as refused:
        load([str(file)], closed=False)
    return [line.removeprefix(f"{file}:").removeprefix(f"{file}").strip(": ") for line in refused.value.lines]


def test_a_document_of_ten_megabytes_is_given_up_long_before_its_end(tmp_path: Path, taken: list[int]) -> None:
    entry = "    - {name: r, detection: {fileName: a.exe}}\n"
    large = "apiVersion: openepm/v1\nkind: ElevationRulesPolicy\nmetadata: {name: p}\nspec:\n  platform: WINDOWS\n  rules:\n"
    whole = large + entry * (10 * MEGABYTE // len(entry) - 10)

    (line,) = [line for line in refusals(tmp_path, whole) if "characters" in line]

    assert line.endswith("a document of more than 4194304 characters, which no server takes; split it")
    assert ": spec.rules[" in line
    assert taken[0] < 12 * (nodes.MAX_DOCUMENT // len(entry) + 2), "what follows the limit was read"


def test_one_text_of_ten_megabytes_is_refused_and_not_repeated(tmp_path: Path) -> None:
    lines = refusals(tmp_path, document("Group", "x" * (9 * MEGABYTE), "{type: USER}"))
    assert all(len(line) < 500 for line in lines)
    assert any("a document of more than 4194304 characters" in line for line in lines)

    (line,) = refusals(tmp_path, document("Group", "x" * MEGABYTE, "{type: USER}"))
    assert line == "3: metadata.name: longer than 65536 characters; shorten it"


def test_a_key_that_is_too_long_is_refused_and_not_repeated(tmp_path: Path) -> None:
    lines = refusals(tmp_path, document("Group", "g", f"{{type: USER, {'k' * 1000}: 1}}"))
    assert lines == [f"4: spec.{'k' * 40}…: a key of 1000 characters; at most 256 are allowed"]


def test_a_bomb_of_aliases_costs_no_more_than_its_text(tmp_path: Path, taken: list[int]) -> None:
    levels = [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 30)]
    lines = refusals(tmp_path, "a0: &a0 [lol]\n" + "\n".join(levels) + "\n")

    assert lines[0] == "1: a0: anchor &a0 is not read; remove it"
    assert lines[1].startswith("2: a1: anchor &a1")
    assert taken[0] < 400, "aliases were followed"


def test_a_million_aliases_end_after_a_hundred(tmp_path: Path, taken: list[int]) -> None:
    lines = refusals(tmp_path, "a: [" + "*x, " * 200_000 + "b]\n")
    assert len(lines) == nodes.MAX_STRUCTURAL_FLAWS + 1
    assert any(line.endswith("100 flaws so far; the rest of the file is not read") for line in lines)
    assert taken[0] < 150


@pytest.mark.parametrize("nest", ["[", "{a: ", "- ", "? "])
def test_nesting_ends_at_its_limit(tmp_path: Path, taken: list[int], nest: str) -> None:
    lines = refusals(tmp_path, nest * 50_000 + "\n")
    assert any("nested deeper than 32 levels" in line or "not valid YAML" in line for line in lines)
    assert taken[0] < 200


def test_a_hundred_thousand_flaws_come_to_a_thousand(tmp_path: Path) -> None:
    lines = refusals(tmp_path, document("Group", "g", "{type: USER, members: [" + "1, " * 90_000 + "2]}"))
    assert len(lines) <= nodes.MAX_FLAWS + 2
    assert f"more than {nodes.MAX_FLAWS} flaws; the others are not shown" in lines
    assert any(line.startswith("4: spec.members[0]: must be text, not the number 1") for line in lines)


def test_a_hundred_thousand_unknown_keys_are_compared_a_thousand_times(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[str] = []

    def compare(key: str, shape: Shape) -> str:
        compared.append(key)
        return f"none of {len(shape.keys)}"

    monkeypatch.setattr("epmctl.documents.fields._suggestion", compare)
    refusals(tmp_path, document("Group", "g", "{type: USER, " + ", ".join(f"k{n}: 1" for n in range(100_000)) + "}"))
    assert len(compared) <= nodes.MAX_FLAWS + 1


def test_many_problems_of_meaning_come_to_a_thousand(tmp_path: Path) -> None:
    rules = ", ".join(f"{{name: r{n}, detection: {{fileName: '**'}}}}" for n in range(2000))
    lines = refusals(tmp_path, document("ElevationRulesPolicy", "p", f"{{platform: WINDOWS, rules: [{rules}]}}"))
    assert len(lines) == nodes.MAX_FLAWS + 1
    assert f"more than {nodes.MAX_FLAWS} problems; the others are not shown" in lines


def test_a_key_given_twice_is_refused_wherever_it_is(tmp_path: Path) -> None:
    text = f"""apiVersion: openepm/v1
kind: ElevationRulesPolicy
metadata: {{name: p, name: q}}
spec:
  platform: WINDOWS
  platform: LINUX
  rules:
    - name: r
      detection: {{fileName: a.exe, fileHash: {HASH}, fileName: b.exe}}
"""
    assert refusals(tmp_path, text) == [
        "3: metadata.name: duplicate key, first given on line 3; keep one",
        "6: spec.platform: duplicate key, first given on line 5; keep one",
        "9: spec.rules[0].detection.fileName: duplicate key, first given on line 9; keep one",
    ]


HIDDEN = {
    "escape": "\\e",
    "null": "\\0",
    "right-to-left override": "\\u202e",
    "isolate": "\\u2066",
    "zero width space": "\\u200b",
    "zero width joiner": "\\u200d",
    "soft hyphen": "\\u00ad",
    "byte order mark": "\\ufeff",
    "line separator": "\\u2028",
    "filler": "\\u3164",
    "tag": "\\U000e0041",
}


@pytest.mark.parametrize("escape", HIDDEN.values(), ids=HIDDEN)
def test_what_does_not_show_is_refused_in_names_facts_and_labels(tmp_path: Path, escape: str) -> None:
    text = f"""apiVersion: openepm/v1
kind: ElevationRulesPolicy
metadata: {{name: "p{escape}x", labels: {{"o{escape}x": a, b: "o{escape}x"}}}}
spec:
  platform: WINDOWS
  rules:
    - name: "r{escape}"
      detection: {{fileName: "a{escape}.exe", fileHash: {HASH}}}
"""
    lines = refusals(tmp_path, text)
    assert [line.split(": ")[0] for line in lines] == ["3", "3", "3", "7", "8"]
    assert all("control or invisible character U+" in line for line in lines)
    assert all(line.isprintable() for line in lines), "a refusal shows what was refused"


NAMES = {
    "pаypal": '"pаypal" mixes Latin and Cyrillic (а is U+0430); write each word in one alphabet',  # noqa: RUF001
    "the-αdmins": '"αdmins" mixes Latin and Greek (α is U+03B1); write each word in one alphabet',  # noqa: RUF001
    "ﬁnance": "holds ﬁ (U+FB01), which passes for 'fi'; write 'fi'",
    "ａdmins": "holds ａ (U+FF41), which passes for 'a'; write 'a'",  # noqa: RUF001
    "a\u00a0b": "holds U+00A0, which passes for ' '; write ' '",
    "cafe\u0301": "holds U+0301, which stands apart from its letter; write 'café', composed (NFC)",
    "\u212a": "holds \u212a (U+212A), which passes for 'K'; write 'K'",
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("kind", "spec"),
    [
        ("Group", "{type: USER}"),
        ("Role", "{rights: []}"),
        ("ScopeTag", "{}"),
        ("ElevationSettingsPolicy", "{}"),
        ("PrincipalGroup", "{members: []}"),
    ],
)
def test_a_name_that_passes_for_another_is_refused(tmp_path: Path, name: str, kind: str, spec: str) -> None:
    assert refusals(tmp_path, document(kind, name, spec)) == [f"3: metadata.name: {NAMES[name]}"]


def test_a_rule_that_passes_for_another_is_refused(tmp_path: Path) -> None:
    (line,) = refusals(tmp_path, RULES.replace("vscode-setup", "vscоde"))  # noqa: RUF001
    assert line.startswith("7: spec.rules[0].name: ")


@pytest.mark.parametrize(
    "name",
    [
        "日本語テスト",
        "開発（東京）",  # noqa: RUF001
        "Größe",
        "ПК бухгалтерии",
        "IT-отдел",
        "Ελλάδα",
        "Łódź",
        "한국어",
        "β-testers",
        "m² 2º",
        "❤",
    ],
)
def test_names_of_one_alphabet_a_word_are_taken(tmp_path: Path, name: str) -> None:
    (found,) = load([str(write_documents(tmp_path, document("Group", name, "{type: USER}")))], closed=False).groups()
    assert found.name == name


def test_members_are_named_by_others_and_may_be_called_anything(tmp_path: Path) -> None:
    text = GROUP.replace("[alice, bob]", '["pаypal", "cafe\u0301"]')  # noqa: RUF001
    (found,) = load([str(write_documents(tmp_path, text))], closed=False).groups()
    assert len(found.members) == 2


def test_two_names_that_look_the_same_are_refused(tmp_path: Path) -> None:
    twins = [document("Group", name, "{type: USER}") for name in ("COP", "СОР", "Cop")]  # noqa: RUF001
    (line,) = refusals(tmp_path, *twins)
    assert line.startswith('8: metadata.name: Group "СОР" stands as "COP", which looks the same, in ')  # noqa: RUF001
    assert line.endswith(":3 too; rename one")


PIECES = st.sampled_from(
    [
        *"{}[]:,-?&*!|>'\"#%@`\n\t\\ ",
        "\n  ",
        "\n- ",
        ": ",
        "---\n",
        "...\n",
        "<<: ",
        "!!python/object:os.system ",
        "&a ",
        "*a",
        "apiVersion: openepm/v1\n",
        "kind: Group\n",
        "metadata: {name: g}\n",
        "spec: {type: USER}\n",
        "~",
        "0x1f",
        "2026-01-01",
        "\ufeff",
        "\x00",
        "\u2028",
        '"\\ud800"',
        '"\\0"',
        "%YAML 9.9\n",
    ]
)


@settings(deadline=None)
@given(st.lists(PIECES | st.text(max_size=5), max_size=60).map("".join))
def test_any_text_is_read_or_refused_with_its_place(text: str) -> None:
    flaws: list[Flaw] = []
    read = _read_source(Source("it.yaml", text), flaws)
    flaws += check_drafts(read, tuple(flaws), closed=False)
    assert all(str(flaw).startswith("it.yaml") and str(flaw).isprintable() for flaw in flaws)


@settings(deadline=None)
@given(st.data())
def test_a_document_with_a_stretch_of_it_replaced_is_read_or_refused(data: st.DataObject) -> None:
    whole = f"{RULES}---\n{GROUP}"
    start, length = data.draw(st.integers(0, len(whole))), data.draw(st.integers(0, 20))
    text = whole[:start] + data.draw(st.text(max_size=10) | PIECES) + whole[start + length :]
    flaws: list[Flaw] = []
    read = _read_source(Source("it.yaml", text), flaws)
    flaws += check_drafts(read, tuple(flaws), closed=False)
    assert all(str(flaw).isprintable() for flaw in flaws)


def test_a_file_of_very_many_documents_is_given_up_at_its_limit(tmp_path: Path, taken: list[int]) -> None:
    lines = refusals(tmp_path, *["kind: nonsense\n" for _ in range(6 * nodes.MAX_DOCUMENTS)])
    assert lines == [f"{2 * nodes.MAX_DOCUMENTS}: more than {nodes.MAX_DOCUMENTS} documents; split the file"]
    assert taken[0] < 7 * (nodes.MAX_DOCUMENTS + 1)


def test_too_many_values_are_told_with_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nodes, "MAX_NODES", 9)
    assert "4: more than 9 values; split the file" in refusals(tmp_path, GROUP, GROUP)
