"""Keep the policy of a virtual agent: with everything that a real one does, or with as little as thousands can afford.

Both are `agent_stub`'s keeper, so both verify, refuse and confirm by the same code. The *faithful* one reads documents and
stores them in a folder of its own. The *light* one checks signature, digest, order and device, and keeps the bytes in
memory; it does not look for parts of the document that it does not understand.
"""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from google.protobuf.message import DecodeError

from agent_stub import identity_store
from agent_stub.files import private_folder, write_private
from agent_stub.model import Credentials, Identity
from agent_stub.policy.document import DevicePolicy
from agent_stub.policy.keeper import CONTACT, POLICY, Contact, Held, PolicyKeeper
from agent_stub.policy.manifest import Manifest, digest_problems
from elevation.document import PolicyDocument, UserPolicy
from epm.elevation.v1 import document_pb2
from epm.policy.v1 import agent_pb2
from fleet.faults import Armed, KilledError
from fleet.model import FaultKind, Holding

OLDER = "older"
_CHANGING = (POLICY, CONTACT, identity_store.IDENTITY)
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
    """The state folder of a real agent, and a copy of what was in it before the last document."""

    def __init__(self, folder: Path, identity: Identity, credentials: Credentials, armed: Armed) -> None:
        self._folder = private_folder(folder)
        self._armed = armed
        if not identity_store.is_enrolled(folder):
            write_private(folder / identity_store.KEY, credentials.key)
            identity_store.save(folder, identity, credentials)

    def restarted(self) -> PolicyKeeper:
        """Read the folder, as an agent does that starts."""
        identity, _ = identity_store.load(self._folder)
        keeper = FaithfulKeeper(self._folder, identity, self._armed)
        keeper.load()
        return keeper

    def rewind(self) -> bool:
        """Put the older files back, as somebody does who restores a disk."""
        older = self._folder / OLDER
        if not (older / POLICY).exists():
            return False
        for name in _CHANGING:
            if (older / name).exists():
                shutil.copyfile(older / name, self._folder / name)
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
        for name in _CHANGING:
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
        self.held, self._contact, self._identity = other.held, other._contact, other._identity  # noqa: SLF001 - its own kind
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

    def _remove(self) -> None:
        self.document = b""

    def _take_up_keys(self, manifest: Manifest, signed: agent_pb2.SignedManifest) -> None:
        del signed
        self._identity = replace(self._identity, policy_keys=dict(manifest.keys), policy_keys_issued=manifest.issued)

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
