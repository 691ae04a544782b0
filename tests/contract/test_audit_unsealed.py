"""Records behind the newest checkpoint are told of at the start, on SQLite and on PostgreSQL: anybody may have written them."""

from pathlib import Path
from typing import Any

import sqlalchemy as sa
from structlog.testing import capture_logs

from services._chassis.audit_store import checkpoints_of
from tests.builders.audit import AUDIT, demo_service


async def test_records_that_no_checkpoint_vouches_for_are_told_of_before_they_are_sealed(
    empty_database_url: str, tmp_path: Path
) -> None:
    async with demo_service(empty_database_url, tmp_path) as service:
        await service.write("a")
        await service.log.seal()
        await service.write("b", "c")
        with capture_logs() as logs:
            async with demo_service(empty_database_url, tmp_path) as again:
                assert unsealed(logs) == [(2, 2, 3)]
                await again.log.seal()
    with capture_logs() as logs:
        async with demo_service(empty_database_url, tmp_path):
            pass
    assert unsealed(logs) == []


async def test_a_checkpoint_that_nobody_signed_vouches_for_no_record(empty_database_url: str, tmp_path: Path) -> None:
    async with demo_service(empty_database_url, tmp_path) as service:
        await service.write("a")
        await service.log.seal()
        await service.write("b")
        async with service.database.read() as tx:
            genuine = await service.log.reader.newest_checkpoint(tx)
        newest = (await service.records())[-1]
        row = {
            name: getattr(genuine, name) for name in ("signed", "pruned_through", "anchor_hash", "key_id", "signature")
        }
        async with service.database.transaction() as tx:
            await tx.execute(sa.insert(checkpoints_of(AUDIT)), {**row, "sequence": 2, "hash": newest.hash})
        with capture_logs() as logs:
            async with demo_service(empty_database_url, tmp_path):
                pass
    assert unsealed(logs) == [(1, 2, 2)]


def unsealed(logs: list[Any]) -> list[tuple[int, int, int]]:
    """Return what was said of records that no checkpoint vouched for."""
    told = (entry for entry in logs if entry["event"] == "audit_records_unsealed")
    return [(entry["count"], entry["first"], entry["last"]) for entry in told]
