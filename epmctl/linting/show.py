"""Show findings: for people object by object, coloured on a terminal, and as JSON for programs."""

from collections.abc import Iterator, Sequence
from itertools import groupby

import click

from epmctl.colours import SEVERITIES as SEVERITY_COLOURS
from epmctl.colours import may_colour
from epmctl.linting.report import SEVERITIES, Found, count, summary
from epmctl.output import Plain, show
from epmctl.parties import UNSEEN, named


def print_findings(findings: Sequence[Found]) -> None:
    """Print findings grouped by object, those with the worst first, and how many there are."""
    colour = may_colour()
    worst: dict[tuple[str, str], int] = {}
    for number, found in enumerate(findings):
        worst.setdefault((found.kind, found.name), number)
    ordered = sorted(findings, key=lambda found: worst[found.kind, found.name])
    for _, of_object in groupby(ordered, key=lambda found: (found.kind, found.name)):
        for line in _object_lines(list(of_object)):
            click.echo(line, color=colour)
        click.echo()
    click.echo(click.style(summary(findings), bold=True), color=colour)


def as_json(findings: Sequence[Found]) -> dict[str, Plain]:
    """Give findings as JSON, with the fields that the contract names them by."""
    counted = count(findings)
    return {
        "findings": [_form(found) for found in findings],
        "counts": {severity: counted[severity] for severity in SEVERITIES},
    }


def _object_lines(findings: Sequence[Found]) -> Iterator[str]:
    first = findings[0]
    file = f"  ({show(first.file)})" if first.file else ""
    yield click.style(f"{show(first.kind)} {show(first.name)}" if first.name else UNSEEN, bold=True) + file
    for found in findings:
        severity = click.style(f"{found.severity:<7}", fg=SEVERITY_COLOURS.get(found.severity))
        line = f", line {found.line}" if found.line else ""
        rule = f"rule {show(found.rule)}, " if found.rule else ""
        yield f"  {severity} {show(found.check):<3}  {rule}{show(found.path) if found.path else 'the object itself'}{line}"
        yield f"      {show(found.message)}"
        yield f"      why: {show(found.why)}"
        yield f"      mend: {show(found.remedy)}"
        if found.related:
            yield f"      with: {', '.join(named(other.kind, other.name, other.rule) for other in found.related)}"
        if found.ignored_because:
            yield f"      accepted: {show(found.ignored_because)}"


def _form(found: Found) -> Plain:
    return {
        "id": found.check,
        "severity": found.severity,
        "kind": found.kind,
        "name": found.name,
        "rule": found.rule,
        "path": found.path,
        "message": found.message,
        "why": found.why,
        "remedy": found.remedy,
        "related": [{"kind": other.kind, "name": other.name, "rule": other.rule} for other in found.related],
        "ignoredBecause": found.ignored_because,
        "file": found.file,
        "line": found.line,
    }
