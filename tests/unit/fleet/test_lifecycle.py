from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from agent_stub.policy.keeper import PolicyKeeper
from elevation.document import PolicyDocument
from elevation.model import Settings
from epm.device.v1 import agent_pb2
from fleet.keepers import LightKeeper
from fleet.lifecycle import component_of, epm_state_of
from tests.fakes.agent import NOW, Installation, document

HOUSE = Installation()
PENDING = replace(document(settings=None), deprovision_time=NOW + timedelta(seconds=10))
PRESENT, ABSENT = agent_pb2.COMPONENT_STATE_PRESENT, agent_pb2.COMPONENT_STATE_ABSENT


def holding(folder: Path, content: PolicyDocument | None) -> PolicyKeeper:
    keeper = PolicyKeeper(folder, HOUSE.identity())
    if content is not None:
        keeper.apply(HOUSE.offer(content), NOW)
    return keeper


@pytest.mark.parametrize(
    ("content", "later", "told"),
    [
        (document(settings=Settings(enabled=True)), 0, ("ACTIVE", PRESENT)),
        (document(settings=Settings(enabled=False)), 0, ("DISABLED", PRESENT)),
        (PENDING, 9, ("DEPROVISION_PENDING", PRESENT)),
        (PENDING, 10, ("NOT_PROVISIONED", ABSENT)),
        (document(settings=None), 0, ("NOT_PROVISIONED", ABSENT)),
        (None, 0, ("NOT_PROVISIONED", ABSENT)),
    ],
)
def test_the_document_says_what_the_state_is_and_whether_the_component_stands(
    tmp_path: Path, content: PolicyDocument | None, later: int, told: tuple[str, int]
) -> None:
    keeper, now = holding(tmp_path, content), NOW + timedelta(seconds=later)
    assert (epm_state_of(keeper, now), component_of(keeper, now)) == told


def test_an_agent_that_does_not_read_its_document_does_not_tell() -> None:
    assert component_of(LightKeeper(HOUSE.identity()), NOW) == agent_pb2.COMPONENT_STATE_UNSPECIFIED
