"""Merge all settings policies that apply to one user on one device.

Policies that disable take no part in the other values, and NOT_CONFIGURED takes no part in the response. Where values
differ, `enabled` becomes true, the response DENY, validations their union, data is sent, the scope is ALL, and the
shortest `staleAfter` counts (any time is shorter than never). A value that carries no meaning takes no part either:
validations without the response USER_CONFIRMED, a scope where no data is sent. Each disagreement is kept as a conflict.
`origins` tells of each setting which policies say what counts.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

from elevation.model import (
    DEFAULT_STALE_AFTER,
    Conflict,
    DefaultResponse,
    ReportingScope,
    Settings,
    SettingsPolicy,
    Validation,
)

T = TypeVar("T")

_DISABLED = Settings(enabled=False, reporting_scope=ReportingScope.NOTHING, stale_after=DEFAULT_STALE_AFTER)
_HOUR, _MINUTE = 3600, 60
_NONE = "none"


def merge(policies: Iterable[SettingsPolicy]) -> Settings | None:
    """Merge the settings policies that apply; None where none does, which means not active."""
    merger = _Merger(sorted(policies, key=lambda policy: policy.name))
    return merger.merge() if merger.all else None


@dataclass(frozen=True, slots=True)
class Origin:
    """Where the value of one setting comes from."""

    setting: str
    value: str
    """What counts, as documents write it; `none` for no validations, and for the scope where no data is sent."""
    policies: tuple[str, ...]
    """Settings policies that say so; of validations those that ask for some. Empty: no policy says so."""
    conflicting: bool
    """Whether policies say different things."""


def origins(policies: Iterable[SettingsPolicy]) -> tuple[Origin, ...]:
    """Tell of each setting where its merged value comes from; nothing where no settings policy applies."""
    merger = _Merger(sorted(policies, key=lambda policy: policy.name))
    if not merger.all:
        return ()
    values = spelled(merger.merge())
    return tuple(_origin(setting, value, merger.said.get(setting, ())) for setting, value in values.items())


def spelled(settings: Settings) -> Mapping[str, str]:
    """Spell the value of each setting as documents write it."""
    scope = settings.reporting_scope
    return {
        "enabled": _boolean(settings.enabled),
        "defaultResponse": _word(settings.default_response),
        "validations": _words(settings.validations),
        "sendReportingData": _boolean(settings.send_reporting_data),
        "reportingScope": _NONE if scope is ReportingScope.NOTHING else _word(scope),
        "staleAfter": duration(settings.stale_after),
    }


def _origin(setting: str, value: str, said: Iterable[tuple[str, str]]) -> Origin:
    pairs = tuple(said)
    # Validations are united: whoever asks for any of them says so.
    united = setting == "validations" and value != _NONE
    saying = tuple(policy for policy, each in pairs if (each != _NONE if united else each == value))
    return Origin(setting, value, saying, conflicting=len({each for _, each in pairs}) > 1)


class _Merger:
    """Merge value by value, and note on the way who says what and where they disagree."""

    def __init__(self, policies: Sequence[SettingsPolicy]) -> None:
        self.all = policies
        self.said: dict[str, tuple[tuple[str, str], ...]] = {}
        """The policies that have a part in each setting, with what each says."""
        self._conflicts: list[Conflict] = []

    def merge(self) -> Settings:
        enabled = self._values("enabled", self.all, lambda policy: policy.enabled, _boolean)
        if True not in enabled:
            return _DISABLED
        active = [policy for policy in self.all if policy.enabled]
        response = self._response(active)
        return Settings(
            enabled=True,
            default_response=response,
            validations=self._validations(active, response),
            reporting_scope=self._reporting_scope(active),
            stale_after=self._stale_after(active),
            conflicts=tuple(self._conflicts),
        )

    def _response(self, active: Sequence[SettingsPolicy]) -> DefaultResponse:
        stated = [policy for policy in active if policy.default_response is not DefaultResponse.NOT_CONFIGURED]
        if not stated:
            return DefaultResponse.NOT_CONFIGURED
        values = self._values("defaultResponse", stated, lambda policy: policy.default_response, _word)
        return values.pop() if len(values) == 1 else DefaultResponse.DENY

    def _validations(self, active: Sequence[SettingsPolicy], response: DefaultResponse) -> frozenset[Validation]:
        if response is not DefaultResponse.USER_CONFIRMED:
            return frozenset()
        asking = [policy for policy in active if policy.default_response is response]
        return frozenset[Validation]().union(
            *self._values("validations", asking, lambda policy: policy.validations, _words)
        )

    def _reporting_scope(self, active: Sequence[SettingsPolicy]) -> ReportingScope:
        sent = self._values("sendReportingData", active, lambda policy: policy.send_reporting_data, _boolean)
        if True not in sent:
            return ReportingScope.NOTHING
        sending = [policy for policy in active if policy.send_reporting_data]
        values = self._values(
            "reportingScope", sending, lambda policy: policy.reporting_scope or ReportingScope.ALL, _word
        )
        return values.pop() if len(values) == 1 else ReportingScope.ALL

    def _stale_after(self, active: Sequence[SettingsPolicy]) -> timedelta | None:
        values = self._values("staleAfter", active, lambda policy: policy.stale_after, duration)
        return min((value for value in values if value is not None), default=None)

    def _values(
        self,
        setting: str,
        policies: Sequence[SettingsPolicy],
        value: Callable[[SettingsPolicy], T],
        spell: Callable[[T], str],
    ) -> set[T]:
        """Collect the different values of a setting, and note a conflict where there are several."""
        values = {value(policy) for policy in policies}
        said = tuple((policy.name, spell(value(policy))) for policy in policies)
        self.said[setting] = said
        if len(values) > 1:
            names, texts = zip(*said, strict=True)
            self._conflicts.append(Conflict(setting, names, texts))
        return values


def duration(span: timedelta | None) -> str:
    """Spell a span of time as the document form does (ISO 8601); None is null, never."""
    if span is None:
        return "null"
    days, seconds = f"{span.days}D" if span.days else "", span.seconds
    hours, minutes = divmod(seconds, _HOUR)[0], seconds % _HOUR // _MINUTE
    rest = seconds % _MINUTE + span.microseconds / 1_000_000
    parts = [f"{hours}H" if hours else "", f"{minutes}M" if minutes else "", f"{rest:g}S" if rest else ""]
    time = "".join(parts)
    return f"P{days}T{time}" if time else f"P{days or '0D'}"


def _boolean(value: bool) -> str:  # noqa: FBT001 - a value to spell, not a switch
    return "true" if value else "false"


def _word(value: DefaultResponse | ReportingScope) -> str:
    return value.name


def _words(values: frozenset[Validation]) -> str:
    return ", ".join(sorted(value.value for value in values)) or _NONE
