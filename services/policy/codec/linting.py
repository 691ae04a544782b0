"""What to lint from the contract, and findings in messages that streams carry."""

from collections.abc import Iterator, Sequence

from elevation.lint.findings import Finding
from epm.policy.v1 import analysis_pb2
from services._chassis.errors import InvalidError, Problem
from services.policy.codec.drafts import kind_from_proto
from services.policy.codec.findings import findings_to_proto
from services.policy.codec.overlays import flaws_beside_draft, overlay_from_proto
from services.policy.usecases.analysis.lint import LintWanted, NamedObject

MOST_IN_A_MESSAGE = 500


def lint_wanted_from_proto(request: analysis_pb2.LintRequest) -> LintWanted:
    """Read what to lint; what cannot be read stands among the flaws."""
    flaws: list[Problem] = [*flaws_beside_draft(request)]
    objects: list[NamedObject] = []
    for number, named in enumerate(request.objects):
        place = f"objects[{number}]"
        try:
            objects.append(NamedObject(place=place, kind=kind_from_proto(named, place), name=named.name))
        except InvalidError as error:
            flaws.extend(error.problems)
    return LintWanted(
        overlay=overlay_from_proto(request.draft),
        draft_only=request.draft_only,
        objects=tuple(objects),
        with_ignored=request.with_ignored,
        flaws=tuple(flaws),
    )


def lint_to_proto(findings: Sequence[Finding]) -> Iterator[analysis_pb2.LintResponse]:
    """Write findings in as many messages as they take; the first says how many there are, even if that is none."""
    part = analysis_pb2.LintResponse(findings=findings_to_proto(findings, most=MOST_IN_A_MESSAGE), total=len(findings))
    yield part
    sent = len(part.findings)
    while sent < len(findings):
        part = analysis_pb2.LintResponse(findings=findings_to_proto(findings[sent:], most=MOST_IN_A_MESSAGE))
        yield part
        sent += len(part.findings)
