"""The doors: what starts, what is refused, what health and reflection say, and how it all ends."""

import asyncio
import socket
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
import structlog
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from epm.access.v1 import access_pb2, access_pb2_grpc
from epm.device.v1 import agent_pb2, agent_pb2_grpc
from services._chassis.config import CertificateFiles
from services._chassis.errors import InvalidError, StateError, UnavailableError
from services._chassis.health import MOST_WATCHERS
from services._chassis.server import Host, ServiceParts
from services._chassis.workers import Worker
from tests.builders.doors import OpenDoors, open_doors, service_identity, settings_for
from tests.builders.refusals import refusal_of
from tests.fakes.access import FakeAccess
from tests.fakes.clock import FakeClock

SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING
NAME = "epm.device.v1.EnrolmentService"


class Enrolment(agent_pb2_grpc.EnrolmentServiceServicer):
    """Answer once the test says so."""

    def __init__(self) -> None:
        self.entered = asyncio.Event()
        self.leave = asyncio.Event()

    async def Enroll(self, request: agent_pb2.EnrollRequest, context: Any) -> agent_pb2.EnrollResponse:
        self.entered.set()
        await self.leave.wait()
        return agent_pb2.EnrollResponse(device_id="d-1")


class Watch(access_pb2_grpc.AccessServiceServicer):
    """Stream until the server drains."""

    def __init__(self) -> None:
        self.draining = asyncio.Event()

    async def WatchAccess(
        self, request: access_pb2.WatchAccessRequest, context: Any
    ) -> AsyncIterator[access_pb2.WatchAccessResponse]:
        yield access_pb2.WatchAccessResponse(heartbeat=access_pb2.Heartbeat(revision=1))
        await self.draining.wait()


