"""Access options of every shape: what leaves anything open, or contradicts itself, is never served."""

from pathlib import Path

import grpc.aio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from epm.access.v1 import options_pb2
from services._chassis.config import SERVICES
from services._chassis.errors import InvalidError
from services._chassis.refusals import RefusalLog
from services._chassis.rights import RIGHT_NAMES
from services._chassis.rules import MESH_KINDS, PUBLIC_KINDS, rules_of
from services._chassis.server import Host, ServiceParts
from tests.builders.contracts import declared
from tests.builders.doors import settings_for
from tests.fakes.access import FakeAccess

ANONYMOUS, ADMINISTRATOR = options_pb2.CALLER_ANONYMOUS, options_pb2.CALLER_ADMINISTRATOR
DEVICE, SERVICE = options_pb2.CALLER_DEVICE, options_pb2.CALLER_SERVICE
CALLERS = (options_pb2.CALLER_UNSPECIFIED, ANONYMOUS, ADMINISTRATOR, DEVICE, SERVICE, 5, 99)
RIGHTS = ("", "", "audit.read", "devices.read", "audit.write", "AUDIT.READ", " audit.read", "*", "owner")
RULES = st.builds(
    options_pb2.AccessRule,
    callers=st.lists(st.sampled_from(CALLERS), max_size=3),
    right=st.sampled_from(RIGHTS),
    any_right=st.booleans(),
    services=st.lists(st.sampled_from([*SERVICES, "polcy", ""]), max_size=2),
)


def leaves_nothing_open(rule: options_pb2.AccessRule | None, *, public: bool) -> bool:
    """Say by the words of the contract whether the rule can be served at the door."""
    if rule is None:
        return False
    callers, services = set(rule.callers), list(rule.services)
    administrators = ADMINISTRATOR in callers
    return (
        bool(callers)
        and callers <= ({ANONYMOUS, ADMINISTRATOR} if public else {DEVICE, SERVICE})
        # "The right that an administrator needs": one that is known, or any; and nobody gets around it.
        and (rule.right in RIGHT_NAMES or not rule.right)
        and (bool(rule.right) != rule.any_right if administrators else not rule.right and not rule.any_right)
        and not (rule.right and ANONYMOUS in callers)
        # "Names of the services that are let in": known ones, and only where services are.
        and (bool(services) == (SERVICE in callers))
        and set(services) <= set(SERVICES)
    )


@settings(max_examples=400)
@given(rules=st.lists(st.none() | RULES, min_size=1, max_size=2), public=st.booleans())
def test_only_rules_that_leave_nothing_open_are_served(
    rules: list[options_pb2.AccessRule | None],
    public: bool,  # noqa: FBT001 - hypothesis names it
) -> None:
    good = all(leaves_nothing_open(rule, public=public) for rule in rules)
    assert served(declared(*rules), public=public) == good


@pytest.mark.parametrize(
    "rule",
    [
        None,
        options_pb2.AccessRule(),
        options_pb2.AccessRule(callers=[ADMINISTRATOR]),
        options_pb2.AccessRule(callers=[ADMINISTRATOR], right="audit.read", any_right=True),
        options_pb2.AccessRule(callers=[ANONYMOUS, ADMINISTRATOR], right="audit.read"),
        options_pb2.AccessRule(callers=[ANONYMOUS], right="audit.read"),
    ],
    ids=["missing", "empty", "no right", "contradictory", "anybody gets around the right", "a right for nobody"],
)
async def test_a_server_with_such_a_method_does_not_start(rule: options_pb2.AccessRule | None, tmp_path: Path) -> None:
    name = declared(options_pb2.AccessRule(callers=[ADMINISTRATOR], any_right=True), rule)

    def add(server: grpc.aio.Server) -> None:
        server.add_registered_method_handlers(name, {})

    host = Host(settings_for(tmp_path))
    try:
        with pytest.raises(InvalidError) as refused:
            host.add(ServiceParts(name="test", access=FakeAccess().control, public=[add]))
    finally:
        await host.stop()
    assert refused.value.reason == "ACCESS_RULE_MISSING"
    assert {problem.field for problem in refused.value.problems} == {f"{name}.Method1"}


def served(name: str, *, public: bool) -> bool:
    """Tell whether a door takes the service in."""
    try:
        rules_of(name, FakeAccess().control, PUBLIC_KINDS if public else MESH_KINDS, RefusalLog())
    except InvalidError:
        return False
    return True
