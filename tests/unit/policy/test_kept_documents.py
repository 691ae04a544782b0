"""A document that was made to be known by its digest is sent without being made again, as long as it is the same one."""

from collections.abc import Sequence
from datetime import datetime

from elevation.document import PolicyDocument
from elevation.model import Grant
from services.policy.codec.documents import DocumentMould, MouldMaker
from services.policy.model.delivery import Delivery
from services.policy.model.directory import DirectoryDevice
from services.policy.usecases import documents
from services.policy.usecases.documents import PolicyBook
from tests.fakes.policy_delivery import DEPROVISION_AFTER, FakeDirectories, corpus, device, huge, rules, settings


class CountedMould:
    """Count how often a document is made."""

    filled = 0

    def __init__(self, mould: DocumentMould) -> None:
        self._mould = mould

    def fill(self, device: DirectoryDevice, deprovision_time: datetime | None, grants: Sequence[Grant] = ()) -> bytes:
        """Make a document."""
        CountedMould.filled += 1
        return self._mould.fill(device, deprovision_time, grants)


def counting(directories: FakeDirectories) -> PolicyBook:
    CountedMould.filled = 0
    maker = MouldMaker()

    def make(document: PolicyDocument) -> CountedMould:
        return CountedMould(maker.mould(document))

    return PolicyBook(directories, make, deprovision_after=DEPROVISION_AFTER)


def test_a_document_is_made_once_for_its_digest_and_its_bytes() -> None:
    book = counting(FakeDirectories(device("d1")))
    book.put(corpus(settings()))
    basis = book.basis(Delivery("d1"))
    mark = book.mark(basis)
    content = book.content(basis)
    assert CountedMould.filled == 1
    assert book.content(basis) == content  # which is no longer kept
    assert book.mark(basis) == mark
    assert CountedMould.filled == 2


def test_what_was_kept_of_another_basis_is_not_sent() -> None:
    book = counting(FakeDirectories(device("d1")))
    book.put(corpus(settings()))
    old = book.basis(Delivery("d1"))
    book.mark(old)
    book.put(corpus(settings(), rules("tools"), revision=2))
    new = book.basis(Delivery("d1"))
    content = book.content(new)
    book.mark(old)
    assert content == book.content(new) != book.content(old)


def test_no_more_is_kept_than_there_is_room_for() -> None:
    names = [f"d{number}" for number in range(4)]
    book = counting(FakeDirectories(*(device(name) for name in names)))
    book.put(corpus(settings(), huge(1)))
    bases = [book.basis(Delivery(name)) for name in names]
    for basis in bases:
        book.mark(basis)
    sizes = [len(book.content(basis)) for basis in reversed(bases)]
    room = documents.MOST_KEPT // sizes[0]
    assert 0 < room < len(names)
    assert CountedMould.filled == 2 * len(names) - room
