"""Documents in which rules get in each other's way (L19, L20, L21), and documents in which they nearly do."""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import pytest

from elevation.lint.findings import Finding
from tests.builders.elevation import pem
from tests.builders.linting import Mapped, lint

A, B = "a" * 64, "b" * 64
VENDOR = {"pem": pem("vendor"), "type": "PUBLISHER"}
OTHER = {"pem": pem("other"), "type": "PUBLISHER"}
ISSUING = {"pem": pem("issuing"), "type": "CERTIFICATE_AUTHORITY"}
FOLDER = "C:\\Program Files\\Vendor"
DEVICES, USERS = "all-devices", "all-users"
GROUPS: tuple[Mapped, ...] = (
    {"kind": "Group", "metadata": {"name": "laptops"}, "spec": {"type": "DEVICE", "members": ["l1"]}},
    {"kind": "Group", "metadata": {"name": "kiosks"}, "spec": {"type": "DEVICE", "members": ["k1"]}},
    {"kind": "Group", "metadata": {"name": "planned"}, "spec": {"type": "DEVICE", "members": []}},
    {"kind": "Group", "metadata": {"name": "both"}, "spec": {"type": "DEVICE", "members": ["l1", "k1"]}},
    {"kind": "Group", "metadata": {"name": "developers"}, "spec": {"type": "USER", "members": ["alice"]}},
)


def rule(
    name: str, elevation_type: str = "USER_CONFIRMED", arguments: list[str] | None = None, **detection: Any
) -> Mapped:
    """Write a rule; it allows what vendor signed, unless the detection says otherwise."""
    found = {"fileName": "setup.exe", "certificate": VENDOR, **detection}
    written: dict[str, Any] = {
        "name": name,
        "elevationType": elevation_type,
        "detection": {key: deepcopy(value) for key, value in found.items() if value},
    }
    return written if arguments is None else {**written, "arguments": arguments}


def rules_policy(name: str, *rules: Mapped, group: str = DEVICES, platform: str = "WINDOWS", **more: Any) -> Mapped:
    assignments = {"include": [{"group": group, **more.pop("narrowed", {})}], **more}
    spec = {"platform": platform, "rules": list(rules), "assignments": assignments}
    return {"kind": "ElevationRulesPolicy", "metadata": {"name": name}, "spec": spec}


def found_in(check: str, *documents: Mapped) -> list[Finding]:
    return [finding for finding in lint(*GROUPS, *documents) if finding.check == check]


@dataclass(frozen=True)
class Pair:
    """Two rules, the first of which may take the files of the second away."""

    name: str
    first: Mapping[str, Any]
    second: Mapping[str, Any]
    platform: str = "WINDOWS"


SHADOWED = [
    Pair("a Deny rule for any signer", rule("x", "DENY", certificate=None, fileHash=A), rule("y", fileHash=A)),
    Pair("a Deny rule for a pattern", rule("x", "DENY", fileName="*.exe"), rule("y", fileName="setup*.exe")),
    Pair("a Deny rule in another case", rule("x", "DENY", fileName="SETUP.EXE"), rule("y")),
    Pair("a Deny rule for every folder", rule("x", "DENY"), rule("y", filePath=FOLDER)),
    Pair("folders by a pattern", rule("x", "DENY", filePath="c:\\*\\vendor\\"), rule("y", filePath=FOLDER)),
    Pair("an older version", rule("x", "DENY", minimumVersion="1.2"), rule("y", minimumVersion="1.10")),
    Pair("the same rule", rule("x"), rule("y")),
    Pair("another type goes first", rule("x"), rule("y", "SUPPORT_APPROVED")),
    Pair("an argument list counts", rule("x", arguments=["/a"]), rule("y")),
    Pair("an equal hash of any case", rule("x", fileHash=A), rule("y", "AUTOMATIC", fileHash=A.upper())),
]
NEARLY_SHADOWED = [
    Pair("a Deny rule for another signer", rule("x", "DENY", certificate=OTHER), rule("y")),
    Pair("a Deny rule for one folder", rule("x", "DENY", filePath=FOLDER), rule("y")),
    Pair("a folder and those below it", rule("x", "DENY", filePath="C:\\*"), rule("y", filePath=FOLDER)),
    Pair("a newer version", rule("x", "DENY", minimumVersion="2"), rule("y", minimumVersion="1.10")),
    Pair("a version that may be missing", rule("x", "DENY", minimumVersion="0"), rule("y")),
    Pair("a pattern with a rest", rule("x", "DENY", fileName="setup?.exe"), rule("y", fileName="setup*.exe")),
    Pair("a product", rule("x", "DENY", productName="p"), rule("y", productName="q")),
    Pair("an allow rule that is narrower", rule("x", fileName="*.exe"), rule("y", filePath=FOLDER)),
    Pair("a type that goes last", rule("y", "AUTOMATIC", fileHash=A), rule("x", "DENY", fileHash=B)),
    Pair("a Deny rule that goes first itself", rule("x", filePath=FOLDER), rule("y", "DENY", filePath=FOLDER + "2")),
    Pair("the issuer", rule("x", "DENY", certificate=ISSUING), rule("y")),
    Pair(
        "a path that others can write",
        {**rule("x", "DENY", fileName="tool", certificate=None, filePath="/opt"), "childProcesses": "DENY"},
        {**rule("y", fileName="tool", certificate=None, filePath="/opt", fileHash=A), "childProcesses": "DENY"},
        "LINUX",
    ),
    Pair(
        "another case on LINUX",
        {**rule("x", "DENY", fileName="Tool", certificate=None, filePath="/opt"), "childProcesses": "DENY"},
        {**rule("y", fileName="tool", certificate=None, filePath="/opt"), "childProcesses": "DENY"},
        "LINUX",
    ),
]


