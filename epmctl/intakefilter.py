"""The options that say which devices and times a list of the intake is about."""

import functools
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final

import click

from epm.reporting.v1 import intake_pb2
from epmctl.moments import METAVAR, past
from epmctl.output import Plain, Record
from epmctl.plain import to_timestamp

Command = Callable[..., object]

_OPTIONS: Final = (
    click.option("--since", type=past, metavar=METAVAR, help="Noticed at or after this time; a span counts from now."),
    click.option("--until", type=past, metavar=METAVAR, help="Noticed before this time; a span counts back from now."),
    click.option("--device-id", "device_ids", multiple=True, metavar="ID", help="Of this device; again for more."),
)


def intake_options(command: Command) -> Command:
    """Give a command the options of a filter; it is called with `asked`, the filter that they make."""

    @functools.wraps(command)
    def filtered(
        *, since: datetime | None, until: datetime | None, device_ids: Sequence[str], **others: object
    ) -> object:
        if since is not None and until is not None and since >= until:
            raise click.UsageError("--since must be earlier than --until")
        asked = intake_pb2.IntakeFilter(
            device_ids=device_ids, received_from=to_timestamp(since), received_before=to_timestamp(until)
        )
        return command(asked=asked, **others)

    for option in reversed(_OPTIONS):
        filtered = option(filtered)
    return filtered


def device_or_id(record: Record) -> Plain:
    """Show a device by its name, or by its identifier where it has no name any longer."""
    return record["deviceName"] or record["deviceId"]
