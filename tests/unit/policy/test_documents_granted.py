"""What is approved stands in the document of its one device, and moves nothing else."""

from dataclasses import replace
from datetime import timedelta

from elevation.codec.document import decode_document, encode_document
from epm.elevation.v1 import document_pb2
from services.policy.model.delivery import Delivery
from services.policy.model.requests import Access, ElevationRequest, Review
from services.policy.usecases.documents import PolicyBook
from tests.builders.requests import request
from tests.fakes.clock import NOW
from tests.fakes.policy_delivery import Authored, FakeDirectories, corpus, device, policy_book, rules, settings

HOUR = timedelta(hours=1)


def granted(number: int = 1, *, max_uses: int = 0, any_arguments: bool = False, **values: object) -> ElevationRequest:
    """Approve a request."""
    access = Access(begins=NOW, until=NOW + HOUR, max_uses=max_uses, any_arguments=any_arguments)
    return request(number, life=None, **values).approved(Review(reviewer="user:carol", reviewed=NOW), access)


class Library:
    """A book over three devices that are alike."""

    def __init__(self) -> None:
        users = ("alice", "bob")
        self.directories = FakeDirectories(*(device(name, *users) for name in ("d1", "d2", "d3")))
        self.book: PolicyBook = policy_book(self.directories)
        self.contents: tuple[Authored, ...] = (settings(), rules())
        self.put(1)
        self.book.news()

    def put(self, revision: int, *approved: ElevationRequest) -> None:
        """Take up what is approved, and the same policies as ever."""
        self.book.put(replace(corpus(*self.contents), revision=revision, approved=approved))

    def content(self, device_id: str = "d1") -> bytes:
        """Return the document of a device, as it is known and as it is sent."""
        basis = self.book.basis(Delivery(device_id))
        self.book.mark(basis)
        return self.book.content(basis)

    def grants(self, device_id: str = "d1") -> list[tuple[str, str, int | None]]:
        """Return the grants in the document of a device."""
        document = decode_document(document_pb2.PolicyDocument.FromString(self.content(device_id)))
        return [(grant.id, grant.device, grant.uses_left) for grant in document.grants]


def test_a_grant_stands_in_the_document_of_its_device_until_it_is_gone() -> None:
    library = Library()
    before, other = library.content(), library.content("d2")
    two, one = granted(2), granted(1, max_uses=3, any_arguments=True)
    library.put(2, two, one)
    assert library.grants() == [(one.request_id, "D1", 3), (two.request_id, "D1", None)]
    assert library.content("d2") == other
    library.put(3, one.used(1, NOW))
    assert library.grants() == [(one.request_id, "D1", 2)]
    library.put(4)
    assert library.content() == before


def test_only_the_device_of_a_grant_has_news_and_nothing_is_worked_out_anew() -> None:
    library = Library()
    effective = library.book.effective()
    library.content()
    library.put(2, granted(1))
    assert (library.book.news(), library.book.revision) == (frozenset({"d1"}), 2)
    assert library.book.effective() is effective
    library.put(3, granted(1))
    assert library.book.news() == frozenset()
    library.put(4)
    assert library.book.news() == {"d1"}


def test_the_bytes_are_those_of_the_whole_message() -> None:
    library = Library()
    library.put(2, granted(2), granted(1, max_uses=1, any_arguments=True))
    content = library.content()
    document = decode_document(document_pb2.PolicyDocument.FromString(content))
    assert len(document.grants) == 2
    assert encode_document(document).SerializeToString(deterministic=True) == content


def test_a_grant_is_bound_to_file_arguments_and_time() -> None:
    library = Library()
    made = granted(1)
    library.put(2, made, granted(2, any_arguments=True))
    exact, free = decode_document(document_pb2.PolicyDocument.FromString(library.content())).grants
    assert (exact.user, exact.sha256, exact.arguments) == ("alice", made.file.sha256, made.arguments)
    assert (exact.not_before, exact.expires) == (NOW, NOW + HOUR)
    assert free.arguments is None


def test_a_removed_user_and_a_retired_device_have_no_grants_at_once() -> None:
    library = Library()
    library.put(2, granted(1), granted(2, user="bob"))
    library.directories.put(device("d1", "bob"))
    assert [grant for grant, *_ in library.grants()] == [request(2).request_id]
    library.directories.put(device("d1", "alice", "bob", enrolled=False))
    assert library.grants() == []


def test_a_device_that_enrolled_anew_has_no_grants_of_its_life_before() -> None:
    library = Library()
    library.put(2, replace(granted(1), life=NOW))
    library.directories.put(replace(device("d1", "alice"), life=NOW + HOUR))
    assert library.grants() == []
