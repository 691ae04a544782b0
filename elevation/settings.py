"""Merge all settings policies that apply to one user on one device.

Policies that disable take no part in the other values, and NOT_CONFIGURED takes no part in the response. Where values
differ, `enabled` becomes true, the response DENY, validations their union, data is sent, the scope is ALL, and the
shortest `staleAfter` counts (any time is shorter than never). A value that carries no meaning takes no part either:
validations without the response USER_CONFIRMED, a scope where no data is sent. Each disagreement is kept as a conflict.
"""

from collections.abc import Callable, Iterable, Sequence
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


def merge(policies: Iterable[SettingsPolicy]) -> Settings | None:
    """Merge the settings policies that apply; None where none does, which means not active."""
    merger = _Merger(sorted(policies, key=lambda policy: policy.name))
    return merger.merge() if merger.all else None


class _Merger:
    """Merge value by value and note the conflicts on the way."""

    def __init__(self, policies: Sequence[SettingsPolicy]) -> None:
        self.all = policies
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
        if len(values) > 1:
            spelled = tuple(spell(value(policy)) for policy in policies)
            self._conflicts.append(Conflict(setting, tuple(policy.name for policy in policies), spelled))
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
    return ", ".join(sorted(value.value for value in values)) or "none"
