"""Ask the server about one request for approval."""

from collections.abc import Callable
from typing import TypeVar

from epm.policy.v1 import requests_pb2, requests_pb2_grpc
from epmctl.client import CallError, Client
from epmctl.errors import CommandError

Answer = TypeVar("Answer")


def requests_of(client: Client) -> requests_pb2_grpc.ElevationRequestServiceStub:
    """Give what calls the service that keeps requests."""
    return requests_pb2_grpc.ElevationRequestServiceStub(client.channel)


def find_request(client: Client, request_id: str) -> requests_pb2.GetElevationRequestResponse:
    """Give a request with its certificates; raise CommandError where there is none that the caller may see."""
    asked = requests_pb2.GetElevationRequestRequest(id=request_id)
    return about(request_id, lambda: client.call(requests_of(client).GetElevationRequest, asked))


def about(request_id: str, call: Callable[[], Answer]) -> Answer:
    """Make a call about a request; say where to find its identifier if there is none of it."""
    try:
        return call()
    except CallError as error:
        if error.absent:
            raise CommandError(f"there is no request {request_id!r}; epm requests list lists those there are") from None
        raise
