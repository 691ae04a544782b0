"""Read questions about readiness, and write what is answered."""

from collections.abc import Iterator
from dataclasses import replace

from epm.reporting.v1 import insights_pb2, reports_pb2
from services._chassis.errors import Problem
from services._chassis.paging import Page
from services.reporting.codec.answers import filter_to_proto
from services.reporting.codec.questions import question_from_proto
from services.reporting.model.groups import NO_GROUPS, Memberships
from services.reporting.model.readiness import (
    ApplicationAttempts,
    Obstacle,
    Readiness,
    ReadinessEntry,
    ReadinessPage,
    ReadinessQuestion,
    Split,
    Subject,
)
from services.reporting.model.reports import ElevationFilter

_SUBJECTS = {
    insights_pb2.READINESS_SUBJECT_UNSPECIFIED: Subject.USER,
    insights_pb2.READINESS_SUBJECT_USER: Subject.USER,
    insights_pb2.READINESS_SUBJECT_DEVICE: Subject.DEVICE,
}
_VERDICTS = {
    insights_pb2.READINESS_READY: Readiness.READY,
    insights_pb2.READINESS_PARTLY: Readiness.PARTLY,
    insights_pb2.READINESS_UNMANAGED: Readiness.UNMANAGED,
}
_WRITTEN = {verdict: number for number, verdict in _VERDICTS.items()}


def readiness_question_from_proto(
    request: insights_pb2.ListReadinessRequest, tags: frozenset[str] | None, groups: Memberships = NO_GROUPS
) -> ReadinessQuestion:
    """Read who is asked about; what cannot be read stands in the question."""
    question = question_from_proto(request.filter, tags, groups=groups)
    return ReadinessQuestion(
        replace(question, unreadable=(*question.unreadable, *_problems(request))),
        _SUBJECTS.get(request.subject, Subject.USER),
        frozenset(_VERDICTS[number] for number in request.readiness if number in _VERDICTS),
    )


def readiness_to_proto(found: ReadinessPage) -> insights_pb2.ListReadinessResponse:
    """Write a page of users or devices."""
    return insights_pb2.ListReadinessResponse(
        entries=map(_entry, found.page.items),
        next_page_token=found.page.next_token,
        split=split_to_proto(found.split),
    )


def split_to_proto(split: Split) -> insights_pb2.ReadinessSplit:
    """Write how users, or devices, are split."""
    return insights_pb2.ReadinessSplit(
        managed_only=split.managed_only, both=split.both, unmanaged_only=split.unmanaged_only
    )


def obstacles_to_proto(found: Page[Obstacle]) -> insights_pb2.ListObstaclesResponse:
    """Write a page of applications that stand in the way."""
    return insights_pb2.ListObstaclesResponse(obstacles=map(_obstacle, found.items), next_page_token=found.next_token)


def _problems(request: insights_pb2.ListReadinessRequest) -> Iterator[Problem]:
    if request.subject not in _SUBJECTS:
        yield Problem("subject", "must be a subject that this server knows: users or devices")
    if not _VERDICTS.keys() >= set(request.readiness):
        yield Problem("readiness", "must be verdicts that this server knows; leave it empty for all")


def _entry(found: ReadinessEntry) -> insights_pb2.ReadinessEntry:
    is_device = bool(found.device_id)
    own = ElevationFilter(device_ids=(found.device_id,)) if is_device else ElevationFilter(users=(found.name,))
    return insights_pb2.ReadinessEntry(
        user="" if is_device else found.name,
        device_id=found.device_id,
        device_name=found.name if is_device else "",
        readiness=_WRITTEN[found.readiness],
        administrator=found.administrator,
        managed=found.managed,
        unmanaged=found.unmanaged,
        obstacle_count=found.obstacles.count,
        obstacles=(_application(each, own) for each in found.obstacles.first),
        drill_down=filter_to_proto(own),
    )


def _obstacle(found: Obstacle) -> insights_pb2.Obstacle:
    return insights_pb2.Obstacle(
        application=_application(ApplicationAttempts(found.application, found.count), ElevationFilter()),
        users=found.users,
        devices=found.devices,
        users_freed=found.users_freed,
        attempt_id=found.attempt_id,
    )


def _application(found: ApplicationAttempts, of_whom: ElevationFilter) -> reports_pb2.ApplicationCount:
    """Write unmanaged attempts, those of some user or on some device alone."""
    drill_down = replace(found.application.drill_down, users=of_whom.users, device_ids=of_whom.device_ids)
    return reports_pb2.ApplicationCount(
        **found.application._asdict(), count=found.count, drill_down=filter_to_proto(drill_down)
    )
