"""The order of a report that is a list."""

from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

import click

from epmctl.reportlists import ListReport

F = TypeVar("F", bound=Callable[..., object])


def order_option(shown: ListReport) -> Callable[[F], F]:
    """Give a command the option `--order-by` for the orders of a report."""
    *others, last = shown.orders
    told = f"{', '.join(others)} or {last}" if others else last
    return click.option("--order-by", metavar="ORDER", default="", help=f"{told}, perhaps with desc.")


def in_order(shown: ListReport, order_by: str) -> ListReport:
    """Give the report in an order; empty: as it stands where nobody says."""
    return shown if shown.ordered is None or not order_by else replace(shown, page=shown.ordered(order_by))
