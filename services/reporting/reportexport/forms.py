"""The forms of a file."""

from collections.abc import Sequence
from typing import Protocol

from services._chassis.errors import InvalidError, Problem
from services.reporting.reportexport.fields import Field
from services.reporting.reportexport.parts import Part
from services.reporting.reportexport.texts import Csv, JsonLines


class Form(Protocol):
    """Write entries, a piece at a time."""

    written: int
    """Entries that are in what was returned so far."""

    def write(self, parts: Sequence[Part]) -> bytes:
        """Take entries, and return what of the file is ready."""
        ...

    def end(self) -> bytes:
        """Return the rest of the file."""
        ...


def form_of(word: str, fields: Sequence[Field]) -> Form:
    """Begin a file. Raises InvalidError for Parquet where this server cannot write it."""
    if word == "CSV":
        return Csv(fields)
    if word == "JSON_LINES":
        return JsonLines(fields)
    try:
        from services.reporting.reportexport.parquet import Parquet  # noqa: PLC0415 - large, and few ask for it
    except ImportError as error:
        told = "cannot be Parquet on this server, which has no pyarrow; install it there, or ask for another form"
        raise InvalidError([Problem("format", told)], reason="FORMAT_MISSING") from error
    return Parquet(fields)
