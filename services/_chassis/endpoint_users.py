r"""Which users of devices an administrator is, so that nobody approves their own request.

- A principal is always the user of its own name: `user:alice@example.com` is `alice@example.com` and `alice`. Where a trusted
  issuer names it, its prefix is left out: `user:corp:alice` is `alice`.
- A principal record adds users: it never takes those of its own name away.
- A name without a domain stands for that user of every domain (`alice` for `EXAMPLE\alice` and `alice@example.com`); a
  name with one for that user alone. Case and the forms of Unicode make no difference.
"""

import unicodedata
from collections.abc import Iterator, Sequence

from services._chassis.nesting import USER
from services._chassis.snapshot import AccessSnapshot


class EndpointUsers:
    """Tell the users of devices that principals are."""

    def __init__(self, snapshot: AccessSnapshot) -> None:
        self._stated = {USER + record.name: record.endpoint_users for record in snapshot.principals}
        self._prefixes: Sequence[str] = ("", *(issuer.principal_prefix for issuer in snapshot.issuers))

    def of(self, principal: str) -> frozenset[str]:
        """Return the users that the principal is, those of its own name among them; folded, so that case is gone."""
        stated = map(_folded, self._stated.get(principal, ()))
        return frozenset(name for name in (*stated, *self._own(principal)) if name)

    def includes(self, principal: str, user: str) -> bool:
        """Tell whether the principal is the user whom a device names so."""
        return not self.of(principal).isdisjoint((_folded(user), _bare(user)))

    def _own(self, principal: str) -> Iterator[str]:
        name = principal.removeprefix(USER)
        for prefix in self._prefixes:
            if name.startswith(prefix):
                yield from (_folded(name.removeprefix(prefix)), _bare(name.removeprefix(prefix)))


def _folded(name: str) -> str:
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())


def _bare(name: str) -> str:
    """Return a name without its domain, which stands before a backslash or behind an at sign."""
    return _folded(name).rpartition("\\")[2].partition("@")[0]
