"""The device service dies in the middle of what it does: it is done whole or not at all, and once."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from services.device.usecases import moves, renewal
from tests.builders.doors import device_request
from tests.builders.installation import Installation, installation
from tests.faults.devices import check_in, enrol, history, renew, token
from tests.faults.house import NAME, arrive, device, killed, serve_again, serve_to_die, settings

pytestmark = pytest.mark.xdist_group("faults-crashes")
NAMES = (NAME, "ws-2")


@pytest.fixture
def house(tmp_path: Path) -> Iterator[Installation]:
    with installation(tmp_path, EPM_DEPROVISION_AFTER="PT2S", EPM_CHECK_IN_INTERVAL="PT1S") as house:
        yield house


def reaches(house: Installation, name: str, state: str) -> None:
    house.wait_for(state, lambda: device(house, name)["epmState"] == state)


def stored_states(house: Installation) -> dict[str, str]:
    with sqlite3.connect(f"file:{house.data_dir / 'device.db'}?mode=ro", uri=True) as database:
        return dict(database.execute("SELECT name, epm_state FROM device_devices"))


def states(house: Installation, name: str) -> list[str]:
    return [entry["after"] for entry in history(house, name, "EPM_STATE")]


def test_a_sweep_that_a_crash_cuts_off_moved_no_device_and_the_next_one_moves_each_once(house: Installation) -> None:
    for name in NAMES:
        house.enrol(name)
        house.run_agent(name)
    house.apply(settings("DENY"))
    arrive(house)
    for name in NAMES:
        reaches(house, name, "ACTIVE")
        house.programs.pop(name).kill()
    serve_to_die(house, moves.__name__, "Moves.keep", "DEPROVISIONING")
    house.apply(settings("DENY").replace("{group: all-devices}", ""))
    killed(house, "server")
    assert stored_states(house) == dict.fromkeys(NAMES, "DEPROVISION_PENDING")

    serve_again(house)
    for name in NAMES:
        reaches(house, name, "DEPROVISIONING")
        assert states(house, name)[-2:] == ["DEPROVISION_PENDING", "DEPROVISIONING"]


@pytest.mark.parametrize(("path", "issued"), [("_record", 1), ("renew", 2)], ids=["before-commit", "after-commit"])
def test_a_renewal_that_a_crash_cuts_off_leaves_a_certificate_that_counts_and_is_asked_for_again(
    house: Installation, path: str, issued: int
) -> None:
    old, request = enrol(house, token(house, 1), NAME), device_request()
    serve_to_die(house, renewal.__name__, path)
    with pytest.raises(grpc.RpcError):
        renew(house, old, request)
    killed(house, "server")
    serve_again(house)
    assert len(history(house, NAME, "CERTIFICATE")) == issued
    check_in(house, old)
    new = renew(house, old, request)
    check_in(house, new)
    assert device(house)["suspectedClone"] is None
    with pytest.raises(grpc.RpcError, match="was replaced"):
        check_in(house, old)
