"""What a look at the settings of devices finds and prepares, and what it leaves to whoever holds their streams."""

from collections.abc import Sequence

from services.policy.model.delivery import Delivery, Desired
from services.policy.model.states import DeliveryState
from services.policy.ports import DeliveryStep
from services.policy.usecases.settings_states import survey
from tests.fakes.clock import NOW
from tests.fakes.policy_delivery import FakeDirectories, MemoryDeliveries, corpus, device, policy_book, settings

ON = Desired.ON


async def test_the_document_of_a_connected_device_is_left_to_the_process_that_holds_its_stream() -> None:
    deliveries, book = MemoryDeliveries(), policy_book(FakeDirectories(device("d1"), device("d2")))
    book.put(corpus(settings()))
    await deliveries.change([("d1", lambda old: old.opened("elsewhere", revision=0, sha256=b"", now=NOW))])
    found = await survey(book, deliveries, ["d1", "d2"], now=NOW)
    assert [(state.device_id, state.desired) for state in found] == [("d1", ON), ("d2", ON)]
    assert {device_id: kept.revision for device_id, kept in deliveries.kept.items()} == {"d1": 0, "d2": 1}
    await deliveries.change([("d1", lambda old: old.closed("elsewhere", NOW))])
    await survey(book, deliveries, ["d1"], now=NOW)
    assert deliveries.kept["d1"].revision == 1


async def test_the_document_of_a_device_that_connects_meanwhile_is_left_to_that_process_too() -> None:
    class Hurried(MemoryDeliveries):
        """Let the device connect elsewhere before anything is changed."""

        async def change(self, steps: Sequence[tuple[str, DeliveryStep]]) -> Sequence[Delivery]:
            await super().change([("d1", lambda old: old.opened("elsewhere", revision=0, sha256=b"", now=NOW))])
            return await super().change(steps)

    deliveries, book = Hurried(), policy_book(FakeDirectories(device("d1")))
    book.put(corpus(settings()))
    found = await survey(book, deliveries, ["d1"], now=NOW)
    assert [(state.device_id, state.desired, state.acknowledged) for state in found] == [("d1", ON, False)]
    assert (deliveries.kept["d1"].stream, deliveries.kept["d1"].revision) == ("elsewhere", 0)


async def test_settings_that_come_back_before_another_document_was_made_begin_their_time_anew() -> None:
    deliveries, book = MemoryDeliveries(), policy_book(FakeDirectories(device("d1")))
    book.put(corpus(settings()))
    await survey(book, deliveries, ["d1"], now=NOW)

    def connected(old: Delivery) -> Delivery:
        return old.opened("elsewhere", revision=1, sha256=old.sha256, now=NOW)

    await deliveries.change([("d1", connected)])
    book.put(corpus(revision=2))
    await survey(book, deliveries, ["d1"], now=NOW)
    assert deliveries.kept["d1"].lost == NOW
    await deliveries.change([("d1", lambda old: old.closed("elsewhere", NOW))])
    book.put(corpus(settings(), revision=3))
    await survey(book, deliveries, ["d1"], now=NOW)
    back = deliveries.kept["d1"]
    assert (back.revision, back.state, back.lost) == (1, DeliveryState.APPLIED, None)
