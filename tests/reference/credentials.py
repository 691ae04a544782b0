"""What holds for the certificates of devices, whatever happens in whatever order, on any store.

The machine keeps a book of its own of who holds which certificate and whether it counts, and holds the service to it.
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule

from services._chassis.errors import (
    ConflictError,
    DeniedError,
    NotFoundError,
    ServiceError,
    StateError,
    UnauthenticatedError,
)
from services._chassis.paging import PageRequest
from services.device.codec.directory import Transfer
from services.device.model.credentials import Certificate
from services.device.model.devices import Device, EnrolmentState
from services.device.model.installation import certificate_of
from services.device.ports import Store
from services.device.usecases.certificates import FLAG, Vigilance, admit
from services.device.usecases.enrolment import enrol
from services.device.usecases.leaving import ban_device, delete_device, lift_ban, retire_device
from services.device.usecases.renewal import Renewal, renew
from services.device.usecases.sightings import Sighting, SightingKind, report_sightings
from tests.builders.device_database import keep
from tests.builders.device_requests import an_enrolment, an_installation
from tests.builders.devices import a_token, some_bounds
from tests.builders.doors import device_request
from tests.fakes.access import permit
from tests.fakes.clock import NOW

OWNER = permit(everything=True)
NAMES = ("ws-1", "ws-2")
MOST_COUNTING = 2
Answer = TypeVar("Answer")
_KEYS = [device_request()[1].decode() for _ in range(12)]


class Held:
    """A certificate in somebody's hands, and what the law says of it by a book of its own."""

    def __init__(self, device_id: str, certificate: Certificate) -> None:
        self.device_id = device_id
        self.certificate = certificate
        self.used = False
        self.dead = False
        self.ended = False
        """Whether it died, at the latest, with the life of the device in which it was made."""


