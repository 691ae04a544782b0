"""What commands need to ask for conclusions: the service, and the option that says how long periods are."""

from collections.abc import Callable
from typing import Final, TypeVar, cast

import click

from epm.reporting.v1 import insights_pb2, insights_pb2_grpc
from epmctl.client import Client
from epmctl.output import Record

F = TypeVar("F", bound=Callable[..., object])

PERIODS: Final = {"day": insights_pb2.PERIOD_DAY, "month": insights_pb2.PERIOD_MONTH}


def insights_of(client: Client) -> insights_pb2_grpc.InsightsServiceStub:
    """Call the service that draws conclusions."""
    return insights_pb2_grpc.InsightsServiceStub(client.channel)


def period_option(command: F) -> F:
    """Give a command the option `--period day|month`."""
    option = click.option(
        "--period", type=click.Choice(tuple(PERIODS)), default="day", show_default=True, help="How long a period is."
    )
    return option(command)


def period_of(record: Record, period: str) -> str:
    """Say which period a record is about: a date, or a month."""
    return cast("str", record["start"])[: len("2026-11-23") if period == "day" else len("2026-11")]
