"""Keep reusable certificates that rules name."""

from collections.abc import Callable, Iterable

from elevation.model import RulesPolicy
from services._chassis.errors import StateError
from services._chassis.expected import listed
from services.policy.model.objects import Stored

_HIDDEN = "rules that you may not see"


def refuse_in_use(
    certificates: Iterable[str], policies: Iterable[Stored[RulesPolicy]], *, sees: Callable[[frozenset[str]], bool]
) -> None:
    """Raise StateError if one of the policies names a certificate that is to go.

    `sees` tells by its tags whether a policy may be named to the caller.
    """
    named: dict[str, list[str]] = {name: [] for name in certificates}
    for policy in policies:
        for rule in policy.content.rules:
            condition = rule.detection.certificate
            if condition is not None and condition.reusable in named:
                seen = sees(policy.about.scope_tags)
                named[condition.reusable].append(f"{policy.name}/{rule.name}" if seen else _HIDDEN)
    if said := [
        f'the reusable certificate "{name}" is named by {_listed(users)}' for name, users in named.items() if users
    ]:
        users = sorted({user for using in named.values() for user in using if user != _HIDDEN})
        raise StateError(
            f"{'; '.join(said)}; change those rules first",
            reason="CERTIFICATE_IN_USE",
            details={"users": "\n".join(users)},
        )


def _listed(users: list[str]) -> str:
    shown = [user for user in users if user != _HIDDEN]
    return ", ".join([*([listed(shown)] if shown else []), *([_HIDDEN] if len(shown) < len(users) else [])])