class Running:
    """A service of two servicers and a worker, and what became of them."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.access = FakeAccess(self.clock, bound=timedelta(seconds=60))
        self.enrolment = Enrolment()
        self.watch = Watch()  # type: ignore[abstract]  # what is not overridden answers UNIMPLEMENTED
        self.working = asyncio.Event()
        self.happened: list[str] = []

    def parts(self, name: str = "test") -> ServiceParts:
        async def work() -> None:
            self.working.set()
            try:
                await asyncio.Event().wait()
            finally:
                self.happened.append("worker ended")

        async def drain() -> None:
            self.happened.append("drained")
            self.watch.draining.set()

        async def close() -> None:
            self.happened.append(f"{name} closed")

        return ServiceParts(
            name=name,
            access=self.access.control,
            public=[partial(agent_pb2_grpc.add_EnrolmentServiceServicer_to_server, self.enrolment)],
            mesh=[partial(access_pb2_grpc.add_AccessServiceServicer_to_server, self.watch)],
            workers=[Worker("test", work)],
            on_drain=[drain],
            close=close,
        )


@pytest.fixture
def running() -> Running:
    return Running()


def enroll(channel: grpc.aio.Channel) -> Any:
    return agent_pb2_grpc.EnrolmentServiceStub(channel).Enroll(agent_pb2.EnrollRequest())


async def test_an_rpc_that_declares_no_caller_keeps_the_server_from_starting(tmp_path: Path) -> None:
    host = Host(settings_for(tmp_path))
    add = partial(health_pb2_grpc.add_HealthServicer_to_server, health_pb2_grpc.HealthServicer())
    with pytest.raises(InvalidError) as raised:
        host.add(ServiceParts(name="test", access=FakeAccess().control, public=[add]))
    assert {problem.field for problem in raised.value.problems} >= {
        "grpc.health.v1.Health.Check",
        "grpc.health.v1.Health.Watch",
    }


async def test_a_proto_service_on_the_wrong_door_keeps_the_server_from_starting(tmp_path: Path) -> None:
    add = partial(access_pb2_grpc.add_AccessServiceServicer_to_server, Running().watch)
    with pytest.raises(InvalidError, match="the other door"):
        Host(settings_for(tmp_path)).add(ServiceParts(name="test", access=FakeAccess().control, public=[add]))


async def test_a_taken_port_is_refused(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(StateError, match=f"cannot listen on 127.0.0.1:{port}: the port is taken"):
            Host(settings_for(tmp_path, public_port=port)).bind()


async def test_a_certificate_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    missing = CertificateFiles(tmp_path / "none.crt", tmp_path / "none.key")
    with pytest.raises(StateError, match=r"cannot read .*none\.key: No such file"):
        Host(settings_for(tmp_path, public_certificate=missing)).bind()


async def test_the_system_chooses_the_ports_where_none_are_given(running: Running, tmp_path: Path) -> None:
    async with open_doors(tmp_path, running.parts()) as doors:
        ports = {doors.settings.public_port, doors.settings.mesh_port}
        assert len(ports) == 2
        assert 0 not in ports


async def health_of(doors: OpenDoors, service: str = "") -> AsyncIterator[int]:
    async with doors.public() as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        async for answer in stub.Watch(health_pb2.HealthCheckRequest(service=service)):
            yield answer.status


async def become(doors: OpenDoors, wanted: int, service: str = "") -> None:
    """Return once health says so."""
    async for status in health_of(doors, service):
        if status == wanted:
            return


async def test_nothing_serves_before_access_is_known(running: Running, tmp_path: Path) -> None:
    async with open_doors(tmp_path, running.parts(), clock=running.clock) as doors:
        assert await anext(health_of(doors, NAME)) != SERVING


@pytest.mark.parametrize("service", ["", NAME, "epm.access.v1.AccessService"])
async def test_a_server_serves_while_it_knows_who_may_do_what(running: Running, tmp_path: Path, service: str) -> None:
    async with open_doors(tmp_path, running.parts(), clock=running.clock) as doors:
        running.access.owner()
        await become(doors, SERVING, service)
        running.clock.advance(timedelta(seconds=60))
        await become(doors, NOT_SERVING, service)
        running.access.control.confirm()
        await become(doors, SERVING, service)


async def test_a_proto_service_that_cannot_work_does_not_serve_though_it_knows_who_may_do_what(
    running: Running, tmp_path: Path
) -> None:
    able = False
    parts = replace(running.parts(), able={NAME: lambda: able})
    async with open_doors(tmp_path, parts, clock=running.clock) as doors:
        running.access.owner()
        await become(doors, SERVING, "epm.access.v1.AccessService")
        for service in (NAME, ""):
            await become(doors, NOT_SERVING, service)
        able = True
        for service in (NAME, ""):
            await become(doors, SERVING, service)


async def may_watch(doors: OpenDoors, service: str) -> bool:
    try:
        await anext(health_of(doors, service))
    except grpc.aio.AioRpcError as error:
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED  # noqa: PT017 - one of two ways to end
        return False
    return True


async def test_strangers_cannot_fill_the_memory_by_watching_the_health(running: Running, tmp_path: Path) -> None:
    async with open_doors(tmp_path, running.parts()) as doors, doors.public() as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        watches = [stub.Watch(health_pb2.HealthCheckRequest(service=NAME)) for _ in range(MOST_WATCHERS)]
        await asyncio.gather(*(watch.read() for watch in watches))
        assert not await may_watch(doors, NAME)
        watches[0].cancel()
        while not await may_watch(doors, NAME):
            pass
        assert not await may_watch(doors, "x" * 257)


async def test_the_port_for_health_checks_needs_no_certificate(running: Running, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    running.access.owner()
    async with open_doors(tmp_path, running.parts(), health_port=port) as doors:
        await doors.host.wait_until_serving()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            stub: Any = health_pb2_grpc.HealthStub(channel)
            assert (await stub.Check(health_pb2.HealthCheckRequest())).status == SERVING
            assert (await refusal_of(enroll(channel))).code == "UNIMPLEMENTED"


async def services_of(channel: Any) -> set[str]:
    stub: Any = reflection_pb2_grpc.ServerReflectionStub(channel)
    call = stub.ServerReflectionInfo()
    await call.write(reflection_pb2.ServerReflectionRequest(list_services=""))
    answer = await call.read()
    await call.done_writing()
    return {service.name for service in answer.list_services_response.service}


async def test_reflection_tells_what_is_behind_each_door(running: Running, tmp_path: Path) -> None:
    always = {"grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection"}
    async with open_doors(tmp_path, running.parts(), reflection=True) as doors:
        async with doors.public() as channel:
            assert await services_of(channel) == {NAME, *always}
        async with doors.mesh(service_identity("policy")) as channel:
            assert await services_of(channel) == {"epm.access.v1.AccessService", *always}


async def test_without_its_flag_reflection_tells_nothing(running: Running, tmp_path: Path) -> None:
    async with open_doors(tmp_path, running.parts()) as doors, doors.public() as open_channel:
        channel: Any = open_channel
        stub: Any = reflection_pb2_grpc.ServerReflectionStub(channel)
        call = stub.ServerReflectionInfo()
        await call.done_writing()
        assert (await refusal_of(call.read())).code == "UNIMPLEMENTED"


async def test_draining_lets_running_calls_end_and_then_closes_everything(running: Running, tmp_path: Path) -> None:
    grace = timedelta(seconds=30)
    async with open_doors(tmp_path, running.parts(), drain_grace=grace) as doors, doors.public() as channel:
        await running.working.wait()
        call = asyncio.ensure_future(enroll(channel))
        await running.enrolment.entered.wait()
        stopping = asyncio.create_task(doors.host.stop())
        await running.watch.draining.wait()
        assert running.happened == ["drained"]
        running.enrolment.leave.set()
        assert (await call).device_id == "d-1"
        await stopping
        assert running.happened == ["drained", "worker ended", "test closed"]


async def test_a_clean_end_warns_of_no_peer_that_ends_with_it(running: Running, tmp_path: Path) -> None:
    draining, lost = asyncio.Event(), asyncio.Event()

    async def follow() -> None:
        await draining.wait()
        lost.set()
        raise UnavailableError("the service ended the stream")

    async def drain() -> None:
        draining.set()
        await lost.wait()

    parts = replace(running.parts(), workers=[Worker("follow", follow)], on_drain=[drain])
    with structlog.testing.capture_logs() as logs:
        async with open_doors(tmp_path, parts) as doors:
            await doors.host.stop()
    assert [line["event"] for line in logs if line["log_level"] != "info"] == []


async def test_a_call_that_takes_longer_than_the_grace_is_cut(running: Running, tmp_path: Path) -> None:
    grace = timedelta(milliseconds=10)
    async with open_doors(tmp_path, running.parts(), drain_grace=grace) as doors, doors.public() as channel:
        call = asyncio.ensure_future(enroll(channel))
        await running.enrolment.entered.wait()
        await doors.host.stop()
        assert (await refusal_of(call)).code in ("UNAVAILABLE", "CANCELLED")


async def test_draining_sends_the_streams_away(running: Running, tmp_path: Path) -> None:
    identity = service_identity("policy")
    grace = timedelta(seconds=30)
    async with open_doors(tmp_path, running.parts(), drain_grace=grace) as doors, doors.mesh(identity) as channel:
        stream = aiter(access_pb2_grpc.AccessServiceStub(channel).WatchAccess(access_pb2.WatchAccessRequest()))
        await anext(stream)
        await doors.host.stop()
        with pytest.raises(StopAsyncIteration):
            await anext(stream)


async def test_services_of_one_process_close_in_the_reverse_order(running: Running, tmp_path: Path) -> None:
    other = ServiceParts(name="other", access=running.access.control, close=running.parts("other").close)
    async with open_doors(tmp_path, running.parts(), other):
        pass
    assert running.happened[-2:] == ["other closed", "test closed"]
