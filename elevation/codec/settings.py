"""Settings policies, and what is merged from several."""

from collections.abc import Iterable
from datetime import timedelta

from google.protobuf.duration_pb2 import Duration

from elevation.codec.rules import decode_validations, encode_validations
from elevation.codec.strict import CodecError
from elevation.codec.words import decode_word, encode_word
from elevation.model import (
    Assignments,
    Conflict,
    DefaultResponse,
    ReportingScope,
    Settings,
    SettingsPolicy,
    Validation,
)
from epm.elevation.v1 import settings_pb2


def encode_settings(settings: SettingsPolicy | Settings) -> settings_pb2.ElevationSettings:
    """Encode the values of one settings policy, or those merged from several (without their conflicts)."""
    return settings_pb2.ElevationSettings(
        enabled=settings.enabled,
        default_response=settings_pb2.DefaultResponse.ValueType(encode_word(settings.default_response)),
        validations=encode_validations(settings.validations),
        send_reporting_data=settings.send_reporting_data,
        reporting_scope=_encode_scope(settings.reporting_scope),
        stale_after=_encode_duration(settings.stale_after),
    )


def decode_settings_policy(
    message: settings_pb2.ElevationSettings, *, name: str, description: str, assignments: Assignments
) -> SettingsPolicy:
    """Decode the values of one settings policy; raise CodecError for what has no meaning."""
    return SettingsPolicy(
        name=name,
        description=description,
        enabled=message.enabled,
        default_response=decode_word(DefaultResponse, message.default_response, "defaultResponse"),
        validations=decode_validations(message.validations, "validations"),
        send_reporting_data=message.send_reporting_data,
        reporting_scope=_decode_scope(message),
        stale_after=_decode_duration(message),
        assignments=assignments,
    )


def decode_settings(
    message: settings_pb2.ElevationSettings, conflicts: Iterable[settings_pb2.SettingConflict] = ()
) -> Settings:
    """Decode merged settings; a scope counts only where data is sent, and has to be stated there."""
    scope = ReportingScope.NOTHING
    if message.send_reporting_data:
        scope = decode_word(ReportingScope, message.reporting_scope, "reportingScope")
    response = decode_word(DefaultResponse, message.default_response, "defaultResponse")
    asks = response is DefaultResponse.USER_CONFIRMED
    owed = decode_validations(message.validations, "validations")
    return Settings(
        enabled=message.enabled,
        default_response=response,
        validations=owed if asks else frozenset[Validation](),
        reporting_scope=scope,
        stale_after=_decode_duration(message),
        conflicts=tuple(decode_conflict(conflict) for conflict in conflicts),
    )


def encode_conflict(conflict: Conflict) -> settings_pb2.SettingConflict:
    """Encode a setting on which policies disagree."""
    pairs = zip(conflict.policies, conflict.values, strict=True)
    values = [settings_pb2.ConflictingValue(policy=policy, value=value) for policy, value in pairs]
    return settings_pb2.SettingConflict(setting=conflict.setting, values=values)


def decode_conflict(message: settings_pb2.SettingConflict) -> Conflict:
    """Decode a setting on which policies disagree."""
    return Conflict(
        setting=message.setting,
        policies=tuple(value.policy for value in message.values),
        values=tuple(value.value for value in message.values),
    )


def _encode_scope(scope: ReportingScope | None) -> settings_pb2.ReportingScope.ValueType:
    if scope is None or scope is ReportingScope.NOTHING:
        return settings_pb2.REPORTING_SCOPE_UNSPECIFIED
    return settings_pb2.ReportingScope.ValueType(encode_word(scope))


def _decode_scope(message: settings_pb2.ElevationSettings) -> ReportingScope | None:
    if message.reporting_scope == settings_pb2.REPORTING_SCOPE_UNSPECIFIED:
        return None
    return decode_word(ReportingScope, message.reporting_scope, "reportingScope")


def _encode_duration(span: timedelta | None) -> Duration | None:
    if span is None:
        return None
    message = Duration()
    message.FromTimedelta(span)
    return message


def _decode_duration(message: settings_pb2.ElevationSettings) -> timedelta | None:
    if not message.HasField("stale_after"):
        return None
    try:
        return message.stale_after.ToTimedelta()
    except (ValueError, OverflowError):
        raise CodecError("staleAfter", "is not a span of time") from None
