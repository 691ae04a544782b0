"""`epm audit`: list, export and verify the audit logs of the services.

Whether a log is whole is found out here, not by the server: its records are hashed again, one after the other, and held
against the signed checkpoints.
"""

import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from itertools import chain
from pathlib import Path
from typing import Final, cast

import click

from auditchain.checkpoint import Checkpoint, Keys, read_keys
from auditchain.lines import Part, record_fields, write_line
from auditchain.record import AuditRecord
from auditchain.times import to_text
from auditchain.verification import ChainVerifier, Finding, Verdict
from epm.access.v1 import audit_pb2
from epmctl.auditsource import SERVICES, export_log, list_records, read_checkpoints, read_export, read_key_file
from epmctl.client import logged_in
from epmctl.errors import BadInputError, CommandError
from epmctl.grouping import CommandGroup
from epmctl.limits import limit_option, say_if_more, to_ask, within
from epmctl.moments import METAVAR, past
from epmctl.output import Plain, output_option, print_json, print_table, whole_seconds
from epmctl.plain import to_timestamp

_FILE: Final = click.Path(path_type=Path, dir_okay=False)
_services_option = click.option(
    "--service",
    "services",
    multiple=True,
    type=click.Choice(tuple(SERVICES)),
    help="The log of this service; again for more. All of them if not given.",
)


@click.group(cls=CommandGroup)
def audit() -> None:
    """List, export and verify the audit logs."""


@audit.command(name="list")
@_services_option
@click.option("--actor", default="", metavar="WHO", help="Only by this one, for example user:carol@example.com.")
@click.option("--action", default="", metavar="WHAT", help="Only this, for example call_denied.")
@click.option("--target", default="", metavar="NAME", help="Only about this.")
@click.option("--since", type=past, metavar=METAVAR, help="At or after this time; a span counts back from now.")
@click.option("--until", type=past, metavar=METAVAR, help="Before this time; a span counts back from now.")
@limit_option
@output_option
def list_(  # noqa: PLR0913 - one parameter an option
    *,
    services: tuple[str, ...],
    actor: str,
    action: str,
    target: str,
    since: datetime | None,
    until: datetime | None,
    limit: int,
    output: str,
) -> None:
    """List what was done and refused, newest first."""
    if since is not None and until is not None and since >= until:
        raise click.UsageError("--since must be earlier than --until")
    asked = audit_pb2.ListAuditRecordsRequest(
        actor=actor, action=action, target=target, since=to_timestamp(since), until=to_timestamp(until)
    )
    found: list[tuple[str, AuditRecord]] = []
    with logged_in() as client:
        for service in services or SERVICES:
            found += [(service, each) for each in list_records(client, service, asked, to_ask(limit))]
    found.sort(key=lambda each: (each[1].recorded, each[1].sequence), reverse=True)
    rows = within(found, limit)
    if output == "json":
        print_json([cast("Plain", {"service": service, **record_fields(record)}) for service, record in rows])
    else:
        print_table(_HEADINGS, [_row(service, record) for service, record in rows])
    say_if_more(found, limit)


@audit.command()
@_services_option
def export(services: tuple[str, ...]) -> None:
    """Write whole logs as lines of JSON: public keys, records, checkpoints.

    epm audit verify --file reads them again. What breaks off in the middle lacks its checkpoints.
    """
    with logged_in() as client:
        for service in services or SERVICES:
            export_log(client, service, lambda part, service=service: _print_line(service, part))  # type: ignore[misc]  # a default binds the name


@audit.command()
@_services_option
@click.option("--file", "file", type=_FILE, help="Verify what epm audit export wrote, without a server.")
@click.option(
    "--checkpoints",
    "kept",
    type=_FILE,
    multiple=True,
    help="Hold the logs against this checkpoint file too; again for more.",
)
@click.option(
    "--key", "keys", type=_FILE, multiple=True, help="Trust the public keys in this file alone; again for more."
)
@output_option
def verify(
    *, services: tuple[str, ...], file: Path | None, kept: tuple[Path, ...], keys: tuple[Path, ...], output: str
) -> None:
    """Tell whether the logs are whole; if not, where and what.

    Exit codes: 0 whole, 1 broken or not reachable, 2 bad input.
    """
    trusted: Keys | None = {key: value for path in keys for key, value in read_key_file(path).items()} or None
    logs = _logs_of_file(file, services) if file else _logs_of_server(services)
    for line in chain.from_iterable(map(read_checkpoints, kept)):
        if line.service in logs:
            logs[line.service].take(line.part)
    verdicts = [log.verdict(trusted) for log in logs.values()]
    if output == "json":
        print_json({"whole": all(each.whole for each in verdicts), "services": [_form(each) for each in verdicts]})
    else:
        print_table(_VERDICT_HEADINGS, [_verdict_row(each) for each in verdicts])
    if trusted is None:
        source = file or "the server"
        click.echo(f"the keys are those that {source} gave; --key holds the logs to keys that you kept", err=True)
    if lines := [_sentence(verdict, finding) for verdict in verdicts for finding in verdict.findings]:
        raise CommandError(*lines)


