"""An error becomes an answer that arrives."""

import pytest
from google.rpc import error_details_pb2, status_pb2

from services._chassis.errors import ConflictError, InvalidError, Problem, ServiceError, StateError
from services._chassis.status import status_of

CLIENTS_TAKE = 8192


def answer(error: ServiceError) -> tuple[status_pb2.Status, int]:
    """Return the answer, and the bytes that it takes in the trailing metadata."""
    sent = status_of(error, "r" * 64)
    ((key, value),) = sent.trailing_metadata
    encoded = sum(1 if 32 <= byte < 127 and byte != ord("%") else 3 for byte in sent.details.encode())
    return status_pb2.Status.FromString(value), encoded + len(key) + 4 * len(value) // 3


def problems_of(status: status_pb2.Status) -> list[tuple[str, str]]:
    bad = error_details_pb2.BadRequest()
    assert status.details[1].Unpack(bad)
    return [(violation.field, violation.description) for violation in bad.field_violations]


def test_every_problem_is_told_where_they_fit() -> None:
    status, _ = answer(InvalidError([Problem("a", "is missing"), Problem("b", "is missing")]))
    assert problems_of(status) == [("a", "is missing"), ("b", "is missing")]
    assert status.message == "a: is missing; b: is missing"


@pytest.mark.parametrize("text", ["is missing; give a name", "\N{SNOWMAN}" * 10_000, "%" * 10_000])
def test_more_problems_than_a_client_takes_are_counted(text: str) -> None:
    status, size = answer(InvalidError([Problem(f"groups[{number}].name", text) for number in range(1000)]))
    *told, (field, rest) = problems_of(status)
    assert told[0][0] == "groups[0].name"
    assert (field, rest) == ("", f"there are {1000 - len(told)} more problems; correct these first")
    assert status.message.endswith(" ...")
    assert size < CLIENTS_TAKE - 512  # leave room for the rest of the metadata


def test_a_long_message_is_cut() -> None:
    status, size = answer(StateError("x" * 100_000))
    assert status.message.endswith("x ...")
    assert size < CLIENTS_TAKE


def test_details_for_programs_stand_beside_the_ids_and_are_cut() -> None:
    details = {"etag": "7", "changed": "\N{SNOWMAN}" * 10_000, "request_id": "theirs"}
    status, size = answer(ConflictError("x" * 100_000, stale=True, details=details))
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    assert (info.reason, info.metadata["etag"], info.metadata["request_id"]) == ("STALE_ETAG", "7", "r" * 64)
    assert info.metadata["changed"].endswith(" ...")
    assert size < CLIENTS_TAKE
