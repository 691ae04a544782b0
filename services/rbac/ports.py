"""What the use cases need from the outside."""

from collections.abc import Collection, Mapping
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Protocol

from services._chassis.audit import AuditEntry
from services.rbac.model.issuers import IssuerKeys, TrustedIssuer
from services.rbac.model.nouns import AccessObject, AccessState, Kept


class Work(Protocol):
    """Look at the access data and change it, inside one transaction that nobody else interferes with."""

    async def state(self) -> AccessState:
        """Return everything, built-in roles included."""
        ...

    async def put(self, item: Kept) -> None:
        """Create or replace an object."""
        ...

    async def remove(self, item: AccessObject | IssuerKeys) -> None:
        """Delete an object."""
        ...

    async def record(self, entry: AuditEntry, now: datetime) -> None:
        """Write down what was done, in the same transaction."""
        ...

    async def revision(self) -> int:
        """Return the revision that the data has when the transaction ends."""
        ...


class Store(Protocol):
    """Open transactions on the access data."""

    def writing(self) -> AbstractAsyncContextManager[Work]:
        """Open a transaction; it is committed if the block is left cleanly."""
        ...

    def reading(self) -> AbstractAsyncContextManager[Work]:
        """Open a transaction that changes nothing."""
        ...


class TokenUseRecord(Protocol):
    """Keep when tokens were last shown."""

    async def note(self, uses: Mapping[str, datetime]) -> None:
        """Keep the times of tokens that there are, by id, unless a later one is known."""
        ...

    async def last_used(self, token_ids: Collection[str]) -> Mapping[str, datetime]:
        """Return when these tokens were last shown, by id; those that never were are not in it."""
        ...


class KeySource(Protocol):
    """Fetch what identity providers publish."""

    async def key_set_of(self, issuer: TrustedIssuer) -> str:
        """Return the issuer's key set as it is published now. Raises UnavailableError where it cannot be had or read."""
        ...


class OwnerTokenFile(Protocol):
    """Keep the first token where the operator finds it."""

    def write(self, text: str) -> None:
        """Write the token's text, readable by the operator alone."""
        ...
