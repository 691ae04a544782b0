"""Running services until somebody asks the process to end."""

import asyncio
import signal
import socket
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from services._chassis.config import ServiceSettings
from services._chassis.errors import InvalidError, StateError, UnavailableError
from services._chassis.files import lock
from services._chassis.run import Build, run, run_until_signalled, running, serve
from services._chassis.server import ServiceParts
from tests.builders.doors import settings_for
from tests.fakes.access import FakeAccess


class Services:
    """Build services that do nothing, and note what happens to them."""

    def __init__(self, *, failing: str = "") -> None:
        self.happened: list[str] = []
        self.built_with: list[ServiceSettings] = []
        self.access = FakeAccess()
        self.access.owner()
        self._failing = failing

    def builds(self, *names: str) -> dict[str, Build]:
        return {name: self._build(name) for name in names}

    def _build(self, name: str) -> Build:
        async def build(settings: ServiceSettings) -> ServiceParts:
            if name == self._failing:
                raise UnavailableError("the database does not answer")
            self.happened.append(f"{name} built")
            self.built_with.append(settings)
            return ServiceParts(name=name, access=self.access.control, close=self._close(name))

        return build

    def _close(self, name: str) -> Callable[[], Awaitable[None]]:
        async def close() -> None:
            self.happened.append(f"{name} closed")

        return close


@pytest.fixture
def services() -> Services:
    return Services()


@pytest.fixture
def settings(tmp_path: Path) -> ServiceSettings:
    tmp_path.chmod(0o700)
    return settings_for(tmp_path)


def names_in(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


async def enter(manager: AbstractAsyncContextManager[object]) -> None:
    async with manager:
        pass


async def test_services_are_built_in_order_with_the_real_ports_and_closed_in_reverse(
    services: Services, settings: ServiceSettings
) -> None:
    async with running(settings, services.builds("one", "two")) as host:
        assert services.built_with == [host.settings, host.settings]
        assert 0 not in (host.settings.public_port, host.settings.mesh_port)
    assert services.happened == ["one built", "two built", "two closed", "one closed"]


async def test_wrong_settings_are_refused_before_anything_is_made(services: Services, tmp_path: Path) -> None:
    wrong = ServiceSettings(data_dir=tmp_path / "new", public_port=-1)
    with pytest.raises(InvalidError):
        await enter(running(wrong, services.builds("one")))
    assert (services.happened, names_in(tmp_path)) == ([], [])


async def test_a_service_that_cannot_be_built_closes_those_before_it_and_gives_the_locks_back(
    settings: ServiceSettings,
) -> None:
    services = Services(failing="two")
    with pytest.raises(UnavailableError):
        await enter(running(settings, services.builds("one", "two", "three")))
    assert services.happened == ["one built", "one closed"]
    for name in ("one", "two", "three"):
        lock(settings.data_dir, name).release()


async def test_the_folder_is_prepared_once_the_locks_are_held(services: Services, settings: ServiceSettings) -> None:
    def prepare() -> None:
        services.happened.append("prepared")
        with pytest.raises(StateError):
            lock(settings.data_dir, "one")

    await enter(running(settings, services.builds("one"), prepare))
    assert services.happened == ["prepared", "one built", "one closed"]


async def test_one_lock_that_is_taken_keeps_all_out(services: Services, settings: ServiceSettings) -> None:
    held = lock(settings.data_dir, "two")
    with pytest.raises(StateError, match="the two service already runs"):
        await enter(running(settings, services.builds("one", "two")))
    assert services.happened == []
    lock(settings.data_dir, "one").release()
    held.release()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_the_process_after_it_said_that_it_serves(
    services: Services, settings: ServiceSettings, number: signal.Signals
) -> None:
    ready: asyncio.Future[ServiceSettings] = asyncio.get_running_loop().create_future()
    serving = asyncio.create_task(serve(settings, services.builds("one"), ready.set_result))
    bound = await ready
    socket.create_connection(("127.0.0.1", bound.public_port), timeout=10).close()
    signal.raise_signal(number)
    await serving
    assert services.happened == ["one built", "one closed"]


def test_a_refused_start_is_one_line_and_the_exit_code_2(
    settings: ServiceSettings, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run_until_signalled(settings, Services(failing="one").builds("one")) == 2
    assert capfd.readouterr().err == "error: the database does not answer\n"


def test_a_program_of_one_service_wants_its_folder(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["rbac"])
    with pytest.raises(SystemExit) as ended:
        run({})
    assert ended.value.code == 2
    assert "usage: python -m services.NAME DATA_DIR" in capfd.readouterr().err


def test_a_program_of_one_service_prepares_its_folder_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["rbac", str(tmp_path / "data")])
    with pytest.raises(SystemExit) as ended:
        run(Services().builds("rbac"))
    assert ended.value.code == 2
    assert "the certificate of the installation's CA is missing" in capfd.readouterr().err