@dataclass(slots=True)
class _Log:
    """Collect the log of one service."""

    service: str
    verifier: ChainVerifier
    checkpoints: list[Checkpoint] = field(default_factory=list)
    keys: str = ""

    def take(self, part: Part) -> None:
        """Take the next part."""
        match part:
            case AuditRecord():
                self.verifier.add(part)
            case Checkpoint():
                self.checkpoints.append(part)
            case _:
                self.keys += part

    def verdict(self, trusted: Keys | None) -> Verdict:
        """Judge, by the keys that are trusted, or else by those that came with the log."""
        if trusted is None:
            try:
                trusted = read_keys(self.keys.encode())
            except ValueError:
                raise CommandError(f"{self.service}: no public keys came with the log; give them by --key") from None
        return self.verifier.verdict(self.checkpoints, trusted)


def _logs_of_server(services: Iterable[str]) -> Mapping[str, _Log]:
    logs = {service: _Log(service, ChainVerifier(service)) for service in services or SERVICES}
    with logged_in() as client:
        for service, log in logs.items():
            export_log(client, service, log.take)
    return logs


def _logs_of_file(path: Path, services: tuple[str, ...]) -> Mapping[str, _Log]:
    logs = {service: _Log(service, ChainVerifier(service)) for service in services}
    for line in read_export(path):
        if not services and line.service not in logs:
            logs[line.service] = _Log(line.service, ChainVerifier(line.service))
        if line.service in logs:
            logs[line.service].take(line.part)
    if not logs:
        raise BadInputError(f"{path}: holds no log")
    return logs


def _print_line(service: str, part: Part) -> None:
    sys.stdout.write(f"{write_line(service, part)}\n")


_HEADINGS: Final = ("RECORDED", "SERVICE", "RECORD", "ACTOR", "ACTION", "TARGET", "SOURCE", "REASON")
_VERDICT_HEADINGS: Final = ("SERVICE", "RECORDS", "FIRST", "LAST", "SIGNED THROUGH", "VERDICT")


def _row(service: str, record: AuditRecord) -> tuple[Plain, ...]:
    time = whole_seconds(to_text(record.recorded))
    target = f"{record.target_kind} {record.target}".strip()
    return (time, service, record.sequence, record.actor, record.action, target, record.source, _reason(record))


def _reason(record: AuditRecord) -> str:
    """Give the reason that the caller gave, or why it was refused and how often."""
    said, count = record.reason or record.details.get("reason", ""), record.details.get("count", "1")
    return said if count == "1" else f"{said} ({count} times)"


def _verdict_row(verdict: Verdict) -> tuple[Plain, ...]:
    said = "whole" if verdict.whole else "BROKEN"
    return (verdict.service, verdict.records, verdict.first, verdict.last, verdict.covered_through, said)


def _form(verdict: Verdict) -> Plain:
    return {
        "service": verdict.service,
        "whole": verdict.whole,
        "records": verdict.records,
        "first": verdict.first,
        "last": verdict.last,
        "signedThrough": verdict.covered_through,
        "findings": list(_findings(verdict)),
    }


def _findings(verdict: Verdict) -> Iterator[Plain]:
    for finding in verdict.findings:
        fault = finding.fault.value.upper()
        yield {"fault": fault, "first": finding.first, "last": finding.last, "message": finding.message}


def _sentence(verdict: Verdict, finding: Finding) -> str:
    one = finding.first == finding.last
    place = f"record {finding.first}" if one else f"records {finding.first} to {finding.last}"
    return f"{verdict.service}: {place} {finding.fault.value}: {finding.message}"
