"""Simulations and effective policies over TLS: what is told, to whom, and what is refused."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from elevation.model import (
    DefaultResponse,
    ElevationType,
    Grant,
    Parent,
    ReportingScope,
    ReusableCertificate,
    Trigger,
)
from epm.elevation.v1 import decision_pb2, document_pb2, event_pb2, rules_pb2
from epm.policy.v1 import analysis_pb2, policies_pb2
from services.policy.codec.authored import certificate_to_proto, rules_policy_to_proto
from tests.builders.analysis import Questions, named, office, questions, simulate_request, tagged, tools
from tests.builders.elevation import HASH, NOW, attempt, certificate, evidence, rule, signer
from tests.builders.refusals import refusal_of
from tests.fakes.policy_delivery import device, rules, settings, stored

FILE = evidence()
APPROVED = ElevationType.SUPPORT_APPROVED
UNMATCHED = 'D1 does not match the filter os = "linux"'
OUTCOME, SOURCE = event_pb2.Outcome.Name, event_pb2.Source.Name


@pytest.fixture
async def asked(tmp_path: Path) -> AsyncIterator[Questions]:
    async with questions(tmp_path, office()) as made:
        yield made


async def simulated(
    asked: Questions, by: str = "root", draft: analysis_pb2.Draft | None = None, **attempted: Any
) -> Any:
    return await asked.send("Simulate", simulate_request(attempt(FILE, **attempted), "d1", draft=draft), by)


async def test_a_rule_of_the_stored_policies_decides(asked: Questions) -> None:
    found = await simulated(asked)
    decision = found.decision
    assert (OUTCOME(decision.outcome), SOURCE(decision.source)) == ("OUTCOME_PROMPT", "SOURCE_RULE")
    assert (decision.policy, decision.rule) == ("tools", "setup")
    assert named(found.settings.origins, "defaultResponse") == ("USER_CONFIRMED", ["base"], False)
    assert found.settings.settings.enabled


async def test_a_draft_decides_in_the_place_of_what_is_stored(asked: Questions) -> None:
    denying = replace(tools("tools"), rules=(rule("never", ElevationType.DENY, file_hash=HASH),))
    draft = analysis_pb2.Draft(rules_policies=[rules_policy_to_proto(denying)])
    assert (await simulated(asked, draft=draft)).decision.rule == "never"
    assert (await simulated(asked)).decision.rule == "setup"


async def test_a_draft_can_delete_and_regroup(asked: Questions) -> None:
    gone = analysis_pb2.Draft(deletions=[policies_pb2.ObjectRef(kind="ElevationRulesPolicy", name="tools")])
    assert SOURCE((await simulated(asked, draft=gone)).decision.source) == "SOURCE_DEFAULT_RESPONSE"
    narrowed = rules_policy_to_proto(tools("tools", "kiosks"))
    draft = analysis_pb2.Draft(rules_policies=[narrowed])
    assert SOURCE((await simulated(asked, draft=draft)).decision.source) == "SOURCE_DEFAULT_RESPONSE"
    member = analysis_pb2.DraftGroup(name="kiosks", type=policies_pb2.PENDING_GROUP_TYPE_DEVICE, members=["D1"])
    draft.groups.append(member)
    assert (await simulated(asked, draft=draft)).decision.rule == "setup"


async def test_a_draft_may_bring_the_certificate_that_it_names(asked: Questions) -> None:
    signed = rules("signed", certificate="vendor")
    draft = analysis_pb2.Draft(rules_policies=[rules_policy_to_proto(signed)])
    refused = await asked.refused("Simulate", device="d1", user="alice", file=known_file(), draft=draft)
    assert refused.fields == {"draft.rules_policies[0].rules[0].detection.certificate.reusable"}
    draft.reusable_certificates.append(certificate_to_proto(ReusableCertificate("vendor", certificate("vendor"))))
    made = attempt(evidence(signers=(signer(),), sha256="c" * 64))
    found = await asked.send("Simulate", simulate_request(made, "D1", draft=draft))
    assert found.decision.policy in {"signed", "tools"}


async def test_the_platform_is_the_devices_unless_the_call_says_so(asked: Questions) -> None:
    found = await asked.call("Simulate", device="D1", user="alice", file=known_file())
    assert found.decision.rule == "setup"
    other = await asked.call(
        "Simulate", device="D1", user="alice", file=known_file(), platform=rules_pb2.PLATFORM_MACOS
    )
    assert SOURCE(other.decision.source) == "SOURCE_ERROR"
    untold = await asked.refused("Simulate", device="d5", user="alice", file=known_file())
    assert untold.fields == {"platform"}


async def test_times_grants_parents_and_administrators_count_as_for_the_agent(asked: Questions) -> None:
    approve = replace(settings("base"), default_response=DefaultResponse.SUPPORT_APPROVED)
    asked.world.author(stored(approve), stored(tools("tools", file_name="other.exe")))
    approval = Grant("g1", "alice", "D1", HASH, None, NOW, NOW + timedelta(hours=1))
    assert OUTCOME((await simulated(asked)).decision.outcome) == "OUTCOME_REQUEST_APPROVAL"
    granted = (await simulated(asked, grants=(approval,))).decision
    assert (SOURCE(granted.source), granted.grant_id) == ("SOURCE_GRANT", "g1")
    stale = (await simulated(asked, confirmed=NOW - timedelta(days=31))).decision
    assert SOURCE(stale.source) == "SOURCE_STALE"
    orphan = (await simulated(asked, trigger=Trigger.CHILD, parent=Parent("tools", "none"))).decision
    assert orphan.reason.endswith('rule "none" of policy "tools"')
    admin = await asked.call("Simulate", device="d1", user="alice", administrator=True, file=known_file())
    assert SOURCE(admin.decision.source) == "SOURCE_ADMINISTRATOR"


async def test_who_is_not_bound_to_the_device_is_one_of_all_users(asked: Questions) -> None:
    asked.world.author(stored(settings("base")), stored(tools("tools", "developers")))
    assert (await simulated(asked)).decision.rule == "setup"
    other = await asked.call("Simulate", device="d2", user="alice", file=known_file())
    assert not other.decision.rule


async def test_everything_wrong_is_said_at_once(asked: Questions) -> None:
    refused = await asked.refused(
        "Simulate",
        trigger=event_pb2.TRIGGER_CHILD,
        file=decision_pb2.FileEvidence(sha256="zz", signers=[decision_pb2.Signer(leaf=b"x", chain=[b"y"])]),
        grants=[document_pb2.Grant(id="g")],
        draft=analysis_pb2.Draft(
            settings_policies=[policies_pb2.SettingsPolicy()],
            groups=[analysis_pb2.DraftGroup(name="all-users", filter="nonsense")],
            deletions=[
                policies_pb2.ObjectRef(kind="Nothing", name="x"),
                policies_pb2.ObjectRef(kind="ElevationRulesPolicy", name="absent"),
            ],
        ),
    )
    assert refused.code == "INVALID_ARGUMENT"
    assert refused.fields == {
        "device",
        "user",
        "parent",
        "file.sha256",
        "file.signers[0].leaf",
        "file.signers[0].chain[0]",
        "grants[0].user",
        "grants[0].device",
        "grants[0].sha256",
        "grants[0].expires",
        "draft.settings_policies[0].settings",
        "draft.settings_policies[0].metadata.name",
        "draft.groups[0].name",
        "draft.groups[0].type",
        "draft.groups[0].filter",
        "draft.deletions[0].kind",
        "draft.deletions[1].name",
    }


async def test_times_that_no_calendar_has_and_strange_parents_are_refused(asked: Questions) -> None:
    request = analysis_pb2.SimulateRequest(device="d1", user="alice", file=known_file())
    request.now.seconds = 10**15
    request.policy_confirmed.seconds = -(10**15)
    request.parent.policy = "tools"
    refused = await refusal_of(asked.send("Simulate", request))
    assert refused.fields == {"now", "policy_confirmed", "parent", "parent.rule"}


async def test_a_device_out_of_sight_is_one_that_is_not_there(asked: Questions) -> None:
    asked.hire("emea", scope_tags=["emea"])
    told = {
        (refused.code, refused.message.replace(name, "X"))
        for name in ("d1", "D1", "nowhere")
        for rpc, more in (("Simulate", {"user": "alice", "file": known_file()}), ("GetEffectivePolicy", {}))
        for refused in [await asked.refused(rpc, "emea", device=name, **more)]
    }
    assert told == {("NOT_FOUND", 'there is no device "X"; list them for their names')}
    assert (await asked.call("GetEffectivePolicy", "emea", device="d2")).device_name == "D2"


async def test_policies_out_of_sight_count_and_are_never_named(asked: Questions) -> None:
    asked.world.author(
        tagged(settings("secret-settings"), "hq"),
        stored(settings("zz", reporting_scope=ReportingScope.DIAGNOSTIC)),
        tagged(tools("secret-rules"), "hq"),
        tagged(tools("secret-others", file_name="s*p.exe", product_name="p"), "hq"),
        tagged(tools("secret-losing", file_path="C:\\Installers"), "hq"),
    )
    asked.world.directories.put(device("d1", "alice", scope_tags=["emea"]))
    asked.hire("emea", scope_tags=["emea", "default"])
    found = await simulated(asked, "emea")
    told = await asked.call("GetEffectivePolicy", "emea", device="d1", with_others=True)
    assert found.decision.reason == "a rule that you may not see elevates this file after the user confirms"
    assert [(loser.policy, loser.rule) for loser in found.decision.losers] == [("", "")]
    assert [(miss.policy, miss.rule, miss.failed) for miss in found.decision.near_misses] == [("", "", "productName")]
    assert named(found.settings.origins, "enabled") == ("true", ["", "zz"], False)
    assert [(reach.policy.name, len(reach.reasons)) for reach in told.policies] == [("", 0), ("zz", 1), *[("", 0)] * 3]
    assert "secret" not in str(found) + str(told)
    assert "secret-losing" in str(await simulated(asked))


async def test_the_rule_of_a_parent_out_of_sight_looks_like_none(asked: Questions) -> None:
    asked.world.author(stored(settings()), tagged(tools("secret"), "hq"))
    asked.hire("default", scope_tags=["default"])
    reasons = [
        (await simulated(asked, "default", trigger=Trigger.CHILD, parent=Parent(name, "setup"))).decision.reason
        for name in ("secret", "absent")
    ]
    assert reasons[0].replace("secret", "absent") == reasons[1]
    own = await simulated(asked, trigger=Trigger.CHILD, parent=Parent("secret", "setup"))
    assert own.decision.rule == "setup"


async def test_a_draft_cannot_probe_for_policies_out_of_sight(asked: Questions) -> None:
    asked.world.author(stored(settings()), tagged(tools("secret"), "hq"))
    asked.hire("default", scope_tags=["default"])
    deletions = [policies_pb2.ObjectRef(kind="ElevationRulesPolicy", name=name) for name in ("secret", "absent")]
    refused = await asked.refused(
        "GetEffectivePolicy", "default", device="d1", draft=analysis_pb2.Draft(deletions=deletions)
    )
    [first, second] = refused.problems.values()
    assert first.replace("secret", "absent") == second
    replacing = analysis_pb2.Draft(rules_policies=[rules_policy_to_proto(tools("secret"))])
    taken = await asked.refused("GetEffectivePolicy", "default", device="d1", draft=replacing)
    assert taken.fields == {"draft.rules_policies[0].metadata.name"}


async def test_whoever_drafts_a_policy_sees_it_whatever_tags_it_would_get(asked: Questions) -> None:
    asked.world.directories.put(device("d1", "alice", scope_tags=["emea"]))
    asked.hire("emea", scope_tags=["emea"])
    drafted = rules_policy_to_proto(
        replace(tools("drafted"), rules=(rule("mine", ElevationType.DENY, file_hash=HASH),))
    )
    drafted.metadata.scope_tags.append("hq")
    found = await simulated(asked, "emea", draft=analysis_pb2.Draft(rules_policies=[drafted]))
    assert (found.decision.policy, found.decision.rule) == ("drafted", "mine")
    assert [loser.policy for loser in found.decision.losers] == [""]


async def test_applied_tells_whether_the_device_decides_so_already(asked: Questions) -> None:
    assert not (await simulated(asked)).applied
    await asked.world.apply("d1")
    assert (await simulated(asked)).applied
    same = analysis_pb2.Draft(rules_policies=[rules_policy_to_proto(tools("tools"))])
    assert (await simulated(asked, draft=same)).applied
    other = replace(tools("tools"), rules=(rule("other", file_hash=HASH),))
    changed = analysis_pb2.Draft(rules_policies=[rules_policy_to_proto(other)])
    assert not (await simulated(asked, draft=changed)).applied
    asked.world.directories.put(device("d1", "alice", "bob"))
    assert not (await simulated(asked)).applied, "bob has no document yet"


async def test_the_newest_policies_are_waited_for(asked: Questions) -> None:
    await asked.call("GetEffectivePolicy", device="d1")
    assert asked.world.awaited == [asked.world.store.kept_revision]


def known_file() -> decision_pb2.FileEvidence:
    return decision_pb2.FileEvidence(path=FILE.path, sha256=FILE.sha256)
