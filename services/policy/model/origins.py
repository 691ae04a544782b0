"""The settings that count for somebody, and where each value comes from, as administrators see it."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace

from elevation.model import Settings, SettingsPolicy
from elevation.settings import Origin, origins


@dataclass(frozen=True, slots=True)
class EffectiveSettings:
    """Hold merged settings and the origin of each value."""

    settings: Settings | None
    """None: no settings policy applies, and nothing is active."""
    origins: tuple[Origin, ...] = ()


def traced(settings: Settings | None, policies: Iterable[SettingsPolicy], hidden: Collection[str]) -> EffectiveSettings:
    """Return settings with their origins in the policies that apply; those that may not be seen have no names."""
    if settings is None:
        return EffectiveSettings(None)
    return EffectiveSettings(settings, tuple(_shown(origin, hidden) for origin in origins(policies)))


def _shown(origin: Origin, hidden: Collection[str]) -> Origin:
    return replace(origin, policies=tuple(sorted("" if name in hidden else name for name in origin.policies)))
