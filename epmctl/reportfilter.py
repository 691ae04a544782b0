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
_TYPES: Final = words_of(rules_pb2.ElevationType.DESCRIPTOR) | {"NONE": rules_pb2.ELEVATION_TYPE_UNSPECIFIED}
_SOURCES: Final = words_of(event_pb2.Source.DESCRIPTOR)
_TEXTS: Final = (
    "users",
    "user_groups",
    "devices",
    "device_ids",
    "device_groups",
    "policies",
    "rules",
    "publishers",
    "company_names",
    "file_names",
    "internal_names",
    "versions",
    "sha256s",
)
_WORDS: Final = {"elevation_types": _TYPES, "results": _RESULTS, "sources": _SOURCES}
_EITHER: Final = ("managed", "administrator", "governed_by_rule")
_OPTIONS: Final = (
    click.option("--since", type=past, metavar=METAVAR, help="At or after this time; a span counts back from now."),
    click.option("--until", type=past, metavar=METAVAR, help="Before this time; a span counts back from now."),
    click.option("--user", "users", multiple=True, metavar="NAME", help="Of this user; again for more."),
    click.option(
        "--user-group",
        "user_groups",
        multiple=True,
        metavar="NAME",
        help="Of who is in this group today; again for more.",
    ),
    click.option(
        "--administrator/--standard-user", default=None, help="Of users who were administrators, or of others alone."
    ),
    click.option("--device", "devices", multiple=True, metavar="NAME", help="On this device; again for more."),
    click.option(
        "--device-id", "device_ids", multiple=True, metavar="ID", help="On the device of this id; again for more."
    ),
    click.option(
        "--device-group",
        "device_groups",
        multiple=True,
        metavar="NAME",
        help="On what is in this group today; again for more.",
    ),
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
        "elevation_types",
        multiple=True,
        type=click.Choice(tuple(_TYPES), case_sensitive=False),
        metavar="|".join(_TYPES),
        help="Of this elevation type, or of none; again for more.",
    ),
    click.option("--policy", "policies", multiple=True, metavar="NAME", help="Decided by this policy; again for more."),
    click.option(
        "--rule", "rules", multiple=True, metavar="NAME", help="Decided by a rule of this name; again for more."
    ),
    click.option("--publisher", "publishers", multiple=True, metavar="NAME", help="Of this publisher; again for more."),
    click.option(
        "--company", "company_names", multiple=True, metavar="NAME", help="Of files of this company; again for more."
    ),
    click.option("--file", "file_names", multiple=True, metavar="NAME", help="Of a file of this name; again for more."),
    click.option(
        "--internal-name",
        "internal_names",
        multiple=True,
        metavar="NAME",
        help="Of files of this internal name; again for more.",
    ),
    click.option(
        "--file-version", "versions", multiple=True, metavar="VERSION", help="Of files of this version; again for more."
    ),
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
    click.option("--by-rule", "governed_by_rule", is_flag=True, help="Those that a rule decided alone."),
)


def filter_options(command: Command) -> Command:
    """Give a command the options of a filter; it is called with `asked`, the filter that they make."""

    @functools.wraps(command)
    def filtered(*, since: datetime | None, until: datetime | None, **options: object) -> object:
        if since is not None and until is not None and since >= until:
            raise click.UsageError("--since must be earlier than --until")
        asked = reports_pb2.ElevationFilter(occurred_from=to_timestamp(since), occurred_before=to_timestamp(until))
        for name in _TEXTS:
            getattr(asked, name).extend(cast("tuple[str, ...]", options.pop(name)))
        for name, words in _WORDS.items():
            getattr(asked, name).extend(words[word] for word in cast("tuple[str, ...]", options.pop(name)))
        for name in _EITHER:
            if (chosen := options.pop(name)) is not None:
                setattr(asked, name, chosen)
        return command(asked=asked, **options)

    for option in reversed(_OPTIONS):
        filtered = option(filtered)
    return filtered
