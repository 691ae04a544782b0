"""Findings of a server's lint, said in a few lines each beside what else a command prints."""

from collections.abc import Iterable, Iterator

import click

from epm.policy.v1 import lint_pb2
from epmctl.colours import SEVERITIES, may_colour
from epmctl.output import show
from epmctl.parties import named
from epmctl.plain import word_of


def print_findings(findings: Iterable[lint_pb2.Finding], *, err: bool = False) -> None:
    """Print findings, one after the other."""
    colour = may_colour(err=err)
    for finding in findings:
        for line in finding_lines(finding):
            click.echo(line, color=colour, err=err)


def finding_lines(finding: lint_pb2.Finding) -> Iterator[str]:
    """Say in lines what lint finds."""
    severity = word_of(lint_pb2.Severity.DESCRIPTOR, finding.severity) or ""
    where = " ".join(show(part) for part in (finding.kind, finding.name, finding.rule) if part)
    said = f"{severity.lower()} {show(finding.id)}  {where}: {show(finding.message)}"
    yield click.style(said, fg=SEVERITIES.get(severity, "cyan"))
    yield from (f"    {show(text)}" for text in (finding.why, finding.remedy) if text)
    if finding.related:
        yield f"    with: {', '.join(named(other.kind, other.name, other.rule) for other in finding.related)}"