@pytest.mark.parametrize("pair", SHADOWED, ids=lambda pair: pair.name)
def test_a_rule_that_never_decides_is_found(pair: Pair) -> None:
    (finding,) = found_in("L19", rules_policy("p", pair.first, pair.second))

    assert (finding.subject.rule, finding.path, finding.severity.name) == ("y", "rules[1]", "WARNING")
    assert [one.rule for one in finding.related] == ["x"]
    assert finding.message.startswith("is never reached")


@pytest.mark.parametrize("pair", NEARLY_SHADOWED, ids=lambda pair: pair.name)
def test_a_rule_that_decides_now_and_then_is_not_found(pair: Pair) -> None:
    assert found_in("L19", rules_policy("p", pair.first, pair.second, platform=pair.platform)) == []


def test_a_rule_is_shadowed_by_policies_for_more_devices() -> None:
    (finding,) = found_in("L19", rules_policy("a", rule("x", "DENY")), rules_policy("b", rule("y"), group="laptops"))

    assert finding.message.startswith("is never reached: a Deny rule of another policy")
    assert (finding.subject.name, [(one.name, one.rule) for one in finding.related]) == ("b", [("a", "x")])


def test_a_rule_is_shadowed_only_where_the_other_policy_applies() -> None:
    (finding,) = found_in("L19", rules_policy("a", rule("x", "DENY"), group="laptops"), rules_policy("b", rule("y")))

    assert finding.message.startswith("does not decide where both policies apply: a Deny rule of another policy")
    assert finding.severity.name == "INFO"
    assert finding.why == "Where both policies apply, the other rule decides; everywhere else this one counts."
    assert finding.remedy.startswith("Leave it as it is if the other rule is a meant exception")


@pytest.mark.parametrize("check", ["L19", "L20"])
def test_groups_that_list_no_common_member_today_have_nothing_to_do_with_each_other(check: str) -> None:
    assert found_in(check, *_getting_in_the_way(check, "laptops", "kiosks")) == []
    assert found_in(check, *_getting_in_the_way(check, "laptops", "planned"))


def _getting_in_the_way(check: str, one: str, other: str) -> list[Mapped]:
    first = rule("x", "DENY" if check == "L19" else "USER_CONFIRMED")
    second = rule("y", "SUPPORT_APPROVED")
    return [rules_policy("a", first, group=one), rules_policy("b", second, group=other)]


def test_a_rule_for_users_takes_the_files_of_one_for_devices() -> None:
    (finding,) = found_in("L19", rules_policy("a", rule("y")), rules_policy("b", rule("x"), group=USERS))

    assert finding.subject.name == "a"
    assert "targeted at users" in finding.message


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"group": "laptops"}, {"group": DEVICES, "exclude": [{"group": "laptops"}]}),
        ({"narrowed": {"filter": "tag = a"}}, {"narrowed": {"filter": "NOT tag = a"}}),
        ({"narrowed": {"filter": "tag = a"}}, {"narrowed": {"filter": "tag = a", "filterMode": "EXCLUDE"}}),
        ({"narrowed": {"filter": "os = linux"}}, {}),
    ],
)
def test_policies_that_never_meet_shadow_nothing(one: Mapped, other: Mapped) -> None:
    documents = [rules_policy("a", rule("x", "DENY"), **one), rules_policy("b", rule("y"), **other)]

    assert found_in("L19", *documents) == []


def test_many_shadows_on_a_rule_are_one_finding_with_the_one_for_everybody_first() -> None:
    some = [rules_policy(f"a{number}", rule("x", "DENY"), group="laptops") for number in range(8)]

    findings = found_in("L19", *some, rules_policy("b", rule("y")), rules_policy("z", rule("all", "DENY")))

    (finding,) = [found for found in findings if found.subject.rule == "y"]
    assert finding.message.startswith("is never reached")
    assert [one.name for one in finding.related] == ["z", "a0", "a1", "a2", "a3"]


