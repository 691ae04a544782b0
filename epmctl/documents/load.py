"""Load documents: read every file, check everything, and give either the whole set or all that is wrong with it.

What a document means is checked by `elevation.checks`, the same code that the policy service runs; this module maps
the paths it names back to lines. A set that is complete in itself (`closed`, what the simulator needs) must also hold
every group that a policy is assigned to; on a server, groups may be there already.
"""

import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import islice, pairwise

from elevation.model import Group, ReusableCertificate, RulesPolicy, SettingsPolicy
from epmctl.documents.access import (
    read_principal,
    read_principal_group,
    read_role,
    read_role_assignment,
    read_scope_tag,
)
from epmctl.documents.blocking import find_refused_by_lint
from epmctl.documents.checks import check_drafts
from epmctl.documents.fields import Fields
from epmctl.documents.files import Source, read_sources
from epmctl.documents.issuers import read_trusted_issuer
from epmctl.documents.kindtables import ANY_DOCUMENT, SPECS
from epmctl.documents.model import API_VERSION, Document, Draft, Kind, Metadata, Spec
from epmctl.documents.nodes import MAX_FLAWS, BrokenNode, Flaws, MapNode, Node, read_nodes
from epmctl.documents.policies import (
    read_group,
    read_reusable_certificate,
    read_rules_policy,
    read_settings_policy,
)
from epmctl.errors import BadInputError, Flaw

_READERS: Mapping[Kind, Callable[[Metadata, Fields], Spec | None]] = {
    Kind.ElevationSettingsPolicy: read_settings_policy,
    Kind.ElevationRulesPolicy: read_rules_policy,
    Kind.ReusableCertificate: read_reusable_certificate,
    Kind.Group: read_group,
    Kind.Role: read_role,
    Kind.Principal: read_principal,
    Kind.PrincipalGroup: read_principal_group,
    Kind.RoleAssignment: read_role_assignment,
    Kind.ScopeTag: read_scope_tag,
    Kind.TrustedIssuer: read_trusted_issuer,
}


@dataclass(frozen=True, slots=True)
class DocumentSet:
    """Documents that were read together, in the order of their files."""

    documents: tuple[Document, ...]

    def settings_policies(self) -> tuple[SettingsPolicy, ...]:
        """Give the settings policies."""
        return tuple(d.spec for d in self.documents if isinstance(d.spec, SettingsPolicy))

    def rules_policies(self) -> tuple[RulesPolicy, ...]:
        """Give the rules policies."""
        return tuple(d.spec for d in self.documents if isinstance(d.spec, RulesPolicy))

    def reusable_certificates(self) -> tuple[ReusableCertificate, ...]:
        """Give the reusable certificates."""
        return tuple(d.spec for d in self.documents if isinstance(d.spec, ReusableCertificate))

    def groups(self) -> tuple[Group, ...]:
        """Give the groups."""
        return tuple(d.spec for d in self.documents if isinstance(d.spec, Group))


def load(places: Iterable[str], *, closed: bool) -> DocumentSet:
    """Load the documents that `places` name; raise BadInputError with every flaw of every file."""
    flaws: list[Flaw] = []
    documents = read_documents(places, flaws, closed=closed)
    if documents is None:
        raise BadInputError.of(flaws)
    return documents


def load_texts(sources: Iterable[Source]) -> DocumentSet:
    """Load documents out of texts that need hold nothing but themselves; raise BadInputError with every flaw."""
    flaws: list[Flaw] = []
    documents = _read_sources(sources, [], flaws, closed=False)
    if documents is None:
        raise BadInputError.of(flaws)
    return documents


def read_documents(places: Iterable[str], flaws: list[Flaw], *, closed: bool) -> DocumentSet | None:
    """Load the documents that `places` name; None where any has a flaw, which goes to `flaws`."""
    found: list[Flaw] = []
    return _read_sources(read_sources(places, found), found, flaws, closed=closed)


def _read_sources(
    sources: Iterable[Source], found: list[Flaw], flaws: list[Flaw], *, closed: bool
) -> DocumentSet | None:
    drafts = _drafts_of(sources, found)
    problems = check_drafts(drafts, tuple(found), closed=closed)
    found.extend(islice(problems, MAX_FLAWS))
    if next(problems, None) is not None:
        found.append(Flaw(drafts[-1].file, 0, "", f"more than {MAX_FLAWS} problems; the others are not shown"))
    if found:
        flaws.extend(found)
        if not closed:  # what goes to a server is refused there for this, too
            flaws.extend(islice(find_refused_by_lint(drafts), MAX_FLAWS))
        return None
    return document_set(drafts)


def read_drafts(places: Iterable[str], flaws: list[Flaw]) -> list[Draft]:
    """Read the documents that `places` name, whatever they mean; what is wrong with their shape goes to `flaws`."""
    return _drafts_of(read_sources(places, flaws), flaws)


def document_set(drafts: Iterable[Draft]) -> DocumentSet:
    """Give the documents whose spec could be read."""
    return DocumentSet(
        tuple(Document(d.kind, d.metadata, d.spec, d.file, d.node) for d in drafts if d.spec is not None)
    )


def _drafts_of(sources: Iterable[Source], flaws: list[Flaw]) -> list[Draft]:
    return [draft for source in sources for draft in _read_source(source, flaws)]


def _read_source(source: Source, flaws: list[Flaw]) -> list[Draft]:
    of_file = Flaws(source.name)
    roots = read_nodes(source.text, of_file)
    starts = [*(root.line for root in roots), sys.maxsize]
    read = [_read_document(root, range(*lines), of_file) for root, lines in zip(roots, pairwise(starts), strict=True)]
    flaws.extend(of_file.found)
    return [draft for draft in read if draft is not None]


def _read_document(root: Node, lines: range, flaws: Flaws) -> Draft | None:
    """Read one document; None where it cannot be told what it describes."""
    if not isinstance(root, MapNode):
        if not isinstance(root, BrokenNode):
            flaws.add(root.line, "", "a document must be a mapping with apiVersion, kind, metadata and spec")
        return None
    top = Fields(root, "", flaws, ANY_DOCUMENT)
    _check_api_version(top)
    kind = top.choice("kind", Kind)
    metadata = top.fields("metadata")
    spec = top.fields_of("spec", None if kind is None else SPECS[kind])
    read_metadata = _read_metadata(metadata) if metadata is not None else Metadata("")
    if kind is None:
        return None
    read_spec = None
    if spec is not None:
        read_spec = _READERS[kind](read_metadata, spec)
    return Draft(kind, read_metadata, read_spec, flaws.file, root, lines)


def _check_api_version(top: Fields) -> None:
    before = len(top.flaws.found)
    version = top.text("apiVersion")
    if version != API_VERSION and len(top.flaws.found) == before and top.has("apiVersion"):
        top.refuse("apiVersion", f"must be {API_VERSION}, not {version!r}")


def _read_metadata(metadata: Fields) -> Metadata:
    return Metadata(
        name=metadata.text("name"),
        description=metadata.text("description"),
        scope_tags=metadata.texts("scopeTags"),
        labels=metadata.labels("labels"),
    )
