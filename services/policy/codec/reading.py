"""Read the parts of authored objects strictly, and go on after a flaw, so that all of them are said at once.

What cannot be read is noted and stands as something harmless: the word that goes with most, or nothing.
"""

from dataclasses import replace
from datetime import UTC, datetime

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message

from elevation.certificates import CertificateError, parse_pem
from elevation.codec.rules import decode_rule
from elevation.codec.settings import decode_settings_policy
from elevation.codec.strict import unknown_parts
from elevation.model import (
    Assignments,
    Certificate,
    Exclude,
    FilterMode,
    Include,
    Platform,
    Rule,
    RulesPolicy,
    SettingsPolicy,
)
from epm.elevation.v1 import rules_pb2, settings_pb2
from epm.policy.v1 import policies_pb2
from services._chassis.errors import Problem
from services.policy.codec.findings import ignores_from_proto

LONGEST_SPAN = 315_576_000_000
"""Seconds, about 10,000 years either way: what a Duration may hold by its own definition."""
NANOS = 1_000_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
UNREADABLE = Certificate(b"", "", "", b"", b"", _EPOCH, _EPOCH)
PLATFORMS = {
    rules_pb2.PLATFORM_WINDOWS: Platform.WINDOWS,
    rules_pb2.PLATFORM_LINUX: Platform.LINUX,
    rules_pb2.PLATFORM_MACOS: Platform.MACOS,
}


def unknown_to_us(message: Message, place: str = "") -> list[Problem]:
    """Find what this server does not know in a message; `place` is where the request holds it."""
    whole, within = message.DESCRIPTOR.name, f"{place}." if place else ""
    return [
        Problem(
            place if path == whole else f"{within}{path}", f"{fault}, which this server does not know; leave it out"
        )
        for path, fault in unknown_parts(message)
    ]


class Reader:
    """Collect the flaws of one message while it is read."""

    def __init__(self, message: Message) -> None:
        self.flaws = unknown_to_us(message)

    def settings_policy(self, message: policies_pb2.SettingsPolicy) -> SettingsPolicy:
        """Read a settings policy."""
        policy = decode_settings_policy(
            self._settings(message),
            name=message.metadata.name,
            description=message.metadata.description,
            assignments=self.assignments(message.assignments),
        )
        return replace(policy, lint=ignores_from_proto(message.lint_ignores))

    def rules_policy(self, message: policies_pb2.RulesPolicy) -> RulesPolicy:
        """Read a rules policy; without a platform its rules mean nothing and are left out."""
        platform = PLATFORMS.get(message.platform)
        if platform is None:
            self._note_missing("platform", message.platform)
        rules = tuple(self._rule(rule, f"rules[{number}]") for number, rule in enumerate(message.rules))
        return RulesPolicy(
            name=message.metadata.name,
            description=message.metadata.description,
            platform=platform or Platform.WINDOWS,
            rules=rules if platform else (),
            assignments=self.assignments(message.assignments),
            lint=ignores_from_proto(message.lint_ignores),
        )

    def certificate(self, pem: str, path: str) -> Certificate:
        """Read a certificate."""
        try:
            return parse_pem(pem)
        except CertificateError as error:
            self._note(path, str(error))
            return UNREADABLE

    def assignments(self, message: policies_pb2.Assignments) -> Assignments:
        """Read who gets a policy."""
        return Assignments(
            include=tuple(self._include(target, number) for number, target in enumerate(message.include)),
            exclude=tuple(Exclude(target.group) for target in message.exclude),
        )

    def _include(self, message: policies_pb2.IncludedGroup, number: int) -> Include:
        excluding = message.filter_mode == policies_pb2.FILTER_MODE_EXCLUDE
        if excluding and not message.filter:
            self._note(
                f"assignments.include[{number}].filter_mode", "means nothing without a filter; add one or remove it"
            )
        return Include(message.group, message.filter, FilterMode.EXCLUDE if excluding else FilterMode.INCLUDE)

    def _settings(self, message: policies_pb2.SettingsPolicy) -> settings_pb2.ElevationSettings:
        """Return settings that can be decoded."""
        settings = settings_pb2.ElevationSettings()
        settings.CopyFrom(message.settings)
        if not message.HasField("settings"):
            self._note("settings", "is missing; say at least whether EPM is enabled")
            settings.default_response = settings_pb2.DEFAULT_RESPONSE_NOT_CONFIGURED
            return settings
        if not _is_word(settings, "default_response"):
            self._note_missing("settings.default_response", settings.default_response)
            settings.default_response = settings_pb2.DEFAULT_RESPONSE_USER_CONFIRMED
        if not _is_word(settings, "reporting_scope"):
            if settings.send_reporting_data:
                self._note_missing("settings.reporting_scope", settings.reporting_scope)
            settings.reporting_scope = settings_pb2.REPORTING_SCOPE_UNSPECIFIED
        self._keep_words(settings, "settings.validations")
        if settings.HasField("stale_after") and not _is_span(settings.stale_after):
            self._note(
                "settings.stale_after", "is not a span of time; give seconds and nanos of one sign, within range"
            )
            settings.ClearField("stale_after")
        return settings

    def _rule(self, message: rules_pb2.Rule, place: str) -> Rule:
        rule = rules_pb2.Rule()
        rule.CopyFrom(message)
        if not _is_word(rule, "elevation_type"):
            self._note_missing(f"{place}.elevation_type", rule.elevation_type)
            rule.elevation_type = rules_pb2.ELEVATION_TYPE_USER_CONFIRMED
        if not _is_word(rule, "child_processes"):
            rule.child_processes = rules_pb2.CHILD_PROCESSES_UNSPECIFIED
        self._keep_words(rule, f"{place}.validations")
        if message.detection.HasField("certificate"):
            self._condition(rule.detection.certificate, f"{place}.detection.certificate")
        return decode_rule(rule)

    def _condition(self, condition: rules_pb2.CertificateCondition, place: str) -> None:
        if not _is_word(condition, "type"):
            condition.type = rules_pb2.CERTIFICATE_TYPE_UNSPECIFIED
        if condition.WhichOneof("source") == "pem" and self.certificate(condition.pem, f"{place}.pem") is UNREADABLE:
            condition.ClearField("source")

    def _keep_words(self, message: settings_pb2.ElevationSettings | rules_pb2.Rule, place: str) -> None:
        words = list(message.validations)
        for number, word in enumerate(words):
            self._note_missing(f"{place}[{number}]", word)
        del message.validations[:]
        message.validations.extend(word for word in words if word in rules_pb2.Validation.values() and word)

    def _note_missing(self, path: str, word: int) -> None:
        """Note a word that was not set; one that nobody knows is noted already."""
        if word == 0:
            self._note(path, "is missing; set it")

    def _note(self, path: str, message: str) -> None:
        self.flaws.append(Problem(path, message))


def _is_word(message: Message, field: str) -> bool:
    number = getattr(message, field)
    enum = message.DESCRIPTOR.fields_by_name[field].enum_type
    return number != 0 and enum is not None and number in enum.values_by_number


def _is_span(duration: Duration) -> bool:
    seconds, nanos = duration.seconds, duration.nanos
    return abs(seconds) <= LONGEST_SPAN and abs(nanos) < NANOS and seconds * nanos >= 0
