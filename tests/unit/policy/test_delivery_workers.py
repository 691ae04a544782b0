import asyncio
from collections.abc import Collection, Sequence
from datetime import timedelta

import pytest

from elevation.model import GroupType, ReportingScope
from services._chassis.errors import UnavailableError
from services.policy.codec.documents import MouldMaker
from services.policy.model.delivery import Delivery, Desired, SettingsState
from services.policy.model.states import DeliveryState
from services.policy.ports import DeliveryStep
from services.policy.reporters import LARGEST_REPORT, Rhythm, SettingsReporter
from services.policy.usecases.bases import Basis, Mark
from services.policy.usecases.documents import PolicyBook
from services.policy.usecases.settings_states import survey
from tests.builders.working import working
from tests.fakes.clock import NOW, FakeClock
from tests.fakes.policy_delivery import (
    Authored,
    FakeDirectories,
    FakeReceiver,
    MemoryDeliveries,
    corpus,
    device,
    group,
    policy_book,
    rules,
    settings,
)

ON, OFF, NONE = Desired.ON, Desired.OFF, Desired.NONE
DEVELOPERS = group("developers", "alice", kind=GroupType.USER)


class Office:
    """A settings reporter with everything around it in memory."""

    def __init__(self, directories: FakeDirectories | None = None, *, opened: Collection[str] = ()) -> None:
        self.directories = directories or FakeDirectories(device("d1", "alice"), device("d2"), groups=[DEVELOPERS])
        self.book = policy_book(self.directories)
        self.deliveries = MemoryDeliveries()
        self.receiver = FakeReceiver()
        self.reporter = SettingsReporter(
            self.book, self.deliveries, self.receiver, FakeClock(), is_open=opened.__contains__, rhythm=Rhythm(linger=0)
        )

    def publish(self, *contents: Authored) -> None:
        self.book.put(corpus(*contents, revision=self.book.revision + 1))
        self.reporter.look_at(None)

    async def told(self) -> dict[str, tuple[Desired, bool]]:
        """Report once, and return what the receiver heard by it."""
        self.receiver.heard.clear()
        await self.reporter.report()
        return {state.device_id: (state.desired, state.acknowledged) for state in self.receiver.heard}

    async def apply(self, device_id: str) -> None:
        """Have the device apply its newest document."""

        def applied(old: Delivery) -> Delivery:
            return old.applied(old.revision, old.desired, NOW)

        await self.deliveries.change([(device_id, applied)])
        self.reporter.look_at([device_id])


async def test_the_state_of_every_device_is_told_once() -> None:
    office = Office()
    office.publish(settings("own", "developers"))
    assert await office.told() == {"d1": (ON, False), "d2": (NONE, False)}
    assert office.receiver.heard[0].revision == 1
    assert await office.told() == {}
    office.publish(settings("own", "developers"), rules())
    assert await office.told() == {}


async def test_an_acknowledged_document_is_told() -> None:
    office = Office()
    office.publish(settings())
    await office.told()
    await office.apply("d1")
    assert await office.told() == {"d1": (ON, True)}


async def test_a_device_that_applied_another_wish_has_not_acknowledged_this_one() -> None:
    office = Office()
    office.publish(settings())
    await office.told()
    await office.apply("d1")
    await office.told()
    office.publish(settings(enabled=False))
    assert await office.told() == {"d1": (OFF, False), "d2": (OFF, False)}
    await office.apply("d1")
    assert await office.told() == {"d1": (OFF, True)}
    office.publish()
    assert await office.told() == {"d1": (NONE, False), "d2": (NONE, False)}


async def test_another_document_that_wishes_the_same_stays_acknowledged() -> None:
    office = Office()
    office.publish(settings())
    await office.told()
    await office.apply("d1")
    await office.told()
    office.publish(settings(), rules())
    assert await office.told() == {}


async def test_a_change_of_the_directory_is_told() -> None:
    office = Office()
    office.publish(settings("own", "developers"))
    await office.told()
    office.directories.put(device("d2", "alice"), device("d3", "alice"))
    office.reporter.look_at(["d2", "d3"])
    assert await office.told() == {"d2": (ON, False), "d3": (ON, False)}


async def test_an_answer_that_changes_nothing_is_not_looked_at() -> None:
    office = Office()
    office.publish(settings())
    await office.told()
    await office.apply("d1")
    await office.told()
    office.deliveries.asked.clear()
    office.reporter.heard((await office.deliveries.many(["d1"]))["d1"])
    office.deliveries.asked.clear()
    assert await office.told() == {}
    assert office.deliveries.asked == []


