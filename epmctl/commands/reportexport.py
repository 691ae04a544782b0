"""`epm report export`: any report that is a list, whole, as a file for other programs, in constant memory.

The server writes the file; it is there when it is whole: what breaks off leaves the one that was there before.
"""

from pathlib import Path

import click

from epm.reporting.v1 import reports_pb2
from epmctl.insights import period_option
from epmctl.reportfile import FORMS, KINDS, SUBJECTS, request_of, write_report
from epmctl.reportfilter import filter_options


@click.command()
@click.argument("report", type=click.Choice(tuple(KINDS)))
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path, allow_dash=True))
@filter_options
@click.option("--format", "form", type=click.Choice(tuple(FORMS)), required=True, help="How to write it.")
@click.option("--order-by", metavar="ORDER", default="", help="As the list of the report takes it, perhaps with desc.")
@period_option
@click.option(
    "--by",
    "subject",
    type=click.Choice(tuple(SUBJECTS)),
    default="user",
    show_default=True,
    help="Whom readiness is about.",
)
def export(
    *,
    report: str,
    file: Path,
    asked: reports_pb2.ElevationFilter,
    form: str,
    order_by: str,
    period: str,
    subject: str,
) -> None:
    """Write all of REPORT to FILE (-: standard output), as CSV, JSON lines or Parquet; attempts come oldest first."""
    write_report(request_of(report, form, asked, order_by=order_by, period=period, subject=subject), file, report)
