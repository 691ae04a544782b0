"""Lists of elevation requests: by which fields they are filtered."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath, PureWindowsPath

from elevation import filtering
from elevation.filter_values import Kind, Value
from elevation.filtering import Field, Vocabulary
from elevation.model import Platform
from services._chassis.errors import Problem
from services.policy.model.requests import ElevationRequest, RequestState

NARROWING = frozenset({"user", "device", "deviceId", "sha256"})
"""Fields that the database looks at as well, so that it need not read everything."""

_KEPT_SO = frozenset(state.name for state in RequestState if state is not RequestState.EXPIRED)
"""States in which no request is shown that is kept in another: time makes EXPIRED of some, and nothing else."""


@dataclass(frozen=True, slots=True)
class RequestFilter:
    """Say which requests match, and what all of them have in common."""

    holds: filtering.Test[ElevationRequest]
    equal: Mapping[str, str] = field(default_factory=dict)


def read_request_filter(text: str) -> RequestFilter | Problem | None:
    """Read a filter over requests, or say what is wrong with it; None where it finds all."""
    if not text.strip():
        return None
    if "\0" in text:  # PostgreSQL cannot even ask for one
        return Problem("filter", "holds a NUL; remove it")
    try:
        compiled = filtering.compile_with(_VOCABULARY, text)
    except filtering.FilterError as error:
        return Problem("filter", str(error))
    equal = {
        each.field: each.value
        for each in compiled.restrictions
        if each.narrows and each.operator == "=" and (each.field in NARROWING or _kept_so(each.field, each.value))
    }
    return RequestFilter(compiled.holds, equal)


def file_name(request: ElevationRequest) -> str:
    """Return the name of the file, without its folder."""
    path = request.file.path
    return PureWindowsPath(path).name if request.platform is Platform.WINDOWS else PurePosixPath(path).name


def _kept_so(name: str, value: str) -> bool:
    return name == "state" and value in _KEPT_SO


def _filled(text: str) -> list[Value]:
    return [text] if text else []


def _reviewer(request: ElevationRequest) -> Iterator[Value]:
    if request.review is not None:
        yield request.review.reviewer


_FIELDS: tuple[Field[ElevationRequest], ...] = (
    Field("state", Kind.WORD, lambda request: [request.state.name], tuple(state.name for state in RequestState)),
    Field("user", Kind.TEXT, lambda request: [request.user]),
    Field("device", Kind.TEXT, lambda request: [request.device_name]),
    Field("deviceId", Kind.TEXT, lambda request: [request.device_id]),
    Field("fileName", Kind.TEXT, lambda request: _filled(file_name(request))),
    Field("sha256", Kind.TEXT, lambda request: [request.file.sha256]),
    Field("publisher", Kind.TEXT, lambda request: _filled(request.file.publisher)),
    Field("reviewer", Kind.TEXT, _reviewer),
    Field("policy", Kind.TEXT, lambda request: _filled(request.policy)),
    Field("rule", Kind.TEXT, lambda request: _filled(request.rule)),
    Field("submitted", Kind.TIME, lambda request: [request.submitted]),
    Field("reviewDeadline", Kind.TIME, lambda request: [request.review_deadline]),
)
_VOCABULARY: Vocabulary[ElevationRequest] = Vocabulary({field.name: field for field in _FIELDS})
