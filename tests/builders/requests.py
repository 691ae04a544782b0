"""Make elevation requests."""

from dataclasses import replace
from datetime import timedelta

from elevation.model import Platform
from services.policy.model.requests import ElevationRequest, RequestedFile
from tests.fakes.clock import NOW

FILE = RequestedFile(path="/opt/tool/setup", sha256="ab" * 32, version="1.2", publisher="CN=Tool")


def request(number: int = 1, **values: object) -> ElevationRequest:
    """Make a request that waits; numbers make different ones, and grow."""
    made = ElevationRequest(
        request_id=f"{number:08x}-0000-7000-8000-000000000000",
        device_id="d1",
        device_name="WS-17",
        user="alice",
        justification="a driver",
        attempt_id=f"attempt-{number}",
        submitted=NOW,
        review_deadline=NOW + timedelta(days=7),
        platform=Platform.LINUX,
        file=FILE,
        arguments=("--silent", str(number)),
        policy="tools",
        rule="setup",
        scope_tags=frozenset({"emea"}),
        life=NOW,
    )
    return replace(made, **values)  # type: ignore[arg-type]
