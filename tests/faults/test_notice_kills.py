"""`kill -9` of the server between sending a notice and noting that it was sent; and receivers that fail, for the whole server."""

import asyncio
import base64
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa

from services._chassis.db import Database
from services.policy.model.notices import Notice
from services.policy.store.outbox import tell
from services.policy.store.tables import OUTBOX
from tests.builders.installation import Installation, installation
from tests.builders.notices import notice
from tests.builders.receivers import Receiver, webhook_receiver

pytestmark = pytest.mark.xdist_group("faults-notices")

FILE = """\
allowedAddresses: [127.0.0.1]
webhooks:
  - {name: chat, url: "https://127.0.0.1:%d%s", secretFile: secret, caFile: %s, scopeTags: [emea]}
"""


def notices_file(folder: Path, receiver: Receiver, path: str) -> str:
    secret = folder / "secret"
    secret.touch(mode=0o600)
    secret.write_text("whsec_" + base64.b64encode(bytes(32)).decode())
    file = folder / "notices.yaml"
    file.write_text(FILE % (receiver.port, path, receiver.ca_file))
    return str(file)


async def in_database(house: Installation, *notices: Notice, expire: bool = False) -> list[str]:
    """Keep notices as a change of a request does, or let all leases run out; return what the outbox holds then."""
    database = await Database.connect(f"sqlite:///{house.data_dir / 'policy.db'}", service="policy")
    async with database.transaction() as tx:
        for each in notices:
            await tell(tx, each)
            await tx.next_revision()
        if expire:
            await tx.execute(sa.update(OUTBOX).values(due=datetime.now(UTC)))
        kept = list((await tx.execute(sa.select(OUTBOX.c.notice))).scalars())
    await database.close()
    return kept


def test_a_server_killed_between_sending_and_noting_it_sends_again_under_the_same_identifier(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    told = notice(1, recorded=now, scope_tags=frozenset({"emea"}))
    hidden = notice(2, recorded=now, scope_tags=frozenset({"apac"}))
    house_folder = tmp_path / "house"
    house_folder.mkdir()
    with (
        webhook_receiver(tmp_path) as receiver,
        installation(house_folder, EPM_NOTICES_FILE=notices_file(tmp_path, receiver, "/late")) as house,
    ):
        asyncio.run(in_database(house, hidden, told))
        house.wait_for("the first notice", receiver.received)
        house.programs.pop("server").kill()
        assert asyncio.run(in_database(house, expire=True)) == [told.id]
        house.serve()
        house.wait_for("the second notice", lambda: len(receiver.received()) == 2)
        house.wait_for("an empty outbox", lambda: asyncio.run(in_database(house)) == [])
    assert [request["headers"]["webhook-id"] for request in receiver.received()] == [told.id, told.id]
