from dataclasses import replace
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from elevation.codec.document import decode_document, encode_document
from elevation.document import PolicyDocument, check_document
from elevation.model import (
    ALL_DEVICES,
    ALL_USERS,
    DefaultResponse,
    FilterMode,
    Group,
    GroupType,
    ReusableCertificate,
)
from epm.elevation.v1 import document_pb2
from services.policy.codec.documents import MouldMaker
from services.policy.model.delivery import Desired
from services.policy.model.directory import DirectoryDevice
from services.policy.model.effective import EffectivePolicies, desired_of
from services.policy.model.objects import Corpus
from tests.builders.elevation import certificate
from tests.fakes.clock import NOW
from tests.fakes.policy_delivery import Authored, assigned, corpus, device, group, rules, settings

VENDOR = ReusableCertificate("vendor", certificate("vendor"))
DEVELOPERS = group("developers", "alice", kind=GroupType.USER)


def effective(*contents: Authored, groups: tuple[Group, ...] = ()) -> EffectivePolicies:
    return EffectivePolicies(corpus(*contents), {found.name: found for found in groups})


def document(*contents: Authored, of: DirectoryDevice, groups: tuple[Group, ...] = ()) -> PolicyDocument:
    return effective(*contents, groups=groups).document(of)


def test_what_is_for_all_devices_reaches_anyone_on_the_device() -> None:
    made = document(settings(), rules("tools"), of=device("d1", "alice"))
    assert made.any_user.settings is not None
    assert made.any_user.device_targeted == made.user_policy("alice").device_targeted == ("tools",)
    assert (made.device_id, made.device_name) == ("d1", "D1")


def test_what_is_for_a_user_reaches_that_user_alone() -> None:
    made = document(rules("tools", "developers"), of=device("d1", "alice", "bob"), groups=(DEVELOPERS,))
    assert [(user.user, user.user_targeted) for user in made.users] == [("alice", ("tools",)), ("bob", ())]
    assert made.any_user.user_targeted == made.any_user.device_targeted == ()
    assert [policy.name for policy in made.rules_policies] == ["tools"]


def test_all_users_are_all_users_bound_or_not_and_their_rules_are_user_targeted() -> None:
    made = document(settings(), rules("tools", ALL_USERS), of=device("d1", "alice"))
    for who in (made.user_policy("alice"), made.any_user):
        assert (who.user_targeted, who.device_targeted) == (("tools",), ())


def test_settings_for_all_users_are_for_whoever_comes_to_a_device_with_bound_users() -> None:
    made = document(settings("own", ALL_USERS), of=device("d1", "alice"))
    assert made.any_user.settings == made.user_policy("alice").settings is not None


def test_settings_for_all_users_provision_no_device_that_nobody_is_bound_to() -> None:
    made = document(settings("own", ALL_USERS), rules("tools", ALL_USERS), of=device("d1"))
    assert made.any_user.settings is None
    assert desired_of(made) is Desired.NONE


def test_a_policy_for_a_device_and_for_its_user_stands_in_one_list() -> None:
    made = document(rules("tools", ALL_DEVICES, "developers"), of=device("d1", "alice"), groups=(DEVELOPERS,))
    assert (made.user_policy("alice").user_targeted, made.user_policy("alice").device_targeted) == (("tools",), ())
    assert (made.any_user.user_targeted, made.any_user.device_targeted) == ((), ("tools",))


def test_a_group_lists_devices_by_name_and_a_group_of_users_lists_no_device() -> None:
    groups = (group("lab", "D1"), group("by-id", "d2"), group("people", "D2", kind=GroupType.USER))
    policies = [rules(name, name) for name in ("lab", "by-id", "people")]
    found = effective(*policies, groups=groups)
    assert found.document(device("d1")).any_user.device_targeted == ("lab",)
    assert found.document(device("d2")).rules_policies == ()


