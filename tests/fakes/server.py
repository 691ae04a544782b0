"""A server's public door with nothing behind it: it records what it is asked and answers what a test says."""

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent import futures
from contextlib import contextmanager
from typing import Final, TypeVar, cast

import grpc
from google.protobuf import message_factory
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message

from epm.access.v1 import queries_pb2
from epm.device.v1 import devices_pb2, groups_pb2
from epm.policy.v1 import analysis_pb2, policies_pb2, requests_pb2, revisions_pb2, rollouts_pb2
from epm.rbac.v1 import rbac_pb2
from epm.reporting.v1 import export_pb2, insights_pb2, intake_pb2, reports_pb2
from services._chassis.errors import ServiceError, UnauthenticatedError
from services._chassis.status import status_of
from tests.builders.doors import server_identity

TOKEN: Final = "epmadm_a-token-of-the-tests"
REQUEST_ID: Final = "request-1"

Asked = TypeVar("Asked", bound=Message)
Answer = Message | ServiceError | grpc.StatusCode
"""What a call comes to: a message, an error of a service, or a bare status, as when the way there breaks."""

_FOR_ANYBODY: Final = (rbac_pb2.GetLoginOptionsRequest,)
_SERVICES: Final = (
    rbac_pb2.DESCRIPTOR.services_by_name["RbacService"],
    queries_pb2.DESCRIPTOR.services_by_name["AccessQueryService"],
    groups_pb2.DESCRIPTOR.services_by_name["GroupService"],
    devices_pb2.DESCRIPTOR.services_by_name["DeviceService"],
    policies_pb2.DESCRIPTOR.services_by_name["PolicyService"],
    analysis_pb2.DESCRIPTOR.services_by_name["AnalysisService"],
    revisions_pb2.DESCRIPTOR.services_by_name["RevisionService"],
    rollouts_pb2.DESCRIPTOR.services_by_name["RolloutService"],
    requests_pb2.DESCRIPTOR.services_by_name["ElevationRequestService"],
    reports_pb2.DESCRIPTOR.services_by_name["ReportingService"],
    export_pb2.DESCRIPTOR.services_by_name["ExportService"],
    insights_pb2.DESCRIPTOR.services_by_name["InsightsService"],
    intake_pb2.DESCRIPTOR.services_by_name["IntakeService"],
)


class FakeServer:
    """Answers administrators; what no test spoke of gets an empty answer."""

    def __init__(self) -> None:
        self.asked: list[Message] = []
        self.reasons: list[str | None] = []
        """Why each of them was asked; None where nothing was said."""
        self.address = ""
        self.token = TOKEN
        self._answers: dict[type[Message], Callable[[Message], Answer]] = {}
        self._streams: dict[type[Message], list[Sequence[Answer]]] = {}
        self._held: set[type[Message]] = set()

    def on(self, request: type[Asked], answer: Callable[[Asked], Answer] | Answer) -> None:
        """Say what comes of a request of this type."""
        if isinstance(answer, Message | ServiceError | grpc.StatusCode):
            fixed = answer
            self._answers[request] = lambda _: fixed
        else:
            self._answers[request] = cast("Callable[[Message], Answer]", answer)  # gets requests of this type alone

    def streams(self, request: type[Message], *calls: Sequence[Answer]) -> None:
        """Say what each call of a method that streams comes to, one after the other; the last one again and again."""
        self._streams[request] = list(calls)

    def holds(self, request: type[Message], answers: Sequence[Answer]) -> None:
        """Say what a method streams that then stays open until whoever asked has had enough."""
        self.streams(request, answers)
        self._held.add(request)

    def requests(self, kind: type[Asked]) -> list[Asked]:
        """Give the requests of one type, in their order."""
        return [request for request in self.asked if isinstance(request, kind)]

    def handler(self, method: MethodDescriptor) -> "grpc.RpcMethodHandler[Message, Message]":
        """Make what answers one method."""
        request_class = message_factory.GetMessageClass(method.input_type)
        response_class = message_factory.GetMessageClass(method.output_type)

        def answer(request: Message, context: grpc.ServicerContext) -> Message:
            self.asked.append(request)
            metadata = context.invocation_metadata()
            shown = [value for key, value in metadata if key == "authorization"]
            given = [value.decode() for key, value in metadata if key == "epm-reason-bin" and isinstance(value, bytes)]
            self.reasons.append(given[0] if given else None)
            known = shown == [f"Bearer {self.token}"] or (not shown and request_class in _FOR_ANYBODY)
            make = self._answers.get(request_class)
            told: Answer = make(request) if make else response_class()
            if not known:
                told = UnauthenticatedError("the bearer token is not known")
            if isinstance(told, ServiceError):
                context.abort_with_status(status_of(told, REQUEST_ID))
            if isinstance(told, grpc.StatusCode):
                context.abort(told, "the way broke")
            assert isinstance(told, Message)
            return told

        def stream(request: Message, context: grpc.ServicerContext) -> Iterator[Message]:
            self.asked.append(request)
            calls = self._streams.get(request_class) or [()]
            for told in calls.pop(0) if len(calls) > 1 else calls[0]:
                if isinstance(told, ServiceError):
                    context.abort_with_status(status_of(told, REQUEST_ID))
                assert isinstance(told, Message)
                yield told
            if request_class in self._held:
                ended = threading.Event()
                context.add_callback(ended.set)
                ended.wait()

        return _bound(method, answer, stream, self.asked)


def _bound(
    method: MethodDescriptor,
    answer: Callable[[Message, grpc.ServicerContext], Message],
    stream: Callable[[Message, grpc.ServicerContext], Iterator[Message]],
    asked: list[Message],
) -> "grpc.RpcMethodHandler[Message, Message]":
    """Answer a method in the shape that it has."""

    def converse(requests: Iterator[Message], context: grpc.ServicerContext) -> Iterator[Message]:
        """Stream as told, and hear a word after each message."""
        for told in stream(next(requests), context):
            yield told
            asked.append(next(requests))

    read = message_factory.GetMessageClass(method.input_type).FromString
    write = message_factory.GetMessageClass(method.output_type).SerializeToString
    if method.client_streaming:
        return grpc.stream_stream_rpc_method_handler(converse, request_deserializer=read, response_serializer=write)
    if method.server_streaming:
        return grpc.unary_stream_rpc_method_handler(stream, request_deserializer=read, response_serializer=write)
    return grpc.unary_unary_rpc_method_handler(answer, request_deserializer=read, response_serializer=write)


@contextmanager
def serving() -> Iterator[FakeServer]:
    """Run a fake server on loopback, with TLS and a certificate of the tests' CA."""
    fake = FakeServer()
    identity = server_identity()
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=2))
    for service in _SERVICES:
        handlers = {method.name: fake.handler(method) for method in service.methods}
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service.full_name, handlers),))
    credentials = grpc.ssl_server_credentials([(identity.key, identity.certificate)])
    fake.address = f"127.0.0.1:{server.add_secure_port('127.0.0.1:0', credentials)}"
    server.start()
    try:
        yield fake
    finally:
        server.stop(None).wait()
