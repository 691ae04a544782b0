"""Changes that decide whom policies reach: what somebody does to a store, standing as they may."""

from collections.abc import Awaitable, Callable
from dataclasses import replace

from elevation.model import GroupType
from services.device.model.devices import Attested
from services.device.model.groups import GroupDraft
from services.device.model.tokens import TokenDraft
from services.device.usecases.devices import DeviceChange, update_device
from services.device.usecases.groups import apply_groups, delete_group
from services.device.usecases.tokens import create_token
from services.device.usecases.visibility import Standing
from tests.fakes.access import permit
from tests.fakes.clock import NOW
from tests.fakes.device import MemoryStore

EVERYWHERE = permit(everything=True)
Change = Callable[[MemoryStore, Standing], Awaitable[object]]


def draft(name: str, *members: str, **values: object) -> GroupDraft:
    """Draft a group of devices."""
    return replace(GroupDraft(name=name, type=GroupType.DEVICE, members=members), **values)  # type: ignore[arg-type]


def applying(*drafts: GroupDraft, validate_only: bool = False) -> Change:
    """Apply groups, or only validate them."""

    async def change(store: MemoryStore, standing: Standing) -> object:
        return await apply_groups(store, drafts, standing=standing, validate_only=validate_only, now=NOW)

    return change


def deleting(name: str) -> Change:
    """Delete a group."""

    async def change(store: MemoryStore, standing: Standing) -> object:
        return await delete_group(store, name, permit=EVERYWHERE, standing=standing, now=NOW)

    return change


def updating(**values: object) -> Change:
    """Say this of the device d1."""
    attested = replace(Attested(scope_tags=("default",)), **values)  # type: ignore[arg-type]

    async def change(store: MemoryStore, standing: Standing) -> object:
        asked = DeviceChange("d1", attested, "1")
        return await update_device(store, asked, permit=EVERYWHERE, standing=standing, now=NOW)

    return change


def issuing(**values: object) -> Change:
    """Make an enrolment token."""
    drafted = replace(TokenDraft(), **values)  # type: ignore[arg-type]

    async def change(store: MemoryStore, standing: Standing) -> object:
        return await create_token(
            store, drafted, permit=EVERYWHERE, standing=standing, now=NOW, token_id="t1", secret="epmenr_x"
        )

    return change
