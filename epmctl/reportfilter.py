"""The options that say which attempts a report is about."""

import functools
from collections.abc import Callable
from datetime import datetime
from typing import Final, cast

import click

from epm.elevation.v1 import event_pb2, rules_pb2
from epm.reporting.v1 import reports_pb2
from epmctl.moments import METAVAR, past
from epmctl.plain import to_timestamp, words_of

Command = Callable[..., object]

_RESULTS: Final = words_of(event_pb2.AttemptResult.DESCRIPTOR)
_TYPES: Final = words_of(rules_pb2.ElevationType.DESCRIPTOR)
_SOURCES: Final = words_of(event_pb2.Source.DESCRIPTOR)
_TEXTS: Final = ("users", "devices", "policies", "rules", "publishers", "file_names", "sha256s")
_OPTIONS: Final = (
    click.option("--since", type=past, metavar=METAVAR, help="At or after this time; a span counts back from now."),
    click.option("--until", type=past, metavar=METAVAR, help="Before this time; a span counts back from now."),
    click.option("--user", "users", multiple=True, metavar="NAME", help="Of this user; again for more."),
    click.option("--device", "devices", multiple=True, metavar="NAME", help="On this device; again for more."),
    click.option(
        "--result",
        "results",
        multiple=True,
        type=click.Choice(tuple(_RESULTS), case_sensitive=False),
        metavar="|".join(_RESULTS),
        help="With this result; again for more.",
    ),
    click.option(
        "--elevation-type",
        "types",
        multiple=True,
        type=click.Choice(tuple(_TYPES), case_sensitive=False),
        metavar="|".join(_TYPES),
        help="Of this elevation type; again for more.",
    ),
    click.option("--policy", "policies", multiple=True, metavar="NAME", help="Decided by this policy; again for more."),
    click.option(
        "--rule", "rules", multiple=True, metavar="NAME", help="Decided by a rule of this name; again for more."
    ),
    click.option("--publisher", "publishers", multiple=True, metavar="NAME", help="Of this publisher; again for more."),
    click.option("--file", "file_names", multiple=True, metavar="NAME", help="Of a file of this name; again for more."),
    click.option("--sha256", "sha256s", multiple=True, metavar="HASH", help="Of this very file; again for more."),
    click.option(
        "--source",
        "sources",
        multiple=True,
        type=click.Choice(tuple(_SOURCES), case_sensitive=False),
        metavar="|".join(_SOURCES),
        help="Decided by this; again for more.",
    ),
    click.option("--managed/--unmanaged", default=None, help="Those that EPM managed, or the others alone."),
    click.option("--by-rule", is_flag=True, help="Those that a rule decided alone."),
)


def filter_options(command: Command) -> Command:
    """Give a command the options of a filter; it is called with `asked`, the filter that they make."""

    @functools.wraps(command)
    def filtered(
        *,
        since: datetime | None,
        until: datetime | None,
        results: tuple[str, ...],
        types: tuple[str, ...],
        sources: tuple[str, ...],
        managed: bool | None,
        by_rule: bool,
        **others: object,
    ) -> object:
        if since is not None and until is not None and since >= until:
            raise click.UsageError("--since must be earlier than --until")
        asked = reports_pb2.ElevationFilter(
            occurred_from=to_timestamp(since),
            occurred_before=to_timestamp(until),
            elevation_types=[rules_pb2.ElevationType.ValueType(_TYPES[word]) for word in types],
            results=[event_pb2.AttemptResult.ValueType(_RESULTS[word]) for word in results],
            sources=[event_pb2.Source.ValueType(_SOURCES[word]) for word in sources],
            managed=managed,
            governed_by_rule=by_rule,
        )
        for name in _TEXTS:
            getattr(asked, name).extend(cast("tuple[str, ...]", others.pop(name)))
        return command(asked=asked, **others)

    for option in reversed(_OPTIONS):
        filtered = option(filtered)
    return filtered
