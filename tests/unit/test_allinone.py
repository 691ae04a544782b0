"""What `epm serve` composes: which services, in which order, from which files."""

import subprocess
import sys
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from services._chassis.errors import StateError
from services._chassis.run import running
from services.allinone import SERVICES, ServiceSettings, builds, init_data_dir


def test_services_are_built_in_the_order_in_which_they_need_one_another() -> None:
    assert tuple(builds()) == ("rbac", "device", "policy", "reporting") == SERVICES
    assert tuple(builds(("reporting", "rbac"))) == ("rbac", "reporting")


def test_one_service_loads_no_other(tmp_path: Path) -> None:
    script = (
        "import asyncio, pathlib, sys\n"
        "from services import allinone\n"
        f"settings = allinone.ServiceSettings(data_dir=pathlib.Path({str(tmp_path)!r}))\n"
        "async def main():\n"
        "    parts = await allinone.builds(['rbac'])['rbac'](settings)\n"
        "    await parts.close()\n"
        "asyncio.run(main())\n"
        "loaded = {name.split('.')[1] for name in sys.modules if name.startswith('services.')}\n"
        "sys.exit(0 if loaded == {'_chassis', 'allinone', 'rbac'} else str(loaded))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


async def test_nothing_is_prepared_on_a_folder_that_another_process_serves(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    settings = ServiceSettings(data_dir=folder, public_port=0, mesh_port=0)
    prepared: list[str] = []

    def prepare() -> None:
        prepared.append("first")
        init_data_dir(settings)

    async with running(settings, builds(("rbac",)), prepare):
        with pytest.raises(StateError, match="the rbac service already runs"):
            await enter(running(settings, builds(("rbac",)), lambda: prepared.append("second")))
    assert prepared == ["first"]


async def enter(manager: AbstractAsyncContextManager[object]) -> None:
    async with manager:
        pass
