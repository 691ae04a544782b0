"""Every RPC says who may call it, or the server does not start."""

from typing import Any

import pytest

from epm.access.v1 import options_pb2
from services._chassis.access import AccessControl
from services._chassis.caller import CallerKind
from services._chassis.errors import InvalidError
from services._chassis.refusals import RefusalLog
from services._chassis.rules import MESH_KINDS, PUBLIC_KINDS, rules_of
from tests.builders.contracts import declared
from tests.fakes.access import FakeAccess

ADMINISTRATOR, ANONYMOUS = options_pb2.CALLER_ADMINISTRATOR, options_pb2.CALLER_ANONYMOUS
DEVICE, SERVICE = options_pb2.CALLER_DEVICE, options_pb2.CALLER_SERVICE


def rule(*callers: Any, **more: Any) -> options_pb2.AccessRule:
    return options_pb2.AccessRule(callers=callers, **more)


@pytest.fixture
def access() -> AccessControl:
    return FakeAccess().control


def problems(access: AccessControl, door: frozenset[CallerKind], *rules: options_pb2.AccessRule | None) -> list[str]:
    with pytest.raises(InvalidError) as raised:
        rules_of(declared(*rules), access, door, RefusalLog())
    assert raised.value.reason == "ACCESS_RULE_MISSING"
    return [problem.message for problem in raised.value.problems]


def test_a_rule_is_read_as_it_was_declared(access: AccessControl) -> None:
    name = declared(rule(DEVICE, SERVICE, services=["policy"]))
    (read,) = rules_of(name, access, MESH_KINDS, RefusalLog()).values()
    assert (read.method, read.callers) == (f"/{name}/Method0", frozenset({CallerKind.DEVICE, CallerKind.SERVICE}))
    assert (read.right, read.services, read.access) == ("", frozenset({"policy"}), access)


@pytest.mark.parametrize(
    "good",
    [
        rule(ANONYMOUS),
        rule(ADMINISTRATOR, right="audit.read"),
        rule(ADMINISTRATOR, any_right=True),
        rule(ADMINISTRATOR, ANONYMOUS, any_right=True),
    ],
)
def test_what_says_who_may_call_is_served(access: AccessControl, good: options_pb2.AccessRule) -> None:
    assert len(rules_of(declared(good), access, PUBLIC_KINDS, RefusalLog())) == 1


@pytest.mark.parametrize(
    ("door", "bad", "said"),
    [
        (PUBLIC_KINDS, None, "declares no caller"),
        (PUBLIC_KINDS, rule(), "declares no caller"),
        (PUBLIC_KINDS, rule(right="audit.read"), "declares no caller"),
        (PUBLIC_KINDS, rule(options_pb2.CALLER_UNSPECIFIED), "declares no caller"),
        (PUBLIC_KINDS, rule(ANONYMOUS, 99), "declares no caller"),
        (PUBLIC_KINDS, rule(DEVICE), "callers of the other door"),
        (PUBLIC_KINDS, rule(ANONYMOUS, DEVICE), "callers of the other door"),
        (MESH_KINDS, rule(ADMINISTRATOR, any_right=True), "callers of the other door"),
        (PUBLIC_KINDS, rule(ADMINISTRATOR), "either a right or any_right"),
        (PUBLIC_KINDS, rule(ADMINISTRATOR, right="audit.read", any_right=True), "either a right or any_right"),
        (PUBLIC_KINDS, rule(ADMINISTRATOR, right="audit.write"), "which nobody knows"),
        (PUBLIC_KINDS, rule(ANONYMOUS, right="audit.read"), "asks for a right without"),
        (PUBLIC_KINDS, rule(ANONYMOUS, ADMINISTRATOR, right="audit.read"), "asks for a right that nobody needs"),
        (MESH_KINDS, rule(DEVICE, any_right=True), "asks for a right without"),
        (MESH_KINDS, rule(SERVICE, services=["polcy"]), "lets in the service 'polcy'"),
        (MESH_KINDS, rule(SERVICE), "names services without"),
        (MESH_KINDS, rule(DEVICE, services=["policy"]), "names services without"),
    ],
)
def test_what_leaves_it_open_is_refused(
    access: AccessControl, door: frozenset[CallerKind], bad: options_pb2.AccessRule | None, said: str
) -> None:
    assert any(said in problem for problem in problems(access, door, bad))


def test_everything_that_is_left_open_is_told_at_once(access: AccessControl) -> None:
    assert len(problems(access, PUBLIC_KINDS, None, rule(ANONYMOUS), rule(DEVICE))) == 2
