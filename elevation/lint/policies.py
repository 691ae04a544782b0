"""What lint finds in a settings policy by itself."""

from collections.abc import Iterator

from elevation.lint.catalogue import found
from elevation.lint.findings import Finding, Severity
from elevation.lint.subjects import settings_subject
from elevation.model import DefaultResponse, SettingsPolicy


def lint_settings_policy(policy: SettingsPolicy) -> Iterator[Finding]:
    """Look at a settings policy; one that switches elevation off says nothing else that counts."""
    if not policy.enabled:
        return
    subject = settings_subject(policy)
    if policy.default_response is DefaultResponse.USER_CONFIRMED and not policy.validations:
        message = "defaultResponse USER_CONFIRMED asks for no validation, so any file is elevated after one click"
        yield found("L18", Severity.HIGH, subject, path="defaultResponse", message=message)
    if policy.stale_after is None:
        message = "staleAfter is null, so a device that hears nothing from the server never stops elevating"
        yield found("D22", Severity.WARNING, subject, path="staleAfter", message=message)
