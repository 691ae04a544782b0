"""Grants, and documents that hold them."""

from dataclasses import replace
from datetime import datetime, timedelta

from elevation.document import PolicyDocument
from elevation.model import ElevationType, Grant
from tests.builders.desk import HASH, rules
from tests.fakes.agent import DEVICE_NAME, NOW, document

LASTS = timedelta(hours=8)


def grant(
    identifier: str = "request-1",
    *,
    uses_left: int | None = None,
    user: str = "alice",
    not_before: datetime = NOW,
    expires: datetime = NOW + LASTS,
) -> Grant:
    """Give leave for the file of the desk with any arguments."""
    return Grant(identifier, user, DEVICE_NAME, HASH, None, not_before, expires, uses_left)


def asking(*grants: Grant) -> PolicyDocument:
    """Give a document by which the desk's file needs an approval, with grants."""
    return replace(document(rules(ElevationType.SUPPORT_APPROVED)), grants=grants)
