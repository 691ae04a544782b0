"""Where merged settings come from: who says what counts, and whether others say something else."""

from datetime import timedelta
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elevation.model import DefaultResponse, ReportingScope, SettingsPolicy, Validation
from elevation.settings import Origin, merge, origins, spelled

JUSTIFY, PROVE = Validation.BUSINESS_JUSTIFICATION, Validation.AUTHENTICATION
CONFIRMED = DefaultResponse.USER_CONFIRMED
NAMES = ("a", "b", "c")

authored = st.lists(
    st.builds(
        SettingsPolicy,
        name=st.sampled_from(NAMES),
        enabled=st.sampled_from([True, True, False]),
        default_response=st.sampled_from(DefaultResponse),
        validations=st.sets(st.sampled_from(Validation)).map(frozenset),
        send_reporting_data=st.booleans(),
        reporting_scope=st.sampled_from([None, ReportingScope.ALL, ReportingScope.DIAGNOSTIC, ReportingScope.MANAGED]),
        stale_after=st.sampled_from([None, timedelta(days=1), timedelta(days=30)]),
    ),
    max_size=3,
    unique_by=lambda policy: policy.name,
)


@given(authored)
def test_origins_tell_what_the_merge_comes_to(policies: list[SettingsPolicy]) -> None:
    merged, found = merge(policies), origins(policies)
    if merged is None:
        assert found == ()
        return
    assert {origin.setting: origin.value for origin in found} == spelled(merged)
    conflicting = {conflict.setting for conflict in merged.conflicts}
    assert {origin.setting for origin in found if origin.conflicting} == conflicting
    assert {origins(order) for order in permutations(policies)} == {found}
    for origin in found:
        # Alone, whoever says so leads to the value; of validations, to a part of it.
        alone = {
            policy.name: spelled(merge([policy]) or merged)[origin.setting]
            for policy in policies
            if policy.name in origin.policies
        }
        assert alone.keys() == set(origin.policies)
        if origin.setting == "validations":
            assert all(set(value.split(", ")) <= set(origin.value.split(", ")) for value in alone.values())
        else:
            assert set(alone.values()) <= {origin.value}


def origin_of(setting: str, *policies: SettingsPolicy) -> Origin:
    [found] = [origin for origin in origins(policies) if origin.setting == setting]
    return found


@pytest.mark.parametrize(
    ("policies", "expected"),
    [
        ([SettingsPolicy("a")], Origin("defaultResponse", "NOT_CONFIGURED", (), conflicting=False)),
        (
            [SettingsPolicy("a"), SettingsPolicy("b", default_response=CONFIRMED)],
            Origin("defaultResponse", "USER_CONFIRMED", ("b",), conflicting=False),
        ),
        (
            [
                SettingsPolicy("a", default_response=DefaultResponse.SUPPORT_APPROVED),
                SettingsPolicy("b", default_response=CONFIRMED),
            ],
            Origin("defaultResponse", "DENY", (), conflicting=True),
        ),
        (
            [
                SettingsPolicy("a", default_response=CONFIRMED, validations=frozenset({JUSTIFY})),
                SettingsPolicy("b", default_response=CONFIRMED, validations=frozenset({PROVE})),
                SettingsPolicy("c", default_response=CONFIRMED),
            ],
            Origin("validations", "AUTHENTICATION, BUSINESS_JUSTIFICATION", ("a", "b"), conflicting=True),
        ),
        (
            [SettingsPolicy("a", stale_after=None), SettingsPolicy("b", stale_after=timedelta(days=7))],
            Origin("staleAfter", "P7D", ("b",), conflicting=True),
        ),
        (
            [SettingsPolicy("a", send_reporting_data=False)],
            Origin("reportingScope", "none", (), conflicting=False),
        ),
        (
            [SettingsPolicy("a", enabled=False), SettingsPolicy("b")],
            Origin("enabled", "true", ("b",), conflicting=True),
        ),
        ([SettingsPolicy("a", enabled=False)], Origin("staleAfter", "P30D", (), conflicting=False)),
    ],
)
def test_the_origin_of_a_value(policies: list[SettingsPolicy], expected: Origin) -> None:
    assert origin_of(expected.setting, *policies) == expected
