"""The options that say which attempts a report is about."""

import functools
import re
from collections.abc import Callable
from datetime import datetime
from typing import Final, cast

import click

from epm.elevation.v1 import event_pb2, rules_pb2
from epm.reporting.v1 import reports_pb2
from epmctl.client import RefusedInputError
from epmctl.moments import METAVAR, past
from epmctl.plain import to_timestamp, words_of
from epmctl.reportrequest import OPTION, request_option

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
_EITHER: Final = {"managed": "unmanaged", "administrator": "standard_user"}
_NAMES: Final = {
    "occurred_from": "--since",
    "occurred_before": "--until",
    "user_groups": "--user-group",
    "device_ids": "--device-id",
    "device_groups": "--device-group",
    "elevation_types": "--elevation-type",
    "policies": "--policy",
    "company_names": "--company",
    "file_names": "--file",
    "internal_names": "--internal-name",
    "versions": "--file-version",
    "managed": "--managed or --unmanaged",
    "governed_by_rule": "--by-rule",
    "attempt_ids": OPTION,
    "order_by": "--order-by",
    **{name: f"--{name[:-1]}" for name in ("users", "devices", "results", "rules", "publishers", "sha256s", "sources")},
}
"""The options whose names say otherwise what they are in the contract."""
_HASH: Final = re.compile("[0-9a-fA-F]{64}")
_FIELD: Final = re.compile(r"(?:filter\.)?(\w+)(?:\[\d+\])?")
_OPTIONS: Final = (
    click.option("--since", metavar=METAVAR, help="At or after this time; a span counts back from now."),
    click.option("--until", metavar=METAVAR, help="Before this time; a span counts back from now."),
    click.option("--user", "users", multiple=True, metavar="NAME", help="Of this user; again for more."),
    click.option(
        "--user-group",
        "user_groups",
        multiple=True,
        metavar="NAME",
        help="Of who is in this group today; again for more.",
    ),
    click.option("--administrator", is_flag=True, help="Of users who were administrators alone."),
    click.option("--standard-user", is_flag=True, help="Of users who were none alone."),
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
        metavar="|".join(_RESULTS),
        help="With this result; again for more.",
    ),
    click.option(
        "--elevation-type",
        "elevation_types",
        multiple=True,
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
        metavar="|".join(_SOURCES),
        help="Decided by this; again for more.",
    ),
    click.option("--managed", is_flag=True, help="Those that EPM managed alone."),
    click.option("--unmanaged", is_flag=True, help="Those that EPM did not manage alone."),
    click.option("--by-rule", "governed_by_rule", is_flag=True, help="Those that a rule decided alone."),
)


def filter_options(command: Command) -> Command:
    """Give a command the options of a filter; it is called with `asked`, the filter that they make."""
    return lasting_filter_options(request_option(command))


def lasting_filter_options(command: Command) -> Command:
    """Give a command the options of a filter that stays as it is while attempts come: uses of an approval may be more later."""

    @functools.wraps(command)
    def filtered(**options: object) -> object:
        asked = _asked(options)
        try:
            return command(asked=asked, **options)
        except RefusedInputError as refused:
            raise RefusedInputError([(_option(field), said) for field, said in refused.violations]) from None

    for option in reversed(_OPTIONS):
        filtered = option(filtered)
    return filtered


def _asked(options: dict[str, object]) -> reports_pb2.ElevationFilter:
    """Take the options of a filter out of all options. Raises UsageError with everything that is wrong with them."""
    problems: list[str] = []
    asked = reports_pb2.ElevationFilter()
    since, until = (_moment(name, cast("str | None", options.pop(name)), problems) for name in ("since", "until"))
    if since is not None and until is not None and since >= until:
        problems.append("--since must be earlier than --until")
    for name in _TEXTS:
        getattr(asked, name).extend(cast("tuple[str, ...]", options.pop(name)))
    for name, words in _WORDS.items():
        given = [word.upper() for word in cast("tuple[str, ...]", options.pop(name))]
        getattr(asked, name).extend(words[word] for word in given if word in words)
        problems += [
            f"{_NAMES[name]}: {word!r} is not one of {', '.join(words)}" for word in given if word not in words
        ]
    for name, other in _EITHER.items():
        yes, no = options.pop(name), options.pop(other)
        if yes and no:
            problems.append(f"--{name} and --{other.replace('_', '-')} leave nothing together; give one of them")
        elif yes or no:
            setattr(asked, name, bool(yes))
    if options.pop("governed_by_rule"):
        asked.governed_by_rule = True
    problems += [
        f"--sha256: {text!r} is no SHA-256 of 64 hexadecimal digits" for text in asked.sha256s if not _is_hash(text)
    ]
    if problems:
        raise click.UsageError("\n".join(problems))
    asked.MergeFrom(reports_pb2.ElevationFilter(occurred_from=to_timestamp(since), occurred_before=to_timestamp(until)))
    return asked


def _moment(name: str, text: str | None, problems: list[str]) -> datetime | None:
    try:
        return None if text is None else past(text)
    except click.BadParameter as error:
        problems.append(f"--{name}: {error.message}")
        return None


def _is_hash(text: str) -> bool:
    return not text or _HASH.fullmatch(text) is not None


def _option(field: str) -> str:
    """Give the option by which the server was told what stands in a field; the field where there is none."""
    found = _FIELD.fullmatch(field)
    return _NAMES.get(found[1], field) if found else field
