"""The access check, compiled: who may do what, and within which scope.

- Grants only add; what nobody granted is denied. An unknown role, right, group or token grants nothing.
- A right counts only within the scope of the assignment that grants it.
- A principal group gives to its members and to those of every group in it; a step on a cycle of groups gives nothing.
- An assignment without scope tags sees every object; without scope groups it may target no group.
- The virtual groups `all-devices` and `all-users` contain no other group: an assignment scoped to one of them may target
  that group and no named one.
- An assignment of the role `Owner` sees and targets everything, whatever its scope says.
- An object without tags carries the tag `default`.
- A snapshot that nobody confirmed within its bound refuses everyone: fail closed.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from services._chassis.clock import Clock
from services._chassis.endpoint_users import EndpointUsers
from services._chassis.errors import DeniedError, UnauthenticatedError, UnavailableError
from services._chassis.jwt import TokenVerifier, VerifiedToken
from services._chassis.nesting import GROUP, USER, Nesting
from services._chassis.permits import EVERYTHING, Permit, Scope
from services._chassis.rights import BITS, mask_of, names_of
from services._chassis.snapshot import AccessSnapshot, AssignmentGrant, TokenDigest
from services._chassis.token_use import TokenUses

OWNER = "Owner"
DEFAULT_BOUND = timedelta(seconds=60)
NO_GROUPS: frozenset[str] = frozenset()
MOST_KEPT = 65_536
_EVER = datetime.min.replace(tzinfo=UTC)
_NEVER = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Grant:
    """Hold one assignment as it counts for one principal."""

    assignment: str
    role: str
    mask: int
    scope: Scope
    expires: datetime | None

    def counts(self, now: datetime) -> bool:
        """Tell whether the assignment still grants."""
        return self.expires is None or now < self.expires


class CompiledAccess:
    """Answer questions about one snapshot.

    Which assignments count is kept in bits, one for each assignment: for every principal that is named, and for every
    principal group with all that contain it. Callers may bring groups of their own: names of principal groups that an
    identity provider counts them into.
    """

    def __init__(self, snapshot: AccessSnapshot) -> None:
        self.snapshot = snapshot
        self.nesting = Nesting({group.name: group.members for group in snapshot.principal_groups})
        self.endpoint_users = EndpointUsers(snapshot)
        self._tokens = {token.digest: token for token in snapshot.tokens}
        self._grants = _grants_of(snapshot)
        direct = _direct_bits(snapshot, self._grants)
        self._groups = _bits_of_groups(self.nesting, direct)
        self._principals = _bits_of_principals(snapshot, direct, self._groups)
        self._kept: dict[tuple[str, str, frozenset[str]], tuple[datetime, datetime, Permit | None]] = {}

    @property
    def revision(self) -> int:
        """Return the revision of the snapshot."""
        return self.snapshot.revision

    @property
    def all_grants(self) -> Sequence[Grant]:
        """Return a grant for each assignment of the snapshot, in its order; those of unknown roles hold no right."""
        return self._grants

    def token(self, digest: bytes) -> TokenDigest | None:
        """Return the token with this digest, expired or not; None if there is none."""
        return self._tokens.get(digest)

    def principals(self) -> Iterable[str]:
        """Return everyone who holds a grant, expired or not."""
        return self._principals.keys()

    def bits(self, principal: str, groups: frozenset[str] = NO_GROUPS) -> int:
        """Return the assignments of the principal, expired or not, as bits."""
        bits = self._principals.get(principal, 0)
        for group in groups:
            bits |= self._groups.get(group, 0)
        return bits

    def of_bits(self, bits: int) -> Iterator[Grant]:
        """Give the grants that the bits stand for, in the order of the snapshot."""
        while bits:
            lowest = bits & -bits
            yield self._grants[lowest.bit_length() - 1]
            bits ^= lowest

    def grants(self, principal: str, now: datetime, groups: frozenset[str] = NO_GROUPS) -> tuple[Grant, ...]:
        """Return the grants of the principal that still count."""
        return tuple(grant for grant in self.of_bits(self.bits(principal, groups)) if grant.counts(now))

    def rights(self, principal: str, now: datetime, groups: frozenset[str] = NO_GROUPS) -> tuple[str, ...]:
        """Return the rights of the principal over all of its grants, sorted."""
        return names_of(_masked(self.grants(principal, now, groups), lambda _: True))

    def permit(self, principal: str, right: str, now: datetime, groups: frozenset[str] = NO_GROUPS) -> Permit | None:
        """Return the scopes in which the principal has the right; None if it has not.

        An answer is kept, since it stays the same until one of its grants expires.
        """
        kept = self._kept.get((principal, right, groups))
        if kept is not None and kept[0] <= now < kept[1]:
            return kept[2]
        return self._decide(principal, right, now, groups)

    def excess_over(
        self, group: str, principal: str, now: datetime, groups: frozenset[str] = NO_GROUPS
    ) -> tuple[str, ...]:
        """Name the rights that somebody has over the scope group and the principal has not, sorted; none for an Owner.

        Whoever changes who is in the group gives these rights over whoever joins it.
        """
        held = _masked(self.grants(principal, now, groups), lambda scope: scope.targets(group))
        everybody = (grant for grant in self._grants if grant.counts(now))
        return names_of(_masked(everybody, lambda scope: group in scope.groups) & ~held)

    def is_owner(self, principal: str, now: datetime, groups: frozenset[str] = NO_GROUPS) -> bool:
        """Tell whether the principal is an Owner."""
        return any(grant.role == OWNER for grant in self.grants(principal, now, groups))

    def _decide(self, principal: str, right: str, now: datetime, groups: frozenset[str]) -> Permit | None:
        bits = self.bits(principal, groups)
        if not bits:
            return None
        bit = BITS.get(right, 0)
        holding = [grant for grant in self.of_bits(bits) if grant.mask & bit]
        counting = [grant for grant in holding if grant.counts(now)]
        permit = Permit(right, tuple(grant.scope for grant in counting)) if counting else None
        ends = [grant.expires for grant in holding if grant.expires is not None]
        since = max((end for end in ends if end <= now), default=_EVER)
        until = min((end for end in ends if end > now), default=_NEVER)
        if len(self._kept) >= MOST_KEPT:
            self._kept.clear()
        self._kept[principal, right, groups] = since, until, permit
        return permit


@dataclass(slots=True)
class AccessControl:
    """Check callers against the newest snapshot, and refuse once nobody has confirmed it within the bound."""

    clock: Clock
    bound: timedelta = DEFAULT_BOUND
    on_change: list[Callable[[], None]] = field(default_factory=list)
    uses: TokenUses = field(default_factory=TokenUses)
    _access: CompiledAccess | None = None
    _confirmed: float = 0.0
    _replaced: asyncio.Event = field(default_factory=asyncio.Event)
    _verifier: TokenVerifier = field(default_factory=TokenVerifier)

    @property
    def revision(self) -> int:
        """Return the revision of the snapshot; 0 if there is none yet."""
        return self._access.revision if self._access else 0

    def replace(self, snapshot: AccessSnapshot) -> None:
        """Put a new snapshot in force; it is fresh."""
        if snapshot.issuers != (self._access.snapshot.issuers if self._access else ()):
            self._verifier = TokenVerifier(snapshot.issuers)
        self._access = CompiledAccess(snapshot)
        self._replaced.set()
        self._replaced = asyncio.Event()
        self.confirm()

    def confirm(self) -> None:
        """Note that the snapshot is still the newest."""
        self._confirmed = self.clock.monotonic()
        for listener in self.on_change:
            listener()

    def fresh(self) -> bool:
        """Tell whether there is a snapshot that was confirmed within the bound."""
        return self._access is not None and self.clock.monotonic() - self._confirmed < self.bound.total_seconds()

    def access(self) -> CompiledAccess:
        """Return the snapshot in force. Raises UnavailableError if it is missing or stale."""
        if self._access is None or not self.fresh():
            raise UnavailableError(
                "the rbac service has not been heard of for too long; try again once it is reachable",
                reason="ACCESS_SNAPSHOT_STALE",
            )
        return self._access

    def authenticate(self, digest: bytes) -> TokenDigest:
        """Return the token with this digest. Raises UnauthenticatedError if it is unknown, revoked or expired."""
        token = self.access().token(digest)
        if token is None:
            raise UnauthenticatedError(
                "the bearer token is not known; it may be mistyped or revoked", reason="TOKEN_UNKNOWN"
            )
        now = self.clock.now()
        if token.expires is not None and now >= token.expires:
            raise UnauthenticatedError("the bearer token has expired; ask for a new one", reason="TOKEN_EXPIRED")
        self.uses.note(token.token_id, now)
        return token

    def verify(self, token: str, digest: bytes) -> VerifiedToken:
        """Return who brings the JSON Web Token. Raises UnauthenticatedError for one that is not to be believed."""
        self.access()
        return self._verifier.verify(token, digest, self.clock.now())

    def recall(self, digest: bytes) -> VerifiedToken | None:
        """Return who brings a JSON Web Token that was believed before; None for any other, whose signature costs time."""
        self.access()
        return self._verifier.remembered(digest, self.clock.now())

    async def at_least(self, revision: int, timeout: float) -> CompiledAccess:  # noqa: ASYNC109 - part of the question
        """Return the snapshot in force once it is as fresh as the revision. Raises UnavailableError if it does not come."""
        try:
            async with asyncio.timeout(timeout):
                while self.revision < revision:
                    await self._replaced.wait()
        except TimeoutError:
            raise UnavailableError(
                f"revision {revision} of the access data has not come, {self.revision} is in force; try again later",
                reason="ACCESS_SNAPSHOT_BEHIND",
            ) from None
        return self.access()

    def check(self, principal: str, right: str, groups: frozenset[str] = NO_GROUPS) -> Permit:
        """Return the scopes in which the principal has the right. Raises DeniedError if it has not."""
        permit = self.access().permit(principal, right, self.clock.now(), groups)
        if permit is None:
            raise DeniedError(
                f"{principal} needs the right {right}; no role assignment grants it", reason="RIGHT_MISSING"
            )
        return permit


def _masked(grants: Iterable[Grant], reaches: Callable[[Scope], bool]) -> int:
    """Return the rights of those of the grants whose scope reaches far enough."""
    mask = 0
    for grant in grants:
        if reaches(grant.scope):
            mask |= grant.mask
    return mask


def _grants_of(snapshot: AccessSnapshot) -> list[Grant]:
    masks = {role.name: mask_of(role.rights) for role in snapshot.roles}
    return [
        Grant(given.name, given.role, masks.get(given.role, 0), scope_of(given), given.expires)
        for given in snapshot.assignments
    ]


def _direct_bits(snapshot: AccessSnapshot, grants: list[Grant]) -> dict[str, int]:
    """Return the assignments that name each member and grant anything."""
    direct: dict[str, int] = {}
    for index, (assignment, grant) in enumerate(zip(snapshot.assignments, grants, strict=True)):
        if grant.mask:
            for member in assignment.members:
                direct[member] = direct.get(member, 0) | 1 << index
    return direct


def _bits_of_groups(nesting: Nesting, direct: dict[str, int]) -> dict[str, int]:
    bits: dict[str, int] = {}
    for name in nesting.outermost_first:
        held = direct.get(GROUP + name, 0)
        for outer in nesting.containers[name]:
            held |= bits[outer]
        bits[name] = held
    return bits


def _bits_of_principals(snapshot: AccessSnapshot, direct: dict[str, int], groups: dict[str, int]) -> dict[str, int]:
    bits = {member: held for member, held in direct.items() if member.startswith(USER)}
    for group in snapshot.principal_groups:
        given = groups[group.name]
        if not given:
            continue
        for member in group.members:
            if member.startswith(USER):
                held = bits.get(member, 0)
                # Who holds nothing else shares the number of the group: there are many principals, and few such numbers.
                bits[member] = held | given if held else given
    return bits


def scope_of(assignment: AssignmentGrant) -> Scope:
    """Return the scope within which an assignment counts."""
    return EVERYTHING if assignment.role == OWNER else Scope(assignment.scope_groups, assignment.scope_tags)