async def test_an_answer_that_is_news_is_told() -> None:
    office = Office()
    office.publish(settings())
    await office.told()
    await office.deliveries.change([("d1", lambda old: old.applied(old.revision, old.desired, NOW))])
    office.reporter.heard((await office.deliveries.many(["d1"]))["d1"])
    assert await office.told() == {"d1": (ON, True)}


async def test_an_answer_while_something_else_is_being_told_is_looked_at() -> None:
    office = Office()
    office.publish(settings())
    await office.told()
    await office.apply("d1")
    before = await office.told()
    office.publish(settings(enabled=False))
    answered = (await office.deliveries.many(["d1"]))["d1"]

    def answer_again(_states: object) -> None:
        office.book.put(corpus(settings(), revision=office.book.revision + 1))
        office.reporter.heard(answered)

    office.receiver.on_report = answer_again
    await office.told()
    office.receiver.on_report = None
    assert before == {"d1": (ON, True)}
    assert (await office.told())["d1"] == (ON, True)


async def test_open_streams_see_to_changes_of_documents_that_wish_the_same() -> None:
    office = Office(opened=["d1"])
    office.publish(settings())
    await office.told()
    office.deliveries.asked.clear()
    office.book.put(corpus(settings(), rules(), revision=office.book.revision + 1))
    office.reporter.changed(["d1", "d2"])
    await office.told()
    assert office.deliveries.asked == ["d2"]
    office.book.put(corpus(settings(enabled=False), rules(), revision=office.book.revision + 1))
    office.reporter.changed(["d1", "d2"])
    assert await office.told() == {"d1": (OFF, False), "d2": (OFF, False)}


async def test_a_device_without_credentials_is_not_told_of() -> None:
    office = Office(FakeDirectories(device("d1"), device("gone", enrolled=False)))
    office.publish(settings())
    assert (await office.told()).keys() == {"d1"}


async def test_everything_is_told_again_after_a_failure() -> None:
    office = Office()
    office.publish(settings())
    await office.told()
    office.receiver.failure = UnavailableError("the device service is away")
    await office.apply("d1")
    with pytest.raises(UnavailableError):
        await office.reporter.report()
    office.receiver.failure = None
    office.receiver.heard.clear()
    office.receiver.told.clear()
    async with working(office.reporter.run):
        await office.receiver.told.wait()
    assert {state.device_id for state in office.receiver.heard} == {"d1", "d2"}


async def test_everything_is_told_again_to_a_receiver_that_comes_back() -> None:
    office = Office()
    office.publish(settings())
    for _ in range(2):
        assert (await office.told()).keys() == {"d1", "d2"}
        office.reporter.forget()


async def test_what_a_receiver_that_has_seen_newer_policies_passed_over_is_told_again_above_them() -> None:
    office = Office()
    raised: list[int] = []

    async def catch_up(seen: int) -> None:
        raised.append(seen)
        office.book.put(corpus(settings(), revision=seen + 1))

    office.reporter = SettingsReporter(office.book, office.deliveries, office.receiver, FakeClock(), catch_up=catch_up)
    office.publish(settings())
    office.receiver.newest = 7
    await office.told()
    assert (raised, {state.revision for state in office.receiver.heard}) == ([7], {1})
    assert (await office.told()).keys() == {"d1", "d2"}
    assert (raised, {state.revision for state in office.receiver.heard}) == ([7], {8})
    assert await office.told() == {}


async def test_a_device_that_enrolled_again_is_told_of_again() -> None:
    office = Office()
    office.publish(settings())
    assert (await office.told()).keys() == {"d1", "d2"}
    office.reporter.retell(["d2"])
    assert (await office.told()).keys() == {"d2"}


async def test_only_what_may_have_changed_is_looked_at() -> None:
    office = Office()
    office.publish(settings())
    await office.told()
    office.deliveries.asked.clear()
    office.reporter.look_at(["d2", "unknown"])
    await office.told()
    assert office.deliveries.asked == ["d2"]


async def test_what_another_process_heard_is_found_after_a_while() -> None:
    office = Office()
    office.reporter = SettingsReporter(
        office.book, office.deliveries, office.receiver, FakeClock(), rhythm=Rhythm(period=0.01)
    )
    office.publish(settings())
    await office.told()
    await office.deliveries.change([("d1", lambda old: old.applied(old.revision, old.desired, NOW))])
    async with working(office.reporter.run):
        async with asyncio.timeout(10):
            while not any(state.acknowledged for state in office.receiver.heard):
                office.receiver.told.clear()
                await office.receiver.told.wait()


