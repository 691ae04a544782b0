"""The book follows what is authored, and whoever has to know of a change waits until it does."""

import asyncio

import pytest

from services._chassis.changes import ChangeFeed
from services._chassis.errors import UnavailableError
from services.policy.model.delivery import Delivery, Desired
from services.policy.model.objects import Corpus
from services.policy.workers import CorpusFollower
from tests.builders.working import working
from tests.fakes.policy_delivery import (
    FakeDirectories,
    corpus,
    device,
    policy_book,
    settings,
)


class FakeReader:
    """Hand out what the test publishes, by the feed that tells of it."""

    def __init__(self) -> None:
        self.newest = Corpus(0)
        self.reads = 0
        self.changes = ChangeFeed(self._revision, None, "unused")

    def publish(self, revision: int) -> None:
        self.newest = corpus(settings(), revision=revision)
        self.changes.announce(revision)

    async def corpus(self) -> Corpus:
        self.reads += 1
        return self.newest

    async def _revision(self) -> int:
        return self.newest.revision


async def test_the_book_follows_what_is_authored_and_reads_only_after_a_change() -> None:
    reader, book, changed = FakeReader(), policy_book(FakeDirectories()), asyncio.Event()
    follower = CorpusFollower(reader, reader.changes, book)
    follower.on_change.append(changed.set)
    async with working(follower.run):
        for revision in (5, 9):
            reader.publish(revision)
            await changed.wait()
            changed.clear()
            assert book.revision == revision
        for _ in range(10):
            await asyncio.sleep(0)
    assert reader.reads <= 3


async def test_that_nothing_was_ever_authored_is_news_too() -> None:
    reader, book = FakeReader(), policy_book(FakeDirectories(device("d1")))
    before = book.ready
    await CorpusFollower(reader, reader.changes, book).read()
    assert (before, book.ready) == (False, True)
    assert book.mark(book.basis(Delivery("d1"))).desired is Desired.NONE


async def test_an_unchanged_book_wakes_nobody() -> None:
    reader, book = FakeReader(), policy_book(FakeDirectories())
    follower, woken = CorpusFollower(reader, reader.changes, book), list[int]()
    follower.on_change.append(lambda: woken.append(book.revision))
    reader.publish(5)
    for _ in range(2):
        assert await follower.read() == 5
    assert woken == [5]


async def test_a_device_that_comes_early_waits_for_the_policies() -> None:
    reader, book = FakeReader(), policy_book(FakeDirectories(device("d1")))
    follower = CorpusFollower(reader, reader.changes, book)
    early = asyncio.ensure_future(follower.begun())
    await asyncio.sleep(0)
    assert not early.done()
    await follower.read()
    await early
    assert book.ready


async def test_policies_that_are_not_read_are_not_waited_for_for_ever() -> None:
    reader, book = FakeReader(), policy_book(FakeDirectories(device("d1")))
    await CorpusFollower(reader, reader.changes, book, patience=0.001).begun()
    assert not book.ready


async def test_a_revision_that_is_known_is_waited_for_no_longer() -> None:
    reader, book = FakeReader(), policy_book(FakeDirectories())
    follower = CorpusFollower(reader, reader.changes, book)
    await follower.at_least(0)
    reader.publish(5)
    waiting = asyncio.ensure_future(follower.at_least(5))
    await asyncio.sleep(0)
    assert not waiting.done()
    await follower.read()
    await waiting
    assert book.revision == 5


async def test_an_older_revision_does_not_end_the_wait_and_the_wait_ends_all_the_same() -> None:
    reader, book = FakeReader(), policy_book(FakeDirectories())
    follower = CorpusFollower(reader, reader.changes, book, patience=0.05)
    waiting = asyncio.ensure_future(follower.at_least(6))
    await asyncio.sleep(0)
    reader.publish(5)
    await follower.read()
    with pytest.raises(UnavailableError, match="up to revision 5, not yet up to 6"):
        await waiting
