"""How far the policy of each device has come, in the service's database."""

from typing import Protocol

from services._chassis.db import Database
from services.policy.ports import Deliveries
from services.policy.store.postgres_deliveries import PostgresDeliveries
from services.policy.store.sqlite_deliveries import SqliteDeliveries


class KeptDeliveries(Deliveries, Protocol):
    """Keep deliveries; a device without a row has an empty one."""

    changes: int
    """Moves with everything that this process changes."""

    async def close(self) -> None:
        """Close what is open beside the database."""
        ...


def deliveries_in(database: Database) -> KeptDeliveries:
    """Return the deliveries that are kept in the database."""
    return PostgresDeliveries(database) if database.on_postgresql else SqliteDeliveries(database)
