"""Ask a server for findings: in what it holds, or with documents on top of that."""

from collections.abc import Iterator

from epm.policy.v1 import analysis_pb2, analysis_pb2_grpc, lint_pb2
from epmctl.ascode.drafts import draft_of, refused
from epmctl.client import APPLY_DEADLINE, Client, RefusedInputError
from epmctl.documents.load import DocumentSet
from epmctl.documents.model import Document
from epmctl.documents.places import line_of
from epmctl.linting.report import Found, Related
from epmctl.plain import word_of


def lint_on_server(
    client: Client, documents: DocumentSet | None, *, everything: bool, with_ignored: bool
) -> list[Found]:
    """Give the server's findings, the worst first; with documents those that concern them, or `everything`.

    Raises BadInputError, by places in the files, for documents that the server does not accept.
    """
    draft = draft_of(documents)
    request = analysis_pb2.LintRequest(
        draft=None if draft is None else draft.message,
        draft_only=draft is not None and not everything,
        with_ignored=with_ignored,
    )
    held = {} if documents is None else {(one.kind.name, one.name): one for one in documents.documents}
    stub = analysis_pb2_grpc.AnalysisServiceStub(client.channel)
    try:
        parts = list(client.stream(stub.Lint, request, deadline=APPLY_DEADLINE))
    except RefusedInputError as error:
        raise refused(draft, error) from None
    return [_found(finding, held.get((finding.kind, finding.name))) for finding in _all(parts)]


def _all(parts: list[analysis_pb2.LintResponse]) -> Iterator[lint_pb2.Finding]:
    for part in parts:
        yield from part.findings


def _found(finding: lint_pb2.Finding, document: Document | None) -> Found:
    key = f"spec.{finding.path}" if finding.path else "metadata.name"
    return Found(
        check=finding.id,
        severity=word_of(lint_pb2.Severity.DESCRIPTOR, finding.severity) or "INFO",
        kind=finding.kind,
        name=finding.name,
        rule=finding.rule,
        path=finding.path,
        message=finding.message,
        why=finding.why,
        remedy=finding.remedy,
        related=tuple(Related(other.kind, other.name, other.rule) for other in finding.related),
        ignored_because=finding.ignored_because,
        file="" if document is None else document.file,
        line=0 if document is None else line_of(document.node, key),
    )