TIED = [
    Pair("the same file", rule("x"), rule("y", "SUPPORT_APPROVED")),
    Pair("the same hash", rule("x", fileHash=A, filePath=FOLDER), rule("y", "AUTOMATIC", fileHash=A)),
    Pair("patterns that share a name", rule("x", fileName="s*.exe"), rule("y", "CURRENT_USER", fileName="*p.exe")),
    Pair("different attributes", rule("x", productName="p"), rule("y", "SUPPORT_APPROVED", filePath=FOLDER)),
    Pair("a publisher and its issuer", rule("x", certificate=ISSUING), rule("y", "SUPPORT_APPROVED")),
]
NEARLY_TIED = [
    Pair("one type", rule("x", fileName="s*.exe"), rule("y", fileName="*p.exe")),
    Pair("one is more specific", rule("x"), rule("y", "SUPPORT_APPROVED", productName="p")),
    Pair("an argument list is more specific", rule("x", arguments=[]), rule("y", "SUPPORT_APPROVED")),
    Pair("one has a hash", rule("x"), rule("y", "SUPPORT_APPROVED", fileHash=A)),
    Pair("different hashes", rule("x", fileHash=A), rule("y", "SUPPORT_APPROVED", fileHash=B)),
    Pair("different names", rule("x", fileName="a*.exe"), rule("y", "SUPPORT_APPROVED", fileName="b*.exe")),
    Pair("different products", rule("x", productName="p"), rule("y", "SUPPORT_APPROVED", productName="q")),
    Pair("different signers", rule("x"), rule("y", "SUPPORT_APPROVED", certificate=OTHER)),
    Pair("different folders", rule("x", filePath="C:\\A"), rule("y", "SUPPORT_APPROVED", filePath="C:\\?\\A")),
    Pair("a Deny rule", rule("x", "DENY"), rule("y", "SUPPORT_APPROVED")),
]


@pytest.mark.parametrize("pair", TIED, ids=lambda pair: pair.name)
def test_rules_that_their_types_alone_put_in_order_are_found(pair: Pair) -> None:
    (finding,) = found_in("L20", rules_policy("p", pair.first, pair.second))

    assert (finding.subject.rule, [one.rule for one in finding.related]) == ("y", ["x"])
    assert (finding.severity.name, finding.path) == ("WARNING", "rules[1]")


@pytest.mark.parametrize("pair", NEARLY_TIED, ids=lambda pair: pair.name)
def test_rules_that_something_else_puts_in_order_are_not_found(pair: Pair) -> None:
    assert found_in("L20", rules_policy("p", pair.first, pair.second)) == []


def test_ties_are_found_between_policies_that_are_targeted_alike() -> None:
    one, other = rule("x"), rule("y", "SUPPORT_APPROVED")

    assert found_in("L20", rules_policy("a", one, group="both"), rules_policy("b", other, group="kiosks"))
    assert not found_in("L20", rules_policy("a", one, group=USERS), rules_policy("b", other, group="kiosks"))


def test_a_rule_that_ties_with_many_is_one_finding() -> None:
    others = [rules_policy(f"a{number}", rule("x", productName=f"p{number}")) for number in range(8)]

    (finding,) = found_in("L20", *others, rules_policy("b", rule("y", "SUPPORT_APPROVED", filePath=FOLDER)))

    assert [one.name for one in finding.related] == ["a0", "a1", "a2", "a3", "a4"]
    assert "(and others)" in finding.message


def test_a_weak_rule_for_users_before_a_hash_for_devices_is_found() -> None:
    (finding,) = found_in(
        "L21",
        rules_policy("a", rule("strong", fileHash=A), group="laptops"),
        rules_policy("b", rule("weak", fileName="*.exe"), group="developers"),
    )

    assert (finding.subject.name, finding.subject.rule, finding.severity.name) == ("b", "weak", "WARNING")
    assert [(one.name, one.rule) for one in finding.related] == [("a", "strong")]


@pytest.mark.parametrize(
    ("strong", "weak", "group", "hashed_for"),
    [
        (rule("strong", fileHash=A), rule("weak", fileHash=A), USERS, DEVICES),
        (rule("strong", fileHash=A), rule("weak"), DEVICES, DEVICES),
        (rule("strong", fileHash=A), rule("weak"), USERS, USERS),
        (rule("strong", fileHash=A), rule("weak", fileName="other.exe"), USERS, DEVICES),
        (rule("strong", fileHash=A), rule("weak", "DENY"), USERS, DEVICES),
        (rule("strong", "DENY", fileHash=A), rule("weak"), USERS, DEVICES),
    ],
)
def test_rules_that_are_nearly_so_are_not_found(strong: Mapped, weak: Mapped, group: str, hashed_for: str) -> None:
    documents = [rules_policy("a", strong, group=hashed_for), rules_policy("b", weak, group=group)]

    assert found_in("L21", *documents) == []


@pytest.mark.parametrize("check", ["L19", "L20"])
def test_a_finding_about_a_rule_is_accepted_there(check: str) -> None:
    accepting = {**rule("y", "SUPPORT_APPROVED"), "lint": [{"ignore": check, "reason": "for now"}]}

    (finding,) = found_in(check, rules_policy("p", rule("x"), accepting))

    assert finding.ignored_because == "for now"


def test_messages_name_no_other_policy() -> None:
    documents = [rules_policy("hidden", rule("concealed", "DENY")), rules_policy("b", rule("y"))]

    messages = [finding.message for finding in lint(*documents) if finding.subject.name == "b"]

    assert not [message for message in messages if "hidden" in message or "concealed" in message]
