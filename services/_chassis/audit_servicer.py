"""Serve the audit logs of all services of this process; every read of them is recorded too."""

from collections.abc import AsyncIterator, Mapping
from typing import Any

from auditchain.checkpoint import Checkpoint
from auditchain.codec import checkpoint_to_proto, record_to_proto, time_from_proto
from auditchain.lines import Part
from auditchain.record import AuditRecord
from auditchain.times import to_text
from epm.access.v1 import audit_pb2, audit_pb2_grpc
from services._chassis.audit import AuditEntry
from services._chassis.audit_log import AuditLog
from services._chassis.audit_reading import AuditFilter
from services._chassis.caller import current_permit
from services._chassis.errors import DeniedError, InvalidError, Problem
from services._chassis.paging import LARGEST_NUMBER, page_request

DEFAULT_PAGE = 100
PREFIX = "AUDITED_SERVICE_"


class AuditServicer(audit_pb2_grpc.AuditServiceServicer):
    """Answer from the log of the service that a call names."""

    def __init__(self, logs: Mapping[str, AuditLog]) -> None:
        self._logs = logs

    async def ListAuditRecords(
        self, request: audit_pb2.ListAuditRecordsRequest, context: Any
    ) -> audit_pb2.ListAuditRecordsResponse:
        """Give a page of records, newest first."""
        log = self._log(request.service)
        asked = _filter_of(request)
        page = page_request(
            page_size=request.page_size or DEFAULT_PAGE,
            page_token=request.page_token,
            question=f"audit of {log.service} {asked}",
            shape=(int,),
        )
        if not request.page_token:
            await log.note(_read(log, "list", _facts(asked)))
        found = await log.reader.page(asked, page)
        records = [record_to_proto(record) for record in found.items]
        return audit_pb2.ListAuditRecordsResponse(records=records, next_page_token=found.next_token)

    async def ExportAuditChain(
        self, request: audit_pb2.ExportAuditChainRequest, context: Any
    ) -> AsyncIterator[audit_pb2.ExportAuditChainResponse]:
        """Stream the public keys, the records, the checkpoints; the record of this read is the newest that it shows."""
        log = self._log(request.service)
        first = request.from_sequence
        await log.note(_read(log, "export", {"from_sequence": str(first)} if first else {}))
        async for part in log.export(min(first, LARGEST_NUMBER) - 1 if first else None):
            yield _encoded(part)

    def _log(self, service: "audit_pb2.AuditedService.ValueType") -> AuditLog:
        """Return the log that is asked for. Raises DeniedError for who may see a part of things alone, and InvalidError."""
        if not current_permit().sees_everything():
            raise DeniedError(
                "the audit log tells of everything, whatever its scope tags; it needs a role assignment without scope tags",
                reason="SCOPE_TOO_NARROW",
            )
        value = audit_pb2.AuditedService.DESCRIPTOR.values_by_number.get(service)
        found = self._logs.get(value.name.removeprefix(PREFIX).lower()) if value else None
        if found is None:
            here = ", ".join(sorted(self._logs))
            problem = Problem("service", f"is not served here; name one of {here}, or call the address of that service")
            raise InvalidError([problem], reason="SERVICE_NOT_HERE")
        return found


def _filter_of(request: audit_pb2.ListAuditRecordsRequest) -> AuditFilter:
    asked = AuditFilter(
        actor=request.actor,
        action=request.action,
        target=request.target,
        since=time_from_proto(request.since) if request.HasField("since") else None,
        until=time_from_proto(request.until) if request.HasField("until") else None,
    )
    if asked.since is not None and asked.until is not None and asked.since >= asked.until:
        raise InvalidError([Problem("until", "must be later than since")])
    return asked


def _facts(asked: AuditFilter) -> dict[str, str]:
    texts = {"actor": asked.actor, "action": asked.action, "target": asked.target}
    times = {"since": asked.since, "until": asked.until}
    given = {name: to_text(time) for name, time in times.items() if time is not None}
    return {name: text for name, text in texts.items() if text} | given


def _read(log: AuditLog, how: str, details: Mapping[str, str]) -> AuditEntry:
    return AuditEntry(action="audit_read", target_kind="audit", target=log.service, details={"by": how, **details})


def _encoded(part: Part) -> audit_pb2.ExportAuditChainResponse:
    match part:
        case AuditRecord():
            return audit_pb2.ExportAuditChainResponse(record=record_to_proto(part))
        case Checkpoint():
            return audit_pb2.ExportAuditChainResponse(checkpoint=checkpoint_to_proto(part))
        case _:
            return audit_pb2.ExportAuditChainResponse(public_key_pem=part)
