"""Keep the policy of a virtual agent: with everything that a real one does, or with as little as thousands can afford.

Both are `agent_stub`'s keeper, so both verify, refuse and confirm by the same code. The *faithful* one reads documents and
stores them in a folder of its own. The *light* one checks signature, digest, order and device, and keeps the bytes in
memory; it does not look for parts of the document that it does not understand.
"""

import shutil
from pathlib import Path
from typing import Protocol

from google.protobuf.message import DecodeError

from agent_stub.model import Identity
from agent_stub.policy.document import DevicePolicy
from agent_stub.policy.keeper import CONTACT, POLICY, Contact, Held, PolicyKeeper
from agent_stub.policy.manifest import Manifest, digest_problems
from elevation.document import PolicyDocument, UserPolicy
from epm.elevation.v1 import document_pb2
from epm.policy.v1 import agent_pb2
from fleet.faults import Armed, KilledError
from fleet.model import FaultKind, Holding

OLDER = "older"
_UNREAD = DevicePolicy(PolicyDocument(device_id="", device_name="", any_user=UserPolicy("", None)))
"""Stands for what a light agent does not read."""


class Memory(Protocol):
    """What of a keeper lives on when its agent is restarted, or is taken back."""

    def restarted(self) -> PolicyKeeper:
        """Give the keeper of the agent's next run."""
        ...

    def rewind(self) -> bool:
        """Put the state before the last document back; tell whether there was one."""
        ...


class FaithfulMemory:
    """A folder, as a real agent has it, and a copy of what was in it before the last document."""

    def __init__(self, folder: Path, identity: Identity, armed: Armed) -> None:
        self._folder = folder
        self._identity = identity
        self._armed = armed

    def restarted(self) -> PolicyKeeper:
        """Read the folder, as an agent does that starts."""
        keeper = FaithfulKeeper(self._folder, self._identity, self._armed)
        keeper.load()
        return keeper

    def rewind(self) -> bool:
        """Put the older files back, as somebody does who restores a disk."""
        older = self._folder / OLDER
        if not (older / POLICY).exists():
            return False
        for name in (POLICY, CONTACT):
            if (older / name).exists():
                shutil.copyfile(older / name, self._folder / name)
            else:
                (self._folder / name).unlink(missing_ok=True)
        return True


class FaithfulKeeper(PolicyKeeper):
    """The real keeper, which can be killed while it stores."""

    def __init__(self, folder: Path, identity: Identity, armed: Armed) -> None:
        super().__init__(folder, identity)
        self._place = folder
        self._armed = armed

    def _store(self, offer: agent_pb2.Offer) -> None:
        self._copy()
        if self._armed.take(FaultKind.KILL_BEFORE_RENAME):
            (self._place / f".{POLICY}.new").write_bytes(offer.SerializeToString())
            raise KilledError
        super()._store(offer)
        if self._armed.take(FaultKind.KILL_AFTER_RENAME):
            raise KilledError

    def _copy(self) -> None:
        older = self._place / OLDER
        older.mkdir(mode=0o700, exist_ok=True)
        for name in (POLICY, CONTACT):
            if (self._place / name).exists():
                shutil.copyfile(self._place / name, older / name)


class LightKeeper(PolicyKeeper):
    """The real keeper without a disk and without reading: what it holds is its own memory."""

    def __init__(self, identity: Identity) -> None:
        super().__init__(Path(), identity)
        self._device_id = identity.device_id
        self._older: tuple[Held | None, Contact, bytes] | None = None
        self.document = b""

    def load(self) -> list[str]:
        """Go on with what is in memory."""
        return []

    def restarted(self) -> PolicyKeeper:
        """Go on with what is in memory."""
        return self

    def rewind(self) -> bool:
        """Take up again what was held before the last document."""
        if self._older is None:
            return False
        self.held, self._contact, self.document = self._older
        return True

    def copy_of(self, other: PolicyKeeper) -> "LightKeeper":
        """Hold what another keeper holds, as a cloned disk does, and return itself."""
        self.held, self._contact = other.held, other._contact  # noqa: SLF001 - its own kind
        return self

    def _read(self, manifest: Manifest, content: bytes) -> tuple[DevicePolicy | None, list[str]]:
        if problems := digest_problems(manifest, content):
            return None, problems
        if (named := device_of(content)) != self._device_id:
            return None, [f"device_id: the document is for the device {named!r}"]
        return _UNREAD, []

    def _store(self, offer: agent_pb2.Offer) -> None:
        self._older = (self.held, self._contact, self.document)
        self.document = offer.document

    def _save_contact(self) -> None:
        self._saved = self._contact.confirmed


def holding_of(keeper: PolicyKeeper) -> Holding:
    """Say what a keeper has in force."""
    return Holding() if keeper.held is None else Holding(keeper.held.revision, keeper.held.sha256)


def device_of(content: bytes) -> str:
    """Name the device that a document is for; empty where it cannot be read."""
    try:
        return document_pb2.PolicyDocument.FromString(content).device_id
    except DecodeError:
        return ""
