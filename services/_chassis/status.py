"""Errors as gRPC answers: google.rpc.Status with ErrorInfo, BadRequest where fields are wrong, RetryInfo where waiting helps.

An answer travels in the trailing metadata, of which clients take 8 KiB. What is longer is cut, and says so: an answer that is
too long never arrives.
"""

from collections.abc import Mapping
from datetime import timedelta

import grpc
from google.protobuf import any_pb2
from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status

from services._chassis.errors import (
    ConflictError,
    DeniedError,
    InvalidError,
    LimitError,
    NotFoundError,
    ServiceError,
    StateError,
    UnauthenticatedError,
    UnavailableError,
)

DOMAIN = "openepm"
LONGEST_MESSAGE = 1200
"""Bytes of the message, as they are sent."""

LARGEST_PROBLEMS = 3000
"""Bytes of all problems together; a third is added when they are sent."""

LONGEST_DESCRIPTION = 400
LONGEST_DETAIL = 1000
"""Bytes of one detail of an error; there are a few."""

_CODES: dict[type[ServiceError], int] = {
    InvalidError: code_pb2.INVALID_ARGUMENT,
    NotFoundError: code_pb2.NOT_FOUND,
    ConflictError: code_pb2.ALREADY_EXISTS,
    StateError: code_pb2.FAILED_PRECONDITION,
    DeniedError: code_pb2.PERMISSION_DENIED,
    UnauthenticatedError: code_pb2.UNAUTHENTICATED,
    LimitError: code_pb2.RESOURCE_EXHAUSTED,
    UnavailableError: code_pb2.UNAVAILABLE,
}


def code_of(error: BaseException) -> int:
    """Return the status code that answers `error`; anything unforeseen is INTERNAL."""
    if isinstance(error, ConflictError) and error.stale:
        return int(code_pb2.ABORTED)
    return (
        int(_CODES.get(type(error), code_pb2.INTERNAL)) if isinstance(error, ServiceError) else int(code_pb2.INTERNAL)
    )


def status_of(error: BaseException, request_id: str, decision_id: str = "") -> grpc.Status:
    """Return the whole answer to `error`; what is unforeseen tells nothing but the id under which it was logged."""
    known = isinstance(error, ServiceError) and code_of(error) != code_pb2.INTERNAL
    reason = error.reason if known and isinstance(error, ServiceError) else "INTERNAL"
    more = error.details if known and isinstance(error, ServiceError) else {}
    details = [_info(reason, request_id, decision_id, more)]
    if isinstance(error, LimitError) and error.retry_after is not None:
        details.append(_packed(_retry(error.retry_after)))
    if isinstance(error, InvalidError):
        details.append(_packed(_bad_request(error)))
    message = _cut(str(error), LONGEST_MESSAGE) if known else "internal error"
    return rpc_status.to_status(status_pb2.Status(code=code_of(error), message=message, details=details))


def unknown_method(request_id: str) -> grpc.Status:
    """Return the answer to a call of a method that the door does not have."""
    message = "this door has no such method; generate the client from the same contracts, or use the other door"
    details = [_info("METHOD_UNKNOWN", request_id)]
    return rpc_status.to_status(status_pb2.Status(code=code_pb2.UNIMPLEMENTED, message=message, details=details))


def name_of(code: int) -> str:
    """Return the name of a status code, for logs."""
    return str(code_pb2.Code.Name(code))


def _info(reason: str, request_id: str, decision_id: str = "", more: Mapping[str, str] | None = None) -> any_pb2.Any:
    metadata = {key: _cut(value, LONGEST_DETAIL) for key, value in (more or {}).items()}
    metadata |= {"request_id": request_id, **({"decision_id": decision_id} if decision_id else {})}
    return _packed(error_details_pb2.ErrorInfo(reason=reason, domain=DOMAIN, metadata=metadata))


def _retry(after: timedelta) -> error_details_pb2.RetryInfo:
    info = error_details_pb2.RetryInfo()
    info.retry_delay.FromTimedelta(after)
    return info


def _bad_request(error: InvalidError) -> error_details_pb2.BadRequest:
    bad = error_details_pb2.BadRequest()
    for number, problem in enumerate(error.problems):
        field, description = (_cut(text, LONGEST_DESCRIPTION) for text in (problem.field, problem.message))
        violation = error_details_pb2.BadRequest.FieldViolation(field=field, description=description)
        if bad.ByteSize() + violation.ByteSize() > LARGEST_PROBLEMS:
            left = len(error.problems) - number
            bad.field_violations.add(description=f"there are {left} more problems; correct these first")
            break
        bad.field_violations.append(violation)
    return bad


def _cut(text: str, limit: int) -> str:
    """Shorten the text to so many bytes as gRPC sends them: percent-encoded where they are not printable ASCII."""
    size = 0
    for index, character in enumerate(text):
        plain = " " <= character <= "~" and character != "%"
        size += 1 if plain else 3 * len(character.encode())
        if size > limit:
            return f"{text[:index]} ..."
    return text


def _packed(message: Message) -> any_pb2.Any:
    packed = any_pb2.Any()
    packed.Pack(message)
    return packed
