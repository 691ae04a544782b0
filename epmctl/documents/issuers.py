"""Read the documents that name trusted identity providers."""

from pathlib import Path
from typing import Final

from epmctl.documents.fields import Fields
from epmctl.documents.files import read_text
from epmctl.documents.model import GroupMapping, Metadata, TrustedIssuer
from epmctl.errors import Flaw

MAX_KEY_SET: Final = 64 * 1024

_KEYS: Final = ("jwksUri", "jwks", "jwksFile")


def read_trusted_issuer(metadata: Metadata, spec: Fields) -> TrustedIssuer:
    """Read the spec of a TrustedIssuer; a file of keys is read now, relative to the document. What it holds, the server says."""
    texts = {key: spec.text(key) for key in _KEYS}
    given = [key for key in _KEYS if texts[key]]
    if len(given) > 1:
        spec.refuse(given[-1], f"the keys are given twice, here and as {given[0]}; keep one")
    return TrustedIssuer(
        name=metadata.name,
        issuer=spec.text("issuer"),
        audiences=spec.texts("audiences"),
        jwks_uri=texts["jwksUri"],
        jwks=_read_file(spec, texts["jwksFile"]) if texts["jwksFile"] else texts["jwks"],
        principal_claim=spec.text("principalClaim"),
        principal_prefix=spec.text("principalPrefix"),
        groups_claim=spec.text("groupsClaim"),
        group_mappings=spec.each("groupMappings", _read_mapping),
        client_id=spec.text("clientId"),
    )


def _read_file(spec: Fields, name: str) -> str:
    flaws: list[Flaw] = []
    path = Path(spec.flaws.file).parent.absolute() / name  # absolute: `-` is a file like any other here
    text = read_text(str(path), flaws, limit=MAX_KEY_SET)
    for flaw in flaws:
        spec.refuse("jwksFile", str(flaw))
    return text or ""


def _read_mapping(fields: Fields) -> GroupMapping:
    return GroupMapping(
        claim_value=fields.text("claimValue"),
        principal_group=fields.text("principalGroup"),
    )
