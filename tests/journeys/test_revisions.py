"""The commands around revisions against the real services: what changed, the way back, copies, and the end of objects."""

from collections.abc import Iterator
from textwrap import indent

import pytest

from tests.builders.documents import HASH, document
from tests.builders.elevation import pem
from tests.builders.installation import Installation, installation

pytestmark = pytest.mark.xdist_group("revisions")
RULES = """\
{{
  platform: WINDOWS,
  rules: [{{name: setup, elevationType: {type}, detection: {{fileName: setup.exe, fileHash: {hash}{more}}}}}],
  assignments: {{include: [{{group: {group}}}]}}
}}"""
CERTIFICATE = document("ReusableCertificate", "vendor", f"\n  pem: |\n{indent(pem('vendor'), '    ')}")
TABLE = ("revisions", "list", "rules-policy", "kept", "--output", "json")


def rules(name: str = "tools", *, type: str = "USER_CONFIRMED", more: str = "", group: str = "all-devices") -> str:  # noqa: A002 - a word of documents
    return document("ElevationRulesPolicy", name, RULES.format(type=type, hash=HASH, more=more, group=group))


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    with installation(tmp_path_factory.mktemp("revisions")) as made:
        yield made


def test_a_policy_goes_back_to_what_it_was_and_the_way_is_kept(there: Installation) -> None:
    there.apply(rules("kept"))
    there.apply(rules("kept", type="DENY", group="all-users"))

    newest, oldest = there.must("epm", *TABLE).json()
    assert (newest["action"], oldest["action"], newest["asCode"]) == ("UPDATED", "CREATED", True)
    shown = there.must("epm", "revisions", "show", "rules-policy", "kept", str(oldest["change"])).output
    assert "elevationType: USER_CONFIRMED" in shown
    differs = there.must("epm", "revisions", "diff", "rules-policy", "kept").output
    assert '~ rules[setup].elevationType: "USER_CONFIRMED" -> "DENY"' in differs

    back = ("revisions", "rollback", "rules-policy", "kept", str(oldest["change"]), "--reason", "INC-1")
    unanswered = there.run("epm", *back)
    assert (unanswered.code, "give --yes" in unanswered.errors) == (2, True)
    assert there.run("epm", *back, text="n\n").code == 1
    assert len(there.must("epm", *TABLE).json()) == 2

    done = there.must("epm", *back, text="y\n")
    assert '~ rules[setup].elevationType: "DENY" -> "USER_CONFIRMED"' in done.output
    rolled, *_ = there.must("epm", *TABLE).json()
    assert (rolled["rolledBackTo"], rolled["reason"]) == (oldest["change"], "INC-1")
    now = there.must("epm", "get", "rules-policy", "kept").output
    assert ("elevationType: USER_CONFIRMED" in now, "group: all-users" in now) == (True, True)

    again = there.must("epm", *back, "--yes", "--output", "json")
    assert again.json()["rolledBack"] is False
    there.must("epm", *back, "--yes", "--with-assignments")
    assert "group: all-devices" in there.must("epm", "get", "rules-policy", "kept").output


def test_a_copy_is_for_nobody_and_may_be_deleted_and_brought_back(there: Installation) -> None:
    there.apply(rules())
    made = there.must("epm", "duplicate", "rules-policy", "tools", "tools-2", "--output", "json").json()["object"]
    assert (made["metadata"]["name"], "assignments" in made["spec"]) == ("tools-2", False)
    assert there.run("epm", "duplicate", "rules-policy", "tools", "tools-2").code == 1

    assert there.run("epm", "delete", "rules-policy", "tools-2", text="n\n").code == 1
    assert (
        there.must("epm", "delete", "rules-policy", "tools-2", "--yes").output
        == "deleted  ElevationRulesPolicy tools-2\n"
    )
    assert there.run("epm", "delete", "rules-policy", "tools-2", "--yes").code == 1
    deleted, created = there.must("epm", "revisions", "list", "rules-policy", "tools-2", "--output", "json").json()
    assert deleted["action"] == "DELETED"
    there.must("epm", "revisions", "rollback", "rules-policy", "tools-2", str(created["change"]), "--yes")
    assert "name: tools-2" in there.must("epm", "get", "rules-policy", "tools-2").output


def test_a_certificate_that_rules_name_stays_and_they_are_told(there: Installation) -> None:
    there.apply(CERTIFICATE + "---\n" + rules(more=", certificate: {reusable: vendor, type: PUBLISHER}"))
    refused = there.run("epm", "delete", "certificate", "vendor", "--yes")
    assert (refused.code, "tools/setup" in refused.errors) == (1, True)


def test_groups_and_roles_are_deleted_too_and_devices_are_not(there: Installation) -> None:
    there.apply(
        document("Group", "few", "{type: USER}") + "---\n" + document("Role", "r", "{rights: [roles.read]}"),
        name="more.yaml",
    )
    for kind, name in (("group", "few"), ("role", "r")):
        there.must("epm", "delete", kind, name, "--yes")
        assert there.run("epm", "get", kind, name).code == 1
    refused = there.run("epm", "delete", "device", "ws-1", "--yes")
    assert (refused.code, refused.errors.startswith("devices cannot be deleted by this command; what can: ")) == (
        2,
        True,
    )


@pytest.mark.parametrize("command", ["list", "show", "diff"])
def test_what_never_was_has_no_revisions(there: Installation, command: str) -> None:
    refused = there.run("epm", "revisions", command, "rules-policy", "unheard-of")
    assert refused.code == 1
    refused = there.run("epm", "revisions", command, "group", "few")
    assert (refused.code, "groups have no revisions" in refused.errors) == (2, True)
