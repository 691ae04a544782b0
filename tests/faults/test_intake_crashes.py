"""The reporting service dies while a dead letter is tried again: its event is stored once, and the letter goes only behind it."""

import hashlib
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

import grpc
import pytest

from epm.reporting.v1 import intake_pb2, intake_pb2_grpc
from services.reporting import workers
from services.reporting.model.events import microseconds
from services.reporting.store import intake
from tests.builders.doors import bearer
from tests.builders.installation import PATIENCE, Installation, installation
from tests.builders.refusals import read_refusal
from tests.fakes.reporting import decided
from tests.faults.house import killed, serve_again, serve_to_die

pytestmark = pytest.mark.xdist_group("faults-intake")

INSERT = (
    "INSERT INTO reporting_dead_letter (device_id, journal_id, seq, digest, received, reason, body)"
    " VALUES (?, ?, ?, ?, ?, ?, ?)"
)
COUNTED = "SELECT coalesce(sum(attempts), 0) FROM reporting_count_by_decision WHERE span = 1"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    with installation(tmp_path_factory.mktemp("house")) as house:
        yield house


@pytest.fixture
def house(whole: Installation) -> Iterator[Installation]:
    """Serve as ever again after the test."""
    yield whole
    whole.wraps.pop("server", None)
    if "server" in whole.programs:
        whole.programs.pop("server").kill()
    whole.serve()


def call(house: Installation, rpc: str, **fields: Any) -> Any:
    """Call as the first Owner, over a connection of its own."""
    owner = bearer((house.data_dir / "owner-token").read_text(encoding="utf-8").strip())
    with grpc.secure_channel(house.server, grpc.ssl_channel_credentials(house.ca.read_bytes())) as channel:
        stub: Any = intake_pb2_grpc.IntakeServiceStub(channel)
        request = getattr(intake_pb2, f"{rpc}Request")(**fields)
        return getattr(stub, rpc)(request, metadata=owner, timeout=PATIENCE, wait_for_ready=True)


def put(house: Installation, seq: int) -> str:
    """Leave a dead letter as an older server did, and return its identifier."""
    now = datetime.now(UTC)
    body = decided(seq, at=now).SerializeToString()
    row = ("d1", "journal-1", seq, hashlib.sha256(body).hexdigest(), microseconds(now), "not known", body)
    with closing(sqlite3.connect(house.data_dir / "reporting.db", timeout=PATIENCE)) as database, database:
        number = database.execute(INSERT, row).lastrowid
    return f"{number}-{row[3][:8]}"


def kept(house: Installation, seq: int) -> tuple[int, int, int]:
    """Return how many letters, attempts and counted attempts there are of a place, and of all counts."""
    asked = (
        f"SELECT count(*) FROM reporting_dead_letter WHERE seq = {seq}",  # noqa: S608
        f"SELECT count(*) FROM reporting_attempt WHERE seq = {seq}",  # noqa: S608
        f"SELECT (SELECT count(*) FROM reporting_attempt) - ({COUNTED})",  # noqa: S608
    )
    with closing(sqlite3.connect(f"file:{house.data_dir / 'reporting.db'}?mode=ro", uri=True)) as database:
        letters, attempts, uncounted = (int(database.execute(one).fetchone()[0]) for one in asked)
    return letters, attempts, uncounted


@pytest.mark.parametrize(
    ("seq", "point", "left"),
    [
        (1, (intake.__name__, "SqlIntake.dead_letter"), (1, 0, 0)),
        (2, (workers.__name__, "GroupCommitWriter.store"), (1, 1, 0)),
        (3, (intake.__name__, "SqlIntake.settle"), (0, 1, 0)),
    ],
)
def test_a_server_killed_in_a_retry_stores_the_event_once_and_deletes_the_letter_behind_it(
    house: Installation, seq: int, point: tuple[str, str], left: tuple[int, int, int]
) -> None:
    letter = put(house, seq)
    serve_to_die(house, *point)
    with pytest.raises(grpc.RpcError):
        call(house, "RetryDeadLetters", ids=[letter])
    killed(house, "server")
    assert kept(house, seq) == left

    serve_again(house)
    assert kept(house, seq) == left
    if left[0]:
        assert call(house, "RetryDeadLetters", ids=[letter]).stored == 1
    else:
        with pytest.raises(grpc.RpcError) as refused:
            call(house, "RetryDeadLetters", ids=[letter])
        assert read_refusal(refused.value).code == "NOT_FOUND"  # type: ignore[arg-type]
    assert kept(house, seq) == (0, 1, 0)
