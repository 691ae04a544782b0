"""Texts of requests and of decisions about them: how long they may be, and what may stand in them."""

import unicodedata
from collections.abc import Iterator

from services._chassis.errors import Problem
from services.policy.model.requests import LONGEST_TEXT


def reason_problems(field: str, text: str, *, required: bool) -> Iterator[Problem]:
    """Find what is wrong with a text that people read: a justification, or a reason."""
    if required and not text.strip():
        yield Problem(field, f"is missing; say why in 1 to {LONGEST_TEXT} characters")
    if len(text) > LONGEST_TEXT:
        yield Problem(field, f"has {len(text)} characters and may have {LONGEST_TEXT}; shorten it")
    # What is too long is refused anyway, and looking at megabytes of it holds up everybody.
    if any(unicodedata.category(character) == "Cc" for character in text[:LONGEST_TEXT]):
        yield Problem(field, "holds a control character, such as a line break; write one line")


def text_problems(field: str, text: str, *, longest: int, required: bool = False) -> Iterator[Problem]:
    """Find what is wrong with a text that programs make."""
    if required and not text:
        yield Problem(field, "is missing; set it")
    if len(text) > longest:
        yield Problem(field, f"has {len(text)} characters and may have {longest}")
    if "\0" in text:
        yield Problem(field, "holds a NUL; remove it")