def test_a_filter_finds_the_devices_of_a_group() -> None:
    groups = (group("finance", where='tag = "finance" AND name = "D1"'),)
    found = effective(rules("tools", "finance"), groups=groups)
    assert found.document(device("d1", tag=("finance",))).any_user.device_targeted == ("tools",)
    assert found.document(device("d2", tag=("finance",))).any_user.device_targeted == ()
    assert found.document(device("d1", tag=("sales",))).any_user.device_targeted == ()


def test_devices_of_the_same_groups_are_told_apart_by_the_filters_of_assignments() -> None:
    found = effective(rules("tools", assignments=assigned(ALL_DEVICES, where='os = "windows"')))
    for _ in range(2):
        assert found.document(device("d1")).any_user.device_targeted == ("tools",)
        assert found.document(device("d2", os="linux")).any_user.device_targeted == ()


def test_a_filter_may_leave_devices_out() -> None:
    include = assigned(ALL_DEVICES, where='os = "windows"').include[0]
    excluding = replace(assigned(), include=(replace(include, filter_mode=FilterMode.EXCLUDE),))
    found = effective(rules("tools", assignments=excluding))
    assert found.document(device("d1")).rules_policies == ()
    assert found.document(device("d2", os="linux")).any_user.device_targeted == ("tools",)


def test_an_exclude_beats_an_include() -> None:
    kept_out = rules("tools", assignments=assigned(ALL_DEVICES, exclude=["kiosks"]))
    made = document(kept_out, of=device("d1"), groups=(group("kiosks", "D1"),))
    assert made.rules_policies == ()


def test_a_group_whose_filter_cannot_be_read_includes_nobody_and_excludes_everybody() -> None:
    broken = group("broken", where="colour = red")
    included, excluding = rules("in", "broken"), rules("out", assignments=assigned(ALL_DEVICES, exclude=["broken"]))
    assert document(included, excluding, of=device(), groups=(broken,)).rules_policies == ()


def test_settings_are_merged_for_each_user_and_their_conflicts_are_named() -> None:
    wide = settings("wide", default_response=DefaultResponse.USER_CONFIRMED)
    own = settings("own", "developers", default_response=DefaultResponse.SUPPORT_APPROVED)
    made = document(wide, own, of=device("d1", "alice"), groups=(DEVELOPERS,))
    alice, anyone = made.user_policy("alice").settings, made.any_user.settings
    assert alice is not None
    assert anyone is not None
    assert (alice.default_response, anyone.default_response) == (DefaultResponse.DENY, DefaultResponse.USER_CONFIRMED)
    assert [(found.setting, found.policies) for found in alice.conflicts] == [("defaultResponse", ("own", "wide"))]
    assert anyone.conflicts == ()


def test_only_certificates_that_a_rule_names_are_in_the_document() -> None:
    other = ReusableCertificate("other", certificate("issuing"))
    signed = rules("signed", certificate="vendor")
    made = document(signed, rules("hashed"), VENDOR, other, of=device())
    assert [found.name for found in made.certificates] == ["vendor"]
    assert document(rules("hashed"), VENDOR, of=device()).certificates == ()
    assert check_document(made) == []


def test_a_rules_policy_that_reaches_nobody_is_not_in_the_document() -> None:
    made = document(rules("tools", "nobody"), rules("none", assignments=assigned()), VENDOR, of=device("d1", "alice"))
    assert made.rules_policies == ()
    assert made.revisions == {}


def test_the_revision_of_each_rules_policy_is_in_the_document() -> None:
    assert document(rules("tools"), of=device()).revisions == {"tools": 1}


def test_a_device_without_settings_policy_is_told_when_its_component_goes() -> None:
    leaving = replace(device(), deprovision_time=NOW + timedelta(days=7))
    made = document(rules("tools"), of=leaving)
    assert made.any_user.settings is None
    assert made.deprovision_time == NOW + timedelta(days=7)


