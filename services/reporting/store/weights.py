"""What a row of a list takes on a page: devices choose the texts in it, and they may be long."""

from collections.abc import Iterable

BESIDE = 128
"""Bytes of what is no text in a row."""


def weight_of(texts: Iterable[str]) -> int:
    """Return how many bytes a row of these texts takes; its drill-down holds them a second time."""
    return 2 * sum(len(text.encode()) for text in texts) + BESIDE
