"""Documents as a draft that a server lays over what it holds, to answer questions about what would be."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import click

from epmctl.client import RefusedInputError
from epmctl.documents.load import DocumentSet
from epmctl.documents.model import Document, Kind
from epmctl.documents.places import flaw_in
from epmctl.documents.wire import to_draft, to_requests
from epmctl.errors import BadInputError, Flaw

_FIELD: Final = re.compile(r"draft\.([a-z_]+)\[([0-9]{1,6})\]\.?(.*)")
_KINDS: Final[Mapping[str, Kind]] = {
    "reusable_certificates": Kind.ReusableCertificate,
    "settings_policies": Kind.ElevationSettingsPolicy,
    "rules_policies": Kind.ElevationRulesPolicy,
    "groups": Kind.Group,
}


class DraftDocuments:
    """Policies and groups of documents as a draft, and where in the files its fields are."""

    def __init__(self, documents: DocumentSet) -> None:
        held = [document for document in documents.documents if document.kind in _KINDS.values()]
        self._held: Mapping[str, Sequence[Document]] = {
            field: [document for document in held if document.kind is kind] for field, kind in _KINDS.items()
        }
        self._others = [document for document in documents.documents if document.kind not in _KINDS.values()]
        self.message = to_draft(to_requests(held))

    def tell_others(self) -> None:
        """Say which documents have no part in a draft."""
        for document in self._others:
            message = f"not used: a {document.kind.name} changes nothing of what policies decide"
            click.echo(str(Flaw(document.file, document.node.line, "kind", message)), err=True)

    def explain(self, violations: Iterable[tuple[str, str]]) -> list[str]:
        """Name the places in the files that a server finds fault with, instead of fields of the draft."""
        return [self._explain_one(field, said) for field, said in violations]

    def _explain_one(self, field: str, said: str) -> str:
        matched = _FIELD.fullmatch(field)
        documents = self._held.get(matched[1], ()) if matched else ()
        if matched is None or int(matched[2]) >= len(documents):
            return f"{field}: {said}" if field else said
        return str(flaw_in(documents[int(matched[2])], matched[3], said))


def draft_of(documents: DocumentSet | None) -> DraftDocuments | None:
    """Give documents as a draft, and say which have no part in it; None without documents."""
    if documents is None:
        return None
    draft = DraftDocuments(documents)
    draft.tell_others()
    return draft


def refused(draft: DraftDocuments | None, error: RefusedInputError) -> BadInputError:
    """Turn a server's refusal of a question into one that names the files of its draft."""
    return error if draft is None else BadInputError(*draft.explain(error.violations))
