"""Read how a call was refused."""

from collections.abc import Awaitable
from dataclasses import dataclass, field
from datetime import timedelta

import grpc.aio
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status


@dataclass(frozen=True)
class Refusal:
    """Hold what a caller is told: status, reason for programs, message for people, the problems by field, and how long to wait."""

    code: str
    reason: str
    message: str
    problems: dict[str, str]
    retry_after: timedelta | None = None
    details: dict[str, str] = field(compare=False, default_factory=dict)

    @property
    def fields(self) -> set[str]:
        """Return the fields that have a problem."""
        return set(self.problems)


async def refusal_of(call: Awaitable[object]) -> Refusal:
    """Make the call, which has to be refused, and return how."""
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await call
    return read_refusal(refused.value)


def read_refusal(error: grpc.aio.AioRpcError) -> Refusal:
    """Read the rich status of an error; one of the transport itself carries no reason."""
    status = rpc_status.from_call(error)  # type: ignore[arg-type]
    info, bad, retry = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest(), error_details_pb2.RetryInfo()
    for detail in status.details if status else ():
        _ = detail.Unpack(info) or detail.Unpack(bad) or detail.Unpack(retry)
    problems = {violation.field: violation.description for violation in bad.field_violations}
    wait = retry.retry_delay.ToTimedelta() if retry.HasField("retry_delay") else None
    return Refusal(error.code().name, info.reason, error.details() or "", problems, wait, dict(info.metadata))
