"""What a client that knows nothing of OpenEPM sees: grpcurl against `epm serve --reflection`."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.builders.installation import PATIENCE, Done, Installation

pytestmark = pytest.mark.xdist_group("foreign")
PUBLIC = {
    "epm.access.v1.AccessQueryService",
    "epm.access.v1.AuditService",
    "epm.device.v1.DeviceService",
    "epm.device.v1.EnrolmentService",
    "epm.device.v1.GroupService",
    "epm.policy.v1.AnalysisService",
    "epm.policy.v1.ElevationRequestService",
    "epm.policy.v1.PolicyService",
    "epm.policy.v1.RevisionService",
    "epm.policy.v1.RolloutService",
    "epm.rbac.v1.RbacService",
    "epm.reporting.v1.ExportService",
    "epm.reporting.v1.InsightsService",
    "epm.reporting.v1.IntakeService",
    "epm.reporting.v1.ReportingService",
    "grpc.health.v1.Health",
}


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    built = Installation(tmp_path_factory.mktemp("house"))
    try:
        built.serve("--reflection")
        yield built
    finally:
        built.close()


def grpcurl(house: Installation, *words: str, token: str | None = None, message: Any = None) -> Done:
    program = shutil.which("grpcurl", path=str(Path(sys.executable).parent))
    if program is None:
        pytest.skip("grpcurl has no wheel for this platform")
    headers = [] if token is None else ["-H", f"authorization: Bearer {token}"]
    sent = [] if message is None else ["-d", json.dumps(message)]
    done = subprocess.run(
        [program, "-cacert", str(house.ca), *headers, *sent, house.server, *words],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    return Done(done.returncode, done.stdout, done.stderr)


def owner(house: Installation) -> str:
    return (house.data_dir / "owner-token").read_text(encoding="utf-8").strip()


def test_reflection_lists_what_is_behind_the_public_door(house: Installation) -> None:
    listed = grpcurl(house, "list")
    assert listed.code == 0, listed.errors
    assert {name for name in listed.output.split() if not name.startswith("grpc.reflection.")} == PUBLIC


def test_health_is_told_for_the_whole_and_for_each_service(house: Installation) -> None:
    for service in ("", *sorted(PUBLIC - {"grpc.health.v1.Health"})):
        told = grpcurl(house, "grpc.health.v1.Health/Check", message={"service": service})
        assert told.json() == {"status": "SERVING"}


def test_a_token_opens_what_its_rights_allow(house: Installation) -> None:
    listed = grpcurl(house, "epm.rbac.v1.RbacService/ListRoles", token=owner(house))
    assert "Endpoint Privilege Manager" in {role["name"] for role in listed.json()["roles"]}


@pytest.mark.parametrize("token", [None, "epm_wrong"])
def test_without_a_good_token_nothing_is_told(house: Installation, token: str | None) -> None:
    refused = grpcurl(house, "epm.policy.v1.PolicyService/ListRulesPolicies", token=token)
    assert refused.code != 0
    assert "Unauthenticated" in refused.errors
    assert "google.rpc.ErrorInfo" in refused.errors


def test_bad_input_is_answered_with_every_field_at_once(house: Installation) -> None:
    bad = {
        "rules_policy": {
            "metadata": {"name": ""},
            "platform": "PLATFORM_LINUX",
            "rules": [{"name": "r", "detection": {"file_name": "a**", "file_hash": "xyz"}}],
            "assignments": {"include": [{"group": "nobody-knows"}]},
        }
    }
    refused = grpcurl(house, "epm.policy.v1.PolicyService/CreateRulesPolicy", token=owner(house), message=bad)
    assert "InvalidArgument" in refused.errors
    for field in (
        "metadata.name",
        "rules[0].detection.file_name",
        "rules[0].detection.file_hash",
        "assignments.include[0].group",
    ):
        assert field in refused.errors


def test_without_its_flag_reflection_answers_nobody(tmp_path: Path) -> None:
    house = Installation(tmp_path)
    try:
        house.serve()
        assert grpcurl(house, "list", token=owner(house)).code != 0
    finally:
        house.close()
