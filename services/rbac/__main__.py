"""Put the rbac service together: `python -m services.rbac`, or a part of `epm serve`."""

import secrets
from functools import partial
from pathlib import Path

import uuid_utils

from epm.access.v1 import access_pb2_grpc, queries_pb2_grpc
from epm.rbac.v1 import rbac_pb2_grpc
from services._chassis.access import AccessControl
from services._chassis.audit_log import AuditLog
from services._chassis.auth import TOKEN_PREFIX, digest_of
from services._chassis.clock import Clock, SystemClock
from services._chassis.config import ServiceSettings
from services._chassis.db import Database
from services._chassis.files import write_private
from services._chassis.migrate import upgrade
from services._chassis.refusal_writer import RefusalWriter
from services._chassis.run import run
from services._chassis.server import ServiceParts
from services.rbac import usecases
from services.rbac.clients import HttpsKeySource
from services.rbac.servicer.administrators import RbacServicer
from services.rbac.servicer.queries import AccessQueryServicer
from services.rbac.servicer.services import AccessServicer
from services.rbac.store import AUDIT, SqlStore, SqlTokenUses
from services.rbac.workers import AccessPublisher, KeyFetcher, TokenUseKeeper

SECRET_BYTES = 32


class OwnerToken:
    """Keep the first token in the data folder."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def write(self, text: str) -> None:
        """Write the token for the owner of the folder alone."""
        write_private(self._path, f"{text}\n".encode())


async def build(settings: ServiceSettings, clock: Clock | None = None) -> ServiceParts:
    """Open the database, make the first Owner if there is none, and hand the service over."""
    clock = clock or SystemClock()
    database = await Database.connect(settings.database_of("rbac"), service="rbac")
    await upgrade(database)
    audit = await AuditLog.open(settings, database, AUDIT, clock)
    store = SqlStore(database)
    await make_first_owner(store, settings, clock)
    access = AccessControl(clock, bound=settings.access_bound)
    publisher = AccessPublisher(store, database.changes, access, heartbeat=settings.access_heartbeat)
    await publisher.publish()
    refused = RefusalWriter.on(database, AUDIT, clock.now)
    keys = KeyFetcher(
        store,
        database.changes,
        HttpsKeySource(settings.oidc_ca_file),
        clock=clock,
        every=settings.oidc_key_refresh,
    )
    uses = SqlTokenUses(database)
    keeper = TokenUseKeeper(uses, clock)
    servicer = RbacServicer(store, publisher, access, uses=uses, now=clock.now, new_id=new_id, new_secret=new_secret)

    async def close() -> None:
        await refused.close()
        await audit.close()
        await database.close()

    return ServiceParts(
        name="rbac",
        access=access,
        refusals=refused.refusals,
        audit=audit,
        public=[
            partial(rbac_pb2_grpc.add_RbacServiceServicer_to_server, servicer),
            partial(
                queries_pb2_grpc.add_AccessQueryServiceServicer_to_server, AccessQueryServicer(access, now=clock.now)
            ),
        ],
        mesh=[partial(access_pb2_grpc.add_AccessServiceServicer_to_server, AccessServicer(publisher, keeper))],
        workers=[
            *(part.worker() for part in (publisher, keys, database.changes, refused)),
            keeper.worker(access.uses),
        ],
        on_drain=[publisher.close],
        close=close,
    )


async def make_first_owner(store: SqlStore, settings: ServiceSettings, clock: Clock) -> None:
    """Make the first Owner and leave its token in the data folder, unless there is an Owner."""
    secret = new_secret()
    file = OwnerToken(settings.data_dir / "owner-token")
    await usecases.bootstrap(store, file, token_id=new_id(), secret=secret, digest=digest_of(secret), now=clock.now())


def new_id() -> str:
    """Return a new identifier; later ones sort after earlier ones."""
    return str(uuid_utils.uuid7())


def new_secret() -> str:
    """Return the text of a new token."""
    return TOKEN_PREFIX + secrets.token_urlsafe(SECRET_BYTES)


if __name__ == "__main__":
    run({"rbac": build})
