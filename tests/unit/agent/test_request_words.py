"""How a request stands is told in one sentence."""

import pytest

from agent_stub.requests.model import Request, RequestState
from agent_stub.requests.words import sentence
from services.policy.model.requests import TAKEN_BACK, USER_GONE
from tests.fakes.clock import NOW


@pytest.mark.parametrize(
    ("reason", "told"),
    [
        ("", "cancelled by you"),
        (TAKEN_BACK, "cancelled by you"),
        (USER_GONE, "cancelled: the user was removed from the device"),
    ],
)
def test_a_user_hears_who_cancelled_a_request(reason: str, told: str) -> None:
    cancelled = Request("r1", "alice", RequestState.CANCELLED, "/opt/tool", (), "a driver", NOW, NOW, end_reason=reason)
    assert sentence(cancelled, NOW) == told
