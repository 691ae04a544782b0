r"""Which users of devices an administrator is, so that nobody approves their own request.

- A principal is always the user of its own name: `user:alice@example.com` is `alice@example.com` and `alice`. Where a trusted
  issuer names it, its prefix is left out: `user:corp:alice` is `alice`.
- A principal record adds users: it never takes those of its own name away.
- Two names are of one user unless their domains are known to differ: a name without a domain is that user of every domain, on
  either side (a device may leave out the domain that a record states); `EXAMPLE\alice` and `alice@example.com` may be one
  user, for the two forms name domains differently; `EXAMPLE\alice` and `OTHER\alice` are not. Case and the forms of Unicode
  make no difference.
"""

import unicodedata
from collections.abc import Iterator, Sequence

from services._chassis.nesting import USER
from services._chassis.snapshot import AccessSnapshot

_SEPARATORS = str.maketrans("/+", "\\\\")
"""What devices of a domain may be set up to write for a backslash (winbind)."""


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
        asked = _folded(user)
        return any(name == asked or _alike(name, asked) for name in self.of(principal))

    def _own(self, principal: str) -> Iterator[str]:
        name = principal.removeprefix(USER)
        for prefix in self._prefixes:
            if name.startswith(prefix):
                yield from (_folded(name.removeprefix(prefix)), _bare(name.removeprefix(prefix)))


def _folded(name: str) -> str:
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())


def _bare(name: str) -> str:
    """Return a name without its domain."""
    return _parts(_folded(name))[0]


def _alike(one: str, other: str) -> bool:
    """Tell whether nothing is known that makes them different users; folded names."""
    (name, *domains), (other_name, *others) = _parts(one), _parts(other)
    return bool(name) and name == other_name and all(map(_compatible, domains, others))


def _parts(name: str) -> tuple[str, str, str]:
    """Split a folded name off its domain, which stands before a separator or behind an at sign; empty: none."""
    before, _, rest = name.translate(_SEPARATORS).rpartition("\\")
    user, _, behind = rest.partition("@")
    return user, before, behind


def _compatible(domain: str, other: str) -> bool:
    """Tell whether two domains may be one: they are, or one is not told, or is the other's short name."""
    return not domain or not other or f"{domain}.".startswith(f"{other}.") or f"{other}.".startswith(f"{domain}.")
