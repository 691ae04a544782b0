"""Enrolment tokens: what lets a new device in.

The text is shown once and kept as a SHA-256 digest. A token lets in until it expires, is revoked or is used up. Behind a dot
its text tells the fingerprint of the installation's CA, by which a device knows the server before it says anything.

A token may be for one device, which enrols again with a new key, or for devices whose names match a pattern.
"""

import enum
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from elevation.wildcards import Pattern
from services._chassis.errors import Problem
from services.device.model import texts
from services.device.model.pages import weigh

TOKEN_PREFIX = "epmenr_"  # noqa: S105 - marks tokens for people and for scanners of leaked secrets
DEFAULT_LIFETIME = timedelta(days=7)
LARGEST_QUOTA = 100_000
MOST_GROUPS = 100
MOST_PATTERNS = 100
_PATTERN = re.compile(rf"[A-Za-z0-9._*?-]{{1,{texts.LONGEST_DEVICE_NAME}}}")


class Refusal(enum.Enum):
    """Say why a token lets nobody in, and what to do."""

    UNKNOWN = "is not known here; check that it is whole, or ask for a new one"
    REVOKED = "was revoked; ask for a new one"
    EXPIRED = "has expired; ask for a new one"
    USED_UP = "is used up; ask for a new one"


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenDraft:
    """Describe a token that an administrator asks for; `expires` None means the default lifetime."""

    description: str = ""
    quota: int = 1
    expires: datetime | None = None
    users: tuple[str, ...] = ()
    allow_reported_users: bool = False
    groups: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    scope_tags: tuple[str, ...] = ()
    device_id: str = ""
    device_names: tuple[str, ...] = ()
    unreadable: tuple[Problem, ...] = ()
    """What is wrong with parts that cannot even be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EnrolmentToken:
    """Hold the record of one token; its text is nowhere."""

    token_id: str
    digest: bytes
    quota: int
    expires: datetime
    created: datetime
    description: str = ""
    used: int = 0
    users: tuple[str, ...] = ()
    allow_reported_users: bool = False
    groups: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    scope_tags: tuple[str, ...] = ()
    device_id: str = ""
    device_names: tuple[str, ...] = ()
    revoked: datetime | None = None

    def refusal(self, now: datetime) -> Refusal | None:
        """Say why the token does not count any more; None if it does, used up or not."""
        if self.revoked is not None:
            return Refusal.REVOKED
        return Refusal.EXPIRED if now >= self.expires else None

    def lets_in(self, name: str) -> bool:
        """Tell whether a device of this name may enrol, as far as the token names devices."""
        return not self.device_names or any(Pattern(each, "/", folds=False).matches(name) for each in self.device_names)

    @property
    def used_up(self) -> bool:
        """Tell whether as many devices as allowed have enrolled."""
        return self.used >= self.quota

    @property
    def weight(self) -> int:
        """Return about how many bytes the token takes in a message."""
        return weigh((self.description,), self.users, self.groups, self.tags, self.scope_tags, self.device_names)

    def shown(self) -> dict[str, object]:
        """Return the token as an audit record keeps it."""
        return {
            "description": self.description,
            "quota": self.quota,
            "expires": self.expires.isoformat(),
            "users": list(self.users),
            "allow_reported_users": self.allow_reported_users,
            "groups": list(self.groups),
            "tags": list(self.tags),
            "scope_tags": list(self.scope_tags),
            "device_id": self.device_id,
            "device_names": list(self.device_names),
            "revoked": self.revoked.isoformat() if self.revoked else "",
        }


def check_draft(draft: TokenDraft, now: datetime) -> Iterator[Problem]:
    """Find everything that is wrong with a token that is asked for."""
    at = "enrolment_token"
    yield from draft.unreadable
    yield from texts.check_text(f"{at}.description", draft.description, texts.LONGEST_NOTE)
    if not 1 <= draft.quota <= LARGEST_QUOTA:
        yield Problem(f"{at}.quota", f"must be from 1 to {LARGEST_QUOTA}; say how many devices may enrol")
    if draft.expires is not None and draft.expires <= now:
        yield Problem(f"{at}.expires", "must be in the future; leave it out for seven days")
    yield from texts.check_names(f"{at}.users", draft.users, most=texts.MOST_USERS)
    yield from texts.check_names(f"{at}.groups", draft.groups, most=MOST_GROUPS)
    yield from texts.check_names(f"{at}.tags", draft.tags, most=texts.MOST_TAGS)
    yield from texts.check_names(f"{at}.scope_tags", draft.scope_tags, most=texts.MOST_SCOPE_TAGS)
    yield from texts.check_names(f"{at}.device_names", draft.device_names, most=MOST_PATTERNS, check=_check_pattern)
    if draft.device_id:
        yield from _bound_problems(at, draft)


def token_text(secret: str, fingerprint: str) -> str:
    """Return the text of a token: the secret, and what tells the installation's CA from others."""
    return f"{TOKEN_PREFIX}{secret}.{fingerprint}"


def _check_pattern(field: str, pattern: str) -> Iterator[Problem]:
    if not _PATTERN.fullmatch(pattern):
        longest = texts.LONGEST_DEVICE_NAME
        yield Problem(
            field, f"must be 1 to {longest} letters, digits, hyphens, underscores, dots, and the wildcards * and ?"
        )


def _bound_problems(at: str, draft: TokenDraft) -> Iterator[Problem]:
    """Find what a token for one device must not ask for: the device keeps all that it has."""
    if draft.quota != 1:
        yield Problem(f"{at}.quota", "must be 1, for the token is for one device")
    for name in ("users", "groups", "tags", "device_names"):
        if getattr(draft, name):
            yield Problem(f"{at}.{name}", "must be empty, for the device keeps what it has")
    if draft.allow_reported_users:
        yield Problem(f"{at}.allow_reported_users", "must be false, for the device keeps what it has")
