"""Long requests are read by a thread, short ones where they are."""

import threading

import pytest

from epm.policy.v1 import policies_pb2
from services.policy.codec.beside import LONG, read_beside


@pytest.mark.parametrize(("length", "here"), [(10, True), (LONG + 1, False)])
async def test_what_is_long_is_read_beside_the_streams(length: int, *, here: bool) -> None:
    def read(request: policies_pb2.ApplyPoliciesRequest) -> tuple[int, bool]:
        return len(request.request_id), threading.current_thread() is threading.main_thread()

    assert await read_beside(read, policies_pb2.ApplyPoliciesRequest(request_id="x" * length)) == (length, here)
