"""What is wrong with a trusted issuer, told all at once, each by the path of its field."""

import urllib.parse
from collections.abc import Iterator

from services._chassis.errors import Problem
from services._chassis.jwks import read_key_set
from services.rbac.model.issuers import TrustedIssuer
from services.rbac.model.nouns import AccessState

LONGEST_ADDRESS = 512
LONGEST_WORD = 256
LONGEST_PREFIX = 64
MOST_ISSUERS = 20
MOST_AUDIENCES = 20
MOST_MAPPINGS = 1000


def issuer_problems(path: str, issuer: TrustedIssuer, after: AccessState) -> Iterator[Problem]:
    """Say what is wrong with an issuer that is to stand among those of `after`."""
    if len(after.trusted_issuers) > MOST_ISSUERS:
        yield Problem(path, f"would be one of more than {MOST_ISSUERS}; delete those that are not needed")
    yield from _address_problems(f"{path}.issuer", issuer.issuer)
    yield from _audience_problems(f"{path}.audiences", issuer.audiences)
    yield from _key_problems(path, issuer)
    for field, word, most in (
        ("principal_claim", issuer.principal_claim, LONGEST_WORD),
        ("principal_prefix", issuer.principal_prefix, LONGEST_PREFIX),
        ("groups_claim", issuer.groups_claim, LONGEST_WORD),
        ("client_id", issuer.client_id, LONGEST_WORD),
    ):
        if word and not _is_word(word, most):
            yield Problem(f"{path}.{field}", f"must be printable, without spaces around it, at most {most} characters")
    yield from _mapping_problems(path, issuer, after)
    yield from _neighbour_problems(path, issuer, after)


def _address_problems(path: str, address: str) -> Iterator[Problem]:
    try:
        parts = urllib.parse.urlsplit(address)
        good = parts.scheme == "https" and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        good = False
    else:
        good = good and not (parts.username or parts.password or parts.query or parts.fragment)
    if not good or not _is_word(address, LONGEST_ADDRESS) or " " in address or not address.isascii():
        yield Problem(path, "must be an https address such as https://id.example.com, without user, query and fragment")


def _audience_problems(path: str, audiences: tuple[str, ...]) -> Iterator[Problem]:
    if not 0 < len(audiences) <= MOST_AUDIENCES:
        yield Problem(path, f"must be 1 to {MOST_AUDIENCES}: whom the issuer's tokens for OpenEPM are meant for")
    if len(set(audiences)) != len(audiences):
        yield Problem(path, "names an audience twice; keep one")
    if not all(_is_word(audience, LONGEST_WORD) for audience in audiences):
        yield Problem(path, f"must be printable, without spaces around them, 1 to {LONGEST_WORD} characters")


def _key_problems(path: str, issuer: TrustedIssuer) -> Iterator[Problem]:
    if issuer.jwks_uri:
        yield from _address_problems(f"{path}.jwks_uri", issuer.jwks_uri)
    if issuer.jwks:
        try:
            read_key_set(issuer.jwks)
        except ValueError as error:
            yield Problem(f"{path}.jwks", str(error))


def _mapping_problems(path: str, issuer: TrustedIssuer, after: AccessState) -> Iterator[Problem]:
    mappings = issuer.group_mappings
    if mappings and not issuer.groups_claim:
        yield Problem(f"{path}.groups_claim", "must name the claim that lists groups, since groups are mapped")
    if len(mappings) > MOST_MAPPINGS:
        yield Problem(f"{path}.group_mappings", f"must be at most {MOST_MAPPINGS}")
        return
    for index, mapping in enumerate(mappings):
        place = f"{path}.group_mappings[{index}]"
        if not _is_word(mapping.claim_value, LONGEST_WORD):
            yield Problem(f"{place}.claim_value", f"must be printable, 1 to {LONGEST_WORD} characters")
        if mapping in mappings[:index]:
            yield Problem(place, "is given twice; keep one")
        if mapping.principal_group not in after.principal_groups:
            yield Problem(
                f"{place}.principal_group",
                f"there is no principal group {mapping.principal_group!r}; create it first or in the same call",
            )


def _neighbour_problems(path: str, issuer: TrustedIssuer, after: AccessState) -> Iterator[Problem]:
    """Find the issuers that could speak for the principals of this one."""
    for other in after.trusted_issuers.values():
        if other.name == issuer.name:
            continue
        if other.issuer == issuer.issuer:
            yield Problem(f"{path}.issuer", f"is that of {other.name!r} too; give each issuer once")
        prefixes = sorted((issuer.principal_prefix, other.principal_prefix), key=len)
        if prefixes[1].startswith(prefixes[0]):
            yield Problem(
                f"{path}.principal_prefix",
                f"{other.name!r} could name the same principals; give both prefixes of which neither begins the other",
            )


def _is_word(text: str, most: int) -> bool:
    return 0 < len(text) <= most and text.isprintable() and text == text.strip()