class CredentialMachine(RuleBasedStateMachine):
    """Renew, use old and new, enrol again, retire, ban, lift and delete, in any order."""

    certificates = Bundle("certificates")

    def __init__(self, runner: asyncio.Runner, store: Store) -> None:
        super().__init__()
        self.runner = runner
        self.store = store
        self.installation = an_installation()
        self.now = NOW
        self.made: list[Held] = []
        self.numbers = 0

    def run(self, verb: Callable[[], Awaitable[Answer]]) -> Answer | ServiceError:
        self.now += timedelta(minutes=1)

        async def told() -> Answer | ServiceError:
            try:
                return await verb()
            except ServiceError as error:
                return error

        return self.runner.run(told())

    def known(self) -> dict[str, Device]:
        """Return the devices that there are."""

        async def asked() -> dict[str, Device]:
            async with self.store.read() as work:
                page = await work.devices.page(PageRequest(1000), None)
            return {device.device_id: device for device in page.items}

        return self.runner.run(asked())

    def living(self, device_id: str) -> list[Held]:
        """Return what counts for a device, by the book."""
        return [held for held in self.made if held.device_id == device_id and not held.dead]

    @initialize()
    def begin(self) -> None:
        self.run(lambda: keep(self.store, a_token(text="open", quota=1000)))

    @rule(target=certificates, name=st.sampled_from(NAMES), key=st.sampled_from(_KEYS))
    def enrol(self, name: str, key: str) -> Held | None:
        return self.enter("open", name, key)

    @rule(target=certificates, held=certificates, key=st.sampled_from(_KEYS))
    def enrol_again_with_a_token_for_the_device(self, held: Held | None, key: str) -> Held | None:
        device = self.known().get(held.device_id) if held else None
        if device is None:
            return None
        self.numbers += 1
        token = a_token(f"for-{self.numbers}", quota=1, device_id=device.device_id)
        self.run(lambda: keep(self.store, token))
        return self.enter(f"for-{self.numbers}", device.name, key)

    def enter(self, token: str, name: str, key: str) -> Held | None:
        self.numbers += 1
        before = self.known()
        new_id = f"d{self.numbers}"
        asked = an_enrolment(token, name, csr=key)
        answer = self.run(
            lambda: enrol(self.store, asked, self.installation, bounds=some_bounds(), now=self.now, new_id=new_id)
        )
        if isinstance(answer, ServiceError):
            assert isinstance(answer, ConflictError | DeniedError | UnauthenticatedError)
            return None
        device = answer.device
        was = before.get(device.device_id)
        assert not any(other.enrolment is EnrolmentState.BANNED and other.name == name for other in before.values())
        repeated = device.credentials.unused is not None
        if not repeated:
            self.end_life(device.device_id)
        else:
            assert was is not None
            assert was.is_enrolled
        return self.hand_out(device.device_id, certificate_of(answer.certificate.encode()), used=not repeated)

    def end_life(self, device_id: str) -> None:
        for old in self.made:
            if old.device_id == device_id:
                old.dead = old.ended = True

    def hand_out(self, device_id: str, certificate: Certificate, *, used: bool) -> Held:
        for waiting in self.living(device_id):
            if not waiting.used:
                waiting.dead = True
        held = Held(device_id, certificate)
        held.used = used
        self.made.append(held)
        return held

    def first_use(self, held: Held) -> None:
        if held.used:
            return
        for other in self.living(held.device_id):
            other.dead = other is not held
        held.used = True

    @rule(target=certificates, held=certificates, key=st.sampled_from(_KEYS))
    def renew(self, held: Held | None, key: str) -> Held | None:
        if held is None:
            return None
        device_id = held.device_id
        asked = Renewal(device_id=device_id, csr=key, shown=held.certificate)
        answer = self.run(
            lambda: renew(
                self.store,
                asked,
                self.installation,
                vigilance=FLAG,
                bounds=some_bounds(),
                now=self.now,
            )
        )
        if isinstance(answer, DeniedError):
            assert held.dead
            return None
        assert not held.dead
        self.first_use(held)
        if isinstance(answer, ServiceError):
            return None
        return self.hand_out(device_id, answer.certificate, used=False)

    @rule(held=certificates)
    def use(self, held: Held | None) -> None:
        if held is None:
            return
        device_id, serial = held.device_id, held.certificate.serial
        before = self.known().get(device_id)
        strict = Vigilance(quarantines=True)
        answer = self.run(lambda: admit(self.store, device_id, serial, vigilance=strict, now=self.now))
        assert (answer is None) is not held.dead
        if held.dead and (device := self.known().get(device_id)) and device.is_enrolled:
            assert device.suspected_clone is not None
            if before is not None and before.suspected_clone is None:
                assert device.quarantined is not held.ended
        if not held.dead:
            self.first_use(held)

    @rule(held=certificates)
    def use_on_a_stream(self, held: Held | None) -> None:
        if held is None:
            return
        sighting = Sighting(
            device_id=held.device_id, kind=SightingKind.CERTIFICATE_USED, serial=held.certificate.serial
        )
        assert (
            self.run(lambda: report_sightings(self.store, [sighting], by="reporting", vigilance=FLAG, now=self.now))
            is None
        )
        if not held.dead:
            self.first_use(held)

    @rule(held=certificates, verb=st.sampled_from([retire_device, ban_device, lift_ban, delete_device]))
    def leave(self, held: Held | None, verb: Callable[..., Awaitable[object]]) -> None:
        if held is None:
            return
        device_id = held.device_id
        answer = self.run(lambda: verb(self.store, device_id, reason="", permit=OWNER, now=self.now))
        if isinstance(answer, ServiceError):
            assert isinstance(answer, NotFoundError | StateError)
            return
        if verb is not lift_ban:
            self.end_life(device_id)

    @invariant()
    def at_most_two_certificates_count_and_they_are_those_of_the_book(self) -> None:
        for device in self.known().values():
            living = {held.certificate.serial for held in self.living(device.device_id)}
            if device.is_enrolled:
                assert set(device.credentials.serials) == living
                assert 1 <= len(living) <= MOST_COUNTING
            else:
                assert not living
                assert not device.credentials.serials
            assert living.isdisjoint((*device.credentials.replaced, *device.credentials.ended))

    @invariant()
    def the_directory_tells_what_counts_and_that_nothing_is_left_of_the_deleted(self) -> None:
        asked = self.run(self._directory)
        assert not isinstance(asked, ServiceError)
        told, known = asked, self.known()
        assert {device_id for device_id, deleted, _ in told if not deleted} == set(known)
        for device_id, deleted, serials in told:
            assert set(serials) == {held.certificate.serial for held in self.living(device_id)}
            assert deleted is (device_id not in known)

    async def _directory(self) -> list[tuple[str, bool, tuple[str, ...]]]:
        async with self.store.read() as work:
            changes = await work.changes(0)
        transfer = Transfer(held=0, reset=True)
        messages = [*transfer.add(changes), transfer.last(changes.revision)]
        return [
            (device.device_id, device.deleted, tuple(device.certificate_serials))
            for message in messages
            for device in message.devices
        ]