def test_no_time_to_go_is_told_while_a_settings_policy_applies_to_anyone() -> None:
    leaving = replace(device("d1", "alice"), deprovision_time=NOW)
    assert document(settings("own", ALL_USERS), of=leaving).deprovision_time is None


def test_a_device_without_credentials_gets_a_document_without_anything() -> None:
    made = document(settings(), rules(), of=device("d1", "alice", enrolled=False))
    assert (made.any_user.settings, made.users, made.rules_policies) == (None, (), ())
    assert desired_of(made) is Desired.NONE


def test_what_is_desired_is_on_if_anyone_is_enabled_and_off_if_all_are_disabled() -> None:
    off, on = settings("off", enabled=False), settings("on", "developers")
    bound = device("d1", "alice")
    assert desired_of(document(of=bound)) is Desired.NONE
    assert desired_of(document(rules(), of=bound)) is Desired.NONE
    assert desired_of(document(off, of=bound)) is Desired.OFF
    assert desired_of(document(off, on, of=bound, groups=(DEVELOPERS,))) is Desired.ON
    assert desired_of(document(settings("own", ALL_USERS, enabled=False), of=bound)) is Desired.OFF


def test_devices_of_the_same_memberships_share_the_work() -> None:
    found = effective(settings(), rules())
    first, second = found.document(device("d1")), found.document(device("d2"))
    assert first.any_user is second.any_user


POLICIES: list[Authored] = [
    settings("wide"),
    settings("own", ALL_USERS, default_response=DefaultResponse.USER_CONFIRMED),
    rules("signed", certificate="vendor"),
    rules("hashed", "developers"),
    rules("more", ALL_USERS),
    VENDOR,
    ReusableCertificate("other", certificate("issuing")),
]


GROUPS = [DEVELOPERS, group("lab", "D1"), group("windows", where='os = "windows"')]


@given(
    order=st.permutations(POLICIES),
    users=st.permutations(["alice", "bob", "carol"]),
    groups=st.permutations(GROUPS),
)
def test_the_same_content_gives_the_same_bytes_whatever_the_order(
    order: list[Authored], users: list[str], groups: list[Group]
) -> None:
    made = document(*order, of=device("d1", *users), groups=tuple(groups))
    expected = document(*POLICIES, of=device("d1", "alice", "bob", "carol"), groups=tuple(GROUPS))
    assert sent(made) == sent(expected)


def sent(made: PolicyDocument, maker: MouldMaker | None = None) -> bytes:
    """Return the bytes of a document, from a mould of it."""
    of = replace(device(made.device_id, *(user.user for user in made.users)), name=made.device_name)
    return (maker or MouldMaker()).mould(made).fill(of, made.deprovision_time)


def read(content: bytes) -> PolicyDocument:
    return decode_document(document_pb2.PolicyDocument.FromString(content))


def test_the_bytes_are_those_of_the_whole_message() -> None:
    maker = MouldMaker()
    leaving = replace(device("d1", "alice"), deprovision_time=NOW)
    for contents, of in ((POLICIES, device("d1", "alice", "bob")), ([], leaving), (POLICIES[2:], device("d2"))):
        made = document(*contents, of=of, groups=(DEVELOPERS,))
        content = sent(replace(made, rules_policies=made.rules_policies[::-1]), maker)
        assert content == encode_document(made).SerializeToString(deterministic=True)
        assert read(content).device_id == of.device_id


def test_a_policy_that_changed_is_encoded_anew() -> None:
    maker, first = MouldMaker(), rules("tools")
    old = EffectivePolicies(corpus(first, revision=1), {}).document(device())
    new = EffectivePolicies(corpus(replace(first, rules=()), revision=2), {}).document(device())
    assert [len(read(sent(made, maker)).rules_policies[0].rules) for made in (old, new)] == [1, 0]


def test_an_empty_installation_makes_a_document_that_says_so() -> None:
    made = EffectivePolicies(Corpus(0), {}).document(device())
    assert read(sent(made)).any_user.settings is None
