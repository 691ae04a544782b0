"""`epm effective` tells what applies, from where, and why."""

from pathlib import Path

from elevation.codec.settings import encode_settings
from elevation.model import Settings
from epm.policy.v1 import analysis_pb2, policies_pb2
from services._chassis.errors import InvalidError, Problem
from tests.builders.console import Console
from tests.builders.documents import RULES, write_documents
from tests.fakes.server import FakeServer

ORIGINS = [
    analysis_pb2.SettingOrigin(setting="enabled", value="true", policies=["base", ""]),
    analysis_pb2.SettingOrigin(setting="defaultResponse", value="DENY", conflicting=True),
]


def reach(name: str, *texts: str, kind: str = "ElevationRulesPolicy", **values: object) -> analysis_pb2.PolicyReach:
    ref = policies_pb2.ObjectRef(kind=kind, name=name)
    reasons = [analysis_pb2.ReachReason(text=text) for text in texts]
    return analysis_pb2.PolicyReach(policy=ref, reasons=reasons, **values)  # type: ignore[arg-type]


def answer(*policies: analysis_pb2.PolicyReach, **values: object) -> analysis_pb2.GetEffectivePolicyResponse:
    made = {
        "device_id": "d1",
        "device_name": "ws-17",
        "device_groups": ["all-devices"],
        "user_groups": ["all-users", "developers"],
        "settings": analysis_pb2.EffectiveSettings(settings=encode_settings(Settings()), origins=ORIGINS),
        "policies": policies,
    }
    return analysis_pb2.GetEffectivePolicyResponse(**{**made, **values})  # type: ignore[arg-type]


def test_what_applies_stands_in_tables_with_its_reasons(console: Console, server: FakeServer) -> None:
    found = answer(
        reach("base", "ws-17 is in it", kind="ElevationSettingsPolicy", revision=3, applies=True),
        reach("tools", "alice is in it", "and twice", revision=4, applies=True, user_targeted=True),
        reach("", applies=True),
    )
    server.on(analysis_pb2.GetEffectivePolicyRequest, found)
    outcome = console.run("effective", "ws-17", "--user", "alice")
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.splitlines() == [
        "device  ws-17 in all-devices",
        "user    alice in all-users, developers",
        "",
        "SETTING          VALUE  FROM",
        "enabled          true   base, (one that you may not see)",
        "defaultResponse  DENY   no policy; policies disagree",
        "",
        "POLICY                      KIND      REVISION  FOR     WHY",
        "base                        settings  3         device  ws-17 is in it",
        "tools                       rules     4         user    alice is in it; and twice",
        "(one that you may not see)  rules     -         device  -",
    ]
    [asked] = server.requests(analysis_pb2.GetEffectivePolicyRequest)
    assert (asked.device, asked.user, asked.with_others, asked.HasField("draft")) == ("ws-17", "alice", False, False)


def test_all_tells_of_policies_that_do_not_apply(console: Console, server: FakeServer) -> None:
    server.on(analysis_pb2.GetEffectivePolicyRequest, answer(reach("kiosks", "ws-17 is not in it", revision=1)))
    outcome = console.run("effective", "ws-17", "--all")
    assert outcome.out.splitlines()[1] == "user    whoever comes to it in all-users, developers"
    assert outcome.out.splitlines()[-2:] == [
        "POLICY  KIND   REVISION  FOR  APPLIES  WHY",
        "kiosks  rules         1  -    no       ws-17 is not in it",
    ]
    [asked] = server.requests(analysis_pb2.GetEffectivePolicyRequest)
    assert asked.with_others


def test_json_is_the_whole_answer(console: Console, server: FakeServer) -> None:
    server.on(analysis_pb2.GetEffectivePolicyRequest, answer(reach("tools", "so", revision=4, applies=True)))
    found = console.run("effective", "ws-17", "--output", "json").json
    assert (found["deviceName"], found["policies"][0]["policy"]["name"]) == ("ws-17", "tools")
    assert found["settings"]["settings"]["defaultResponse"] == "NOT_CONFIGURED"


def test_where_nothing_applies_it_is_said(console: Console, server: FakeServer) -> None:
    nothing = analysis_pb2.EffectiveSettings()
    server.on(analysis_pb2.GetEffectivePolicyRequest, answer(settings=nothing, withheld_because="it is quarantined"))
    assert console.run("effective", "ws-17").out.splitlines()[-1] == "nothing applies: it is quarantined"
    server.on(analysis_pb2.GetEffectivePolicyRequest, answer(settings=nothing))
    assert console.run("effective", "ws-17").out.splitlines()[-2:] == [
        "no settings policy applies, so nothing is active",
        "no policy applies",
    ]


def test_a_draft_goes_along_and_its_faults_name_their_lines(
    console: Console, server: FakeServer, tmp_path: Path
) -> None:
    draft = write_documents(tmp_path / "draft", RULES)
    fault = Problem("draft.rules_policies[0].assignments.include[0].group", "is not there")
    server.on(analysis_pb2.GetEffectivePolicyRequest, InvalidError([fault]))
    outcome = console.run("effective", "ws-17", "-f", draft)
    assert outcome.code == 2
    assert outcome.err.startswith(f"{draft}:")
    assert outcome.err.endswith(": spec.assignments.include[0].group: is not there\n")
    [asked] = server.requests(analysis_pb2.GetEffectivePolicyRequest)
    assert len(asked.draft.rules_policies) == 1
