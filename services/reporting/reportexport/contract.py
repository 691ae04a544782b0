"""What the contract says of files, and back."""

from collections.abc import Iterator

from epm.reporting.v1 import export_pb2, insights_pb2
from services._chassis.caller import current_permit
from services._chassis.errors import Problem
from services.reporting.codec.insights import period_from_proto
from services.reporting.codec.questions import question_from_proto
from services.reporting.codec.readiness import readiness_question_from_proto
from services.reporting.codec.words import words
from services.reporting.model.groups import NO_GROUPS, Memberships
from services.reporting.model.reports import Question
from services.reporting.readiness import one_sided
from services.reporting.reportexport.serving import Portion
from services.reporting.reportexport.walks import Order, Tags

REPORTS = words(export_pb2.ReportKind.items(), "REPORT_KIND_")
_OF_READINESS = frozenset({"READINESS", "OBSTACLES"})
FORMS = words(export_pb2.ExportFormat.items(), "EXPORT_FORMAT_")


def order_from_proto(message: export_pb2.ExportReportRequest, tags: Tags, groups: Memberships = NO_GROUPS) -> Order:
    """Read what is asked for, and what of it cannot be read."""
    seen = current_permit().visible_tags()
    question, period = period_from_proto(message.period, question_from_proto(message.filter, seen, groups=groups))
    whom = readiness_question_from_proto(insights_pb2.ListReadinessRequest(subject=message.subject), seen)
    return Order(
        report=REPORTS.get(message.report, ""),
        form=FORMS.get(message.format, ""),
        question=question,
        tags=tags,
        order_by=message.order_by,
        period=period,
        subject=whom.subject,
        problems=(*_problems(message, question), *whom.question.unreadable),
    )


def portion_to_proto(portion: Portion) -> export_pb2.ExportReportResponse:
    """Write a piece of a file."""
    return export_pb2.ExportReportResponse(data=portion.data, written=portion.written, total=portion.total)


def _problems(message: export_pb2.ExportReportRequest, question: Question) -> Iterator[Problem]:
    if message.report not in REPORTS:
        yield Problem("report", "must be a report that this server knows")
    if message.format not in FORMS:
        yield Problem("format", "must be a form that this server knows")
    if REPORTS.get(message.report) in _OF_READINESS:
        yield from one_sided(question)
