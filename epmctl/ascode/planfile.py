"""Plans as files: what was planned, for which server, and against what, so that exactly this is applied later.

A file holds the documents themselves; nothing is read from the folder of the documents again. Its digest tells a file that
was cut off or edited by hand, and protects nobody from somebody who makes a digest of his own: keep plans where you keep
what applies them.
"""

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast

from epmctl.ascode.binding import Terms
from epmctl.ascode.canonical import Ref
from epmctl.ascode.plan import Owner
from epmctl.documents.files import Source, read_text, reason, write_whole
from epmctl.documents.model import Kind
from epmctl.errors import BadInputError, Flaw
from epmctl.jsontext import JsonError, parse_json
from epmctl.output import Plain, Record
from epmctl.profile import Profile

FORMAT_VERSION: Final = 1
MAX_PLAN_BYTES: Final = 64 * 1024 * 1024

_UNSPOKEN: Final = re.compile("[\x7f-\x9f\u2028\u2029\ufeff]")
"""Characters that JSON may hold as they are, and YAML may not."""


@dataclass(frozen=True, slots=True)
class Installation:
    """Which server a plan is for: its address, and the CA that it shows."""

    server: str
    ca_digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanFile:
    """A plan, as it is kept."""

    installation: Installation
    created: str
    documents: Sequence[Record]
    terms: Terms

    def sources(self, place: str) -> list[Source]:
        """Give the documents as texts to read."""
        return [
            Source(f"{place}: document {number}", _json(document)) for number, document in enumerate(self.documents, 1)
        ]


def installation_of(profile: Profile) -> Installation:
    """Tell which server a profile leads to."""
    return Installation(profile.server, hashlib.sha256("".join(profile.ca.split()).encode()).hexdigest())


def write_plan(place: Path, plan: PlanFile) -> None:
    """Write a plan, readable by its owner alone; the file is there whole or not at all."""
    content = _content(plan)
    text = json.dumps({"formatVersion": FORMAT_VERSION, "digest": _digest(content), "content": content}, indent=1)
    try:
        write_whole(place, text + "\n")
    except OSError as error:
        raise BadInputError(f"{place}: cannot be written: {reason(error)}") from None


def read_plan(place: str) -> PlanFile:
    """Read a plan; raise BadInputError for a file that is none, that is damaged, or that another version wrote."""
    flaws: list[Flaw] = []
    text = read_text(place, flaws, limit=MAX_PLAN_BYTES)
    if text is None:
        raise BadInputError.of(flaws)
    try:
        whole = parse_json(text)
    except JsonError:
        whole = None
    if not isinstance(whole, dict) or "formatVersion" not in whole:
        raise BadInputError(f"{place}: holds no plan; epm plan -o FILE writes one")
    if whole["formatVersion"] != FORMAT_VERSION:
        raise BadInputError(f"{place}: has a format that this epm does not know; plan again with this epm")
    content = whole.get("content")
    if not isinstance(content, dict) or whole.get("digest") != _digest(content):
        raise BadInputError(f"{place}: is damaged or was changed by hand; plan again")
    try:
        return _read_content(content)
    except (AttributeError, KeyError, TypeError, ValueError):
        raise BadInputError(f"{place}: is no plan of epm's, for all that its digest is right; plan again") from None


def refuse_other_server(plan: PlanFile, here: Installation, place: str) -> None:
    """Raise BadInputError where a plan was made for another server than the one that is talked to."""
    made_for = plan.installation
    if made_for.server != here.server:
        raise BadInputError(
            f"{place}: was made for {made_for.server}, not for {here.server}; plan again for this server"
        )
    if made_for.ca_digest != here.ca_digest:
        message = f"{place}: was made for a server with another CA at {here.server}; plan again for this server"
        raise BadInputError(message)


def _content(plan: PlanFile) -> dict[str, Plain]:
    owner = plan.terms.owner
    return {
        "server": plan.installation.server,
        "caDigest": plan.installation.ca_digest,
        "created": plan.created,
        "owner": None if owner is None else {"key": owner.key, "value": owner.value},
        "deletions": [{"kind": kind.name, "name": name} for kind, name in plan.terms.deletions],
        "expected": [
            {"kind": kind.name, "name": name, "etag": etag} for (kind, name), etag in plan.terms.etags.items()
        ],
        "documents": list(plan.documents),
    }


def _read_content(content: dict[str, object]) -> PlanFile:
    """Read what `_content` wrote; anybody can make a digest, so that whatever does not fit raises."""
    owner = cast("dict[str, str] | None", content["owner"])
    expected = cast("list[dict[str, str]]", content["expected"])
    return PlanFile(
        installation=Installation(str(content["server"]), str(content["caDigest"])),
        created=str(content["created"]),
        documents=cast("list[Record]", content["documents"]),
        terms=Terms(
            etags={_ref(entry): entry["etag"] for entry in expected},
            deletions=tuple(_ref(entry) for entry in cast("list[dict[str, str]]", content["deletions"])),
            owner=None if owner is None else Owner(owner["key"], owner["value"]),
        ),
    )


def _ref(entry: dict[str, str]) -> Ref:
    return Kind(entry["kind"]), entry["name"]


def _digest(content: object) -> str:
    return hashlib.sha256(_json(content).encode("utf-8", "surrogatepass")).hexdigest()


def _json(value: object) -> str:
    """Write JSON that is YAML too."""
    text = json.dumps(value, ensure_ascii=False, sort_keys=False, separators=(",", ":"))
    return _UNSPOKEN.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