async def test_states_go_in_batches_and_none_is_lost() -> None:
    class CountingReceiver(FakeReceiver):
        sizes: list[int] = []  # noqa: RUF012 - one test, one receiver

        async def report(self, states: Sequence[SettingsState]) -> int:
            self.sizes.append(len(states))
            return await super().report(states)

    office = Office(FakeDirectories(*(device(f"d{number}") for number in range(1234))))
    office.receiver = CountingReceiver()
    office.reporter = SettingsReporter(office.book, office.deliveries, office.receiver, FakeClock())
    office.publish(settings())
    assert len(await office.told()) == 1234
    assert max(CountingReceiver.sizes) <= LARGEST_REPORT


async def test_a_document_waits_for_a_device_that_is_away() -> None:
    office = Office()
    office.publish(settings())
    await office.told()
    await office.apply("d1")
    assert office.deliveries.kept["d1"].state is DeliveryState.APPLIED
    office.publish(settings(), rules())
    await office.told()
    assert (office.deliveries.kept["d1"].revision, office.deliveries.kept["d1"].state) == (2, DeliveryState.PENDING)
    office.publish(settings(), rules())
    await office.told()
    assert office.deliveries.kept["d1"].revision == 3


async def test_a_device_that_is_away_keeps_the_time_at_which_its_component_goes() -> None:
    office = Office()
    office.publish(settings())
    await office.told()
    office.publish()
    assert (await office.told())["d1"] == (NONE, False)
    lost = office.deliveries.kept["d1"]
    assert (lost.revision, lost.lost) == (2, NOW)
    assert office.receiver.heard[0].lost == NOW
    office.publish(rules("unrelated", "nobody"))
    await office.told()
    assert office.deliveries.kept["d1"] == lost


async def test_the_reporter_waits_for_policies_and_directory_and_then_goes_by_itself() -> None:
    office = Office()
    office.directories.known, directory = None, office.directories.known
    async with working(office.reporter.run):
        office.publish(settings())
        await asyncio.sleep(0)
        assert office.receiver.heard == []
        office.directories.known = directory
        office.reporter.look_at(None)
        await office.receiver.told.wait()
    assert {state.device_id for state in office.receiver.heard} == {"d1", "d2"}


async def test_what_cannot_be_made_for_one_device_keeps_no_other_from_being_told_of() -> None:
    class Poisoned(PolicyBook):
        def mark(self, basis: Basis) -> Mark:
            if basis.device.device_id == "d1":
                raise OverflowError("a time beyond all times")
            return super().mark(basis)

    office = Office()
    book = Poisoned(office.directories, MouldMaker().mould, deprovision_after=timedelta(days=7))
    book.put(corpus(settings()))
    found = await survey(book, office.deliveries, ["d1", "d2"], now=NOW)
    assert [state.device_id for state in found] == ["d2"]


async def test_what_cannot_be_kept_of_one_device_keeps_no_other_from_being_told_of() -> None:
    class Picky(MemoryDeliveries):
        async def change(self, steps: Sequence[tuple[str, DeliveryStep]]) -> Sequence[Delivery]:
            if any(device_id == "d1" for device_id, _ in steps):
                raise OverflowError("a number beyond what is kept")
            return await super().change(steps)

    office = Office()
    office.deliveries = Picky()
    office.publish(settings())
    found = await survey(office.book, office.deliveries, ["d1", "d2"], now=NOW)
    assert [state.device_id for state in found] == ["d2"]
    assert office.deliveries.kept["d2"].revision == 1


async def test_the_widest_scope_of_the_settings_for_a_device_and_its_users_is_told() -> None:
    office = Office()
    diagnostic = settings("all", reporting_scope=ReportingScope.DIAGNOSTIC)
    office.publish(diagnostic, settings("own", "developers", reporting_scope=ReportingScope.MANAGED))
    await office.told()
    told = {state.device_id: state.scope for state in office.receiver.heard}
    assert told == {"d1": ReportingScope.ALL, "d2": ReportingScope.DIAGNOSTIC}  # disagreeing settings merge to ALL
    office.publish(diagnostic)
    await office.told()
    assert {state.device_id: state.scope for state in office.receiver.heard} == {"d1": ReportingScope.DIAGNOSTIC}
    office.publish()
    await office.told()
    assert {state.scope for state in office.receiver.heard} == {ReportingScope.NOTHING}


async def test_another_scope_is_told_though_the_device_has_an_open_stream_and_wants_the_same_otherwise() -> None:
    office = Office(opened=["d1", "d2"])
    office.publish(settings())
    await office.told()
    office.book.put(corpus(settings(reporting_scope=ReportingScope.MANAGED), revision=office.book.revision + 1))
    office.reporter.changed(["d1", "d2"])
    await office.told()
    assert {state.scope for state in office.receiver.heard} == {ReportingScope.MANAGED}
