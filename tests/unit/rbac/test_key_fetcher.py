"""When the keys of trusted issuers are fetched, and which ones are in force."""

import asyncio
from datetime import timedelta

from services._chassis.changes import ChangeFeed
from services._chassis.errors import UnavailableError
from services._chassis.workers import supervise
from services.rbac import usecases
from services.rbac.model.grants import snapshot_of
from services.rbac.model.issuers import IssuerKeys, TrustedIssuer
from services.rbac.model.nouns import Actor
from services.rbac.workers import RETRY, KeyFetcher
from tests.builders.issuer import key_set, public_ec, public_ed, public_rsa
from tests.builders.rbac import OWNER_TOKEN, store_with
from tests.fakes.clock import NOW, FakeClock

EVERY = timedelta(minutes=5)
CORP = TrustedIssuer(name="corp", issuer="https://id.example.com", audiences=("epm",))
DISCOVERED = "https://id.example.com/.well-known/openid-configuration"
OLD, NEW = key_set(public_rsa("old")), key_set(public_rsa("new"))


class Published:
    """Publish keys; an issuer that publishes none cannot be reached."""

    def __init__(self, **sets: str) -> None:
        self.sets = sets
        self.asked: list[str] = []

    async def key_set_of(self, issuer: TrustedIssuer) -> str:
        self.asked.append(issuer.name)
        if issuer.name not in self.sets:
            raise UnavailableError("no way there")
        return self.sets[issuer.name]


class House:
    """A store with issuers, and what fetches their keys."""

    def __init__(self, *issuers: TrustedIssuer, **sets: str) -> None:
        self.store = store_with(OWNER_TOKEN, *issuers)
        self.source = Published(**sets)
        self.clock = FakeClock()
        self.changes = ChangeFeed(self._revision, None, "rbac")
        self.fetcher = KeyFetcher(self.store, self.changes, self.source, clock=self.clock, every=EVERY)

    async def _revision(self) -> int:
        return self.store.kept_revision

    def in_force(self, name: str = "corp") -> str:
        """Return the keys that services verify an issuer's tokens with."""
        issuers = snapshot_of(self.store.kept, 1).issuers
        return next(trust.key_set for trust in issuers if trust.name == name)

    async def apply(self, issuer: TrustedIssuer) -> None:
        await usecases.apply_access(self.store, [issuer], actor=Actor("user:owner"), now=NOW, validate_only=False)


async def test_the_keys_of_an_issuer_are_fetched_and_written_down() -> None:
    house = House(CORP, corp=OLD)
    await house.fetcher.fetch_due()
    assert house.in_force() == OLD
    assert house.store.kept_revision == 2
    (entry,) = house.store.audit
    assert (entry.action, entry.target, entry.details) == (
        "issuer_keys_replaced",
        "corp",
        {"source": DISCOVERED, "keys": "old"},
    )


async def test_keys_are_fetched_again_after_a_while_and_not_before() -> None:
    house = House(CORP, corp=OLD)
    await house.fetcher.fetch_due()
    house.source.sets["corp"] = NEW
    house.clock.advance(EVERY - timedelta(seconds=1))
    await house.fetcher.fetch_due()
    assert (house.in_force(), house.source.asked) == (OLD, ["corp"])
    house.clock.advance(timedelta(seconds=1))
    await house.fetcher.fetch_due()
    assert (house.in_force(), house.source.asked) == (NEW, ["corp", "corp"])


async def test_the_same_keys_again_change_nothing() -> None:
    house = House(CORP, corp=OLD)
    for _ in range(2):
        await house.fetcher.fetch_due()
        house.clock.advance(EVERY)
    assert (house.store.kept_revision, len(house.store.audit)) == (2, 1)


async def test_the_last_good_keys_stay_while_none_can_be_had_and_it_is_tried_again_soon() -> None:
    house = House(CORP, corp=OLD)
    await house.fetcher.fetch_due()
    del house.source.sets["corp"]
    house.clock.advance(EVERY)
    await house.fetcher.fetch_due()
    assert house.in_force() == OLD
    house.source.sets["corp"] = NEW
    house.clock.advance(RETRY - timedelta(seconds=1))
    await house.fetcher.fetch_due()
    assert house.in_force() == OLD
    house.clock.advance(timedelta(seconds=1))
    await house.fetcher.fetch_due()
    assert house.in_force() == NEW


async def test_an_issuer_that_cannot_be_reached_holds_up_no_other() -> None:
    other = TrustedIssuer(name="other", issuer="https://other.example.com", audiences=("epm",), principal_prefix="o:")
    house = House(TrustedIssuer(name="down", issuer="https://down", audiences=("epm",)), other, other=OLD)
    await house.fetcher.fetch_due()
    assert (house.in_force("other"), house.in_force("down")) == (OLD, "")


async def test_keys_that_are_given_are_not_fetched() -> None:
    given = TrustedIssuer(name="corp", issuer="https://id.example.com", audiences=("epm",), jwks=OLD)
    house = House(given, corp=NEW)
    await house.fetcher.fetch_due()
    assert (house.in_force(), house.source.asked) == (OLD, [])


async def test_an_issuer_that_names_another_source_is_believed_nothing_until_its_keys_come() -> None:
    house = House(CORP, corp=OLD)
    await house.fetcher.fetch_due()
    moved = TrustedIssuer(name="corp", issuer=CORP.issuer, audiences=("epm",), jwks_uri="https://elsewhere/keys")
    await house.apply(moved)
    assert house.in_force() == ""
    house.source.sets["corp"] = NEW
    await house.fetcher.fetch_due()
    assert house.in_force() == NEW


async def test_keys_that_come_too_late_count_for_nothing() -> None:
    house = House(CORP)
    late = IssuerKeys("corp", "https://before/keys", NEW)
    assert not await usecases.keep_keys(house.store, late, now=NOW)
    assert not await usecases.keep_keys(house.store, IssuerKeys("gone", DISCOVERED, NEW), now=NOW)
    assert (house.in_force(), house.store.kept_revision) == ("", 1)


async def test_the_worker_fetches_at_once_what_is_new_and_then_when_it_is_due() -> None:
    house = House(corp=OLD)
    working = asyncio.create_task(supervise(house.fetcher.worker()))
    await house.apply(CORP)
    async with asyncio.timeout(10):
        while house.store.kept.issuer_keys.get("corp") is None:
            house.changes.announce(house.store.kept_revision)
            await house.changes.wait(house.store.kept_revision, timeout=0.01)
    assert house.in_force() == OLD
    working.cancel()


async def test_a_deleted_issuer_leaves_no_keys_behind() -> None:
    house = House(CORP, corp=key_set(public_ec(), public_ed()))
    await house.fetcher.fetch_due()
    await usecases.delete_trusted_issuer(house.store, "corp", actor=Actor("user:owner"), now=NOW)
    assert (dict(house.store.kept.trusted_issuers), dict(house.store.kept.issuer_keys)) == ({}, {})
