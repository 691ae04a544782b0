"""The policy service dies while policies are written: the old state stays whole, or the new one is, and is answered again."""

import sqlite3
from collections.abc import Iterator
from typing import Any

import grpc
import pytest

from elevation.model import DefaultResponse
from epm.policy.v1 import policies_pb2, policies_pb2_grpc
from services.policy.admin_servicer import desk
from services.policy.codec.authored import settings_policy_to_proto
from services.policy.store import objects
from services.policy.usecases.analysis import lint_desk
from tests.builders.doors import bearer
from tests.builders.installation import PATIENCE, Installation, installation
from tests.builders.policy import settings_policy
from tests.faults.house import killed, serve_again, serve_to_die

pytestmark = pytest.mark.xdist_group("faults-authoring")
TABLES = ("policy_object", "policy_object_tag", "policy_history", "policy_audit", "policy_revision", "policy_request")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    with installation(tmp_path_factory.mktemp("house")) as house:
        call(house, "ApplyPolicies", settings_policies=[policy("first"), policy("second")])
        yield house


@pytest.fixture
def house(whole: Installation) -> Iterator[Installation]:
    """Serve as ever again after the test."""
    yield whole
    whole.wraps.pop("server", None)
    if "server" in whole.programs:
        whole.programs.pop("server").kill()
    whole.serve()


def policy(name: str, **changes: object) -> policies_pb2.SettingsPolicy:
    return settings_policy_to_proto(settings_policy(name, **changes))


def call(house: Installation, rpc: str, **fields: Any) -> Any:
    """Call as the first Owner, over a connection of its own."""
    owner = bearer((house.data_dir / "owner-token").read_text(encoding="utf-8").strip())
    with grpc.secure_channel(house.server, grpc.ssl_channel_credentials(house.ca.read_bytes())) as channel:
        stub: Any = policies_pb2_grpc.PolicyServiceStub(channel)
        request = getattr(policies_pb2, f"{rpc}Request")(**fields)
        return getattr(stub, rpc)(request, metadata=owner, timeout=PATIENCE, wait_for_ready=True)


def kept(house: Installation) -> dict[str, list[tuple[object, ...]]]:
    """Return all that is kept of what is authored."""
    with sqlite3.connect(f"file:{house.data_dir / 'policy.db'}?mode=ro", uri=True) as database:
        return {table: sorted(database.execute(f"SELECT * FROM {table}"), key=repr) for table in TABLES}  # noqa: S608


def change_of(house: Installation, rpc: str) -> dict[str, Any]:
    """Return the fields of a call that changes both policies, or the first one."""
    if rpc == "ApplyPolicies":
        return {"settings_policies": [policy("first", enabled=False), policy("second", enabled=False), policy("third")]}
    first = call(house, "GetSettingsPolicy", name="first").settings_policy
    first.settings.enabled = not first.settings.enabled
    return {"settings_policy": first}


@pytest.mark.parametrize("rpc", ["UpdateSettingsPolicy", "ApplyPolicies"])
def test_a_server_killed_before_it_commits_leaves_the_old_state_whole(house: Installation, rpc: str) -> None:
    call(house, "ApplyPolicies", settings_policies=[policy("first"), policy("second")])
    wanted, before = change_of(house, rpc), kept(house)
    serve_to_die(house, objects.__name__, "SqlWork.save")
    with pytest.raises(grpc.RpcError):
        call(house, rpc, **wanted, request_id=f"lost-{rpc}")
    killed(house, "server")
    assert kept(house) == before

    serve_again(house)
    assert kept(house) == before
    call(house, rpc, **wanted, request_id=f"lost-{rpc}")
    after = kept(house)
    assert all(after[table] != before[table] for table in TABLES if table != "policy_object_tag")


def test_a_server_killed_before_lint_is_done_has_the_new_state_whole_and_tells_when_asked_again(
    house: Installation,
) -> None:
    weak = {"settings_policy": policy("weak", default_response=DefaultResponse.USER_CONFIRMED)}
    serve_to_die(house, lint_desk.__name__, "LintDesk.findings")
    with pytest.raises(grpc.RpcError):
        call(house, "CreateSettingsPolicy", **weak, request_id="untold")
    killed(house, "server")

    serve_again(house)
    answer = call(house, "CreateSettingsPolicy", **weak, request_id="untold")
    assert answer.settings_policy == call(house, "GetSettingsPolicy", name="weak").settings_policy
    assert [finding.id for finding in answer.findings] == ["L18"]
    assert call(house, "CreateSettingsPolicy", **weak, request_id="untold") == answer


@pytest.mark.parametrize("rpc", ["UpdateSettingsPolicy", "ApplyPolicies"])
def test_a_server_killed_before_it_answers_has_the_new_state_whole_and_answers_when_asked_again(
    house: Installation, rpc: str
) -> None:
    call(house, "ApplyPolicies", settings_policies=[policy("first"), policy("second")])
    wanted = change_of(house, rpc)
    serve_to_die(house, desk.__name__, "answer_once")
    with pytest.raises(grpc.RpcError):
        call(house, rpc, **wanted, request_id=f"unheard-{rpc}")
    killed(house, "server")
    written = kept(house)

    serve_again(house)
    answer = call(house, rpc, **wanted, request_id=f"unheard-{rpc}")
    assert kept(house) == written
    now = call(house, "GetSettingsPolicy", name="first").settings_policy
    assert not now.settings.enabled
    if rpc == "ApplyPolicies":
        assert {applied.etag for applied in answer.objects[:2]} == {now.metadata.etag}
    else:
        assert answer.settings_policy == now
