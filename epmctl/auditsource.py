"""Where audit logs come from: a server, or a file that `epm audit export` wrote."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, TypeAlias, cast

import click
import grpc

from auditchain.checkpoint import Checkpoint, Keys, read_keys
from auditchain.codec import checkpoint_from_proto, record_from_proto
from auditchain.lines import Line, Part, read_line
from auditchain.record import AuditRecord
from epm.access.v1 import audit_pb2, audit_pb2_grpc
from epmctl.client import Client
from epmctl.documents.files import reason
from epmctl.errors import BadInputError, Flaw
from epmctl.plain import words_of
from epmctl.reason import Metadata

SERVICES: Final = {word.lower(): number for word, number in words_of(audit_pb2.AuditedService.DESCRIPTOR).items()}
"""The services that keep a log, with their numbers in the contract."""

EXPORT_DEADLINE: Final = 3600.0
"""Seconds that an export may take, which carries a whole log."""

LARGEST_PAGE: Final = 1000
LARGEST_KEYS: Final = 1024 * 1024
_ROUTE: Final = "epm-service"
"""The metadata by which a gateway finds the service whose log is asked for."""

_List: TypeAlias = "grpc.UnaryUnaryMultiCallable[audit_pb2.ListAuditRecordsRequest, audit_pb2.ListAuditRecordsResponse]"
_Export: TypeAlias = "grpc.UnaryUnaryMultiCallable[audit_pb2.ExportAuditChainRequest, None]"


def list_records(
    client: Client, service: str, asked: audit_pb2.ListAuditRecordsRequest, limit: int | None
) -> Iterator[AuditRecord]:
    """Give up to `limit` records of a service (None: all), newest first."""
    stub = audit_pb2_grpc.AuditServiceStub(client.channel)

    def fetch(size: int, token: str) -> tuple[list[AuditRecord], str]:
        request = audit_pb2.ListAuditRecordsRequest()
        request.CopyFrom(asked)
        request.service = _number(service)
        request.page_size, request.page_token = min(size, LARGEST_PAGE), token
        answer = client.call(cast("_List", _routed(stub.ListAuditRecords, service)), request)
        return [record_from_proto(record) for record in answer.records], answer.next_page_token

    return client.pages(fetch, limit=limit)


def export_log(client: Client, service: str, take: Callable[[Part], None]) -> None:
    """Hand every part of a service's log to `take`, in the order in which it comes."""
    stub = audit_pb2_grpc.AuditServiceStub(client.channel)
    export = _routed(stub.ExportAuditChain, service)

    def take_all(request: audit_pb2.ExportAuditChainRequest, timeout: float, metadata: Metadata) -> None:
        messages = export(request, timeout=timeout, metadata=metadata)
        for message in cast("Iterator[audit_pb2.ExportAuditChainResponse]", messages):
            take(_part_of(message))

    request = audit_pb2.ExportAuditChainRequest(service=_number(service))
    client.call(cast("_Export", take_all), request, deadline=EXPORT_DEADLINE)


def read_export(path: Path) -> Iterator[Line]:
    """Give the lines of an exported file; raise BadInputError for one that is none."""
    for number, text in _lines(path):
        try:
            yield read_line(text)
        except ValueError as error:
            raise BadInputError(str(Flaw(str(path), number, "", f"is no line of an export: {error}"))) from None


def read_checkpoints(path: Path) -> Iterator[Line]:
    """Give the checkpoints of a file; what a crash left unfinished is passed over, and said."""
    for number, text in _lines(path):
        try:
            line = read_line(text)
        except ValueError:
            click.echo(str(Flaw(str(path), number, "", "is no checkpoint; passed over")), err=True)
            continue
        if isinstance(line.part, Checkpoint):
            yield line


def read_key_file(path: Path) -> Keys:
    """Read the public keys of a file; raise BadInputError where there are none."""
    try:
        with path.open("rb") as file:
            return read_keys(file.read(LARGEST_KEYS))
    except OSError as error:
        raise BadInputError(f"{path}: cannot be read: {reason(error)}") from None
    except ValueError:
        raise BadInputError(f"{path}: holds no Ed25519 public keys in PEM; give keys/audit-NAME.pub") from None


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    try:
        with path.open(encoding="utf-8", newline="\n") as file:
            yield from enumerate(file, 1)
    except OSError as error:
        raise BadInputError(f"{path}: cannot be read: {reason(error)}") from None
    except UnicodeDecodeError:
        raise BadInputError(f"{path}: is not UTF-8 text") from None


def _part_of(message: audit_pb2.ExportAuditChainResponse) -> Part:
    match message.WhichOneof("part"):
        case "record":
            return record_from_proto(message.record)
        case "checkpoint":
            return checkpoint_from_proto(message.checkpoint)
        case _:
            return message.public_key_pem


def _number(service: str) -> "audit_pb2.AuditedService.ValueType":
    return audit_pb2.AuditedService.ValueType(SERVICES[service])


def _routed(method: Callable[..., object], service: str) -> Callable[..., object]:
    def call(request: object, timeout: float, metadata: Metadata) -> object:
        return method(request, timeout=timeout, metadata=(*metadata, (_ROUTE, service)))

    return call
