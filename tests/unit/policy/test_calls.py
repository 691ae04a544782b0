"""Calls that write: made once under an identifier, or only rehearsed, and told what lint finds."""

from collections.abc import Sequence
from datetime import timedelta

import pytest
from structlog.testing import capture_logs

from elevation.lint.findings import Finding, Severity, Subject
from elevation.model import SettingsPolicy
from services._chassis.errors import ConflictError, InvalidError, LimitError
from services.policy.model.edits import Touched
from tests.builders.authoring import desk
from tests.builders.policy import settings_policy
from tests.fakes.clock import NOW
from tests.fakes.policy import FakeLinting

DAY = timedelta(days=1)


async def test_a_call_that_is_repeated_is_answered_as_the_first_was_whatever_came_since() -> None:
    at = desk()
    first = await at.create_once(settings_policy(), "id")
    await at.update(settings_policy(enabled=False), etag=first)
    assert await at.create_once(settings_policy(), "id", now=NOW + DAY - timedelta(seconds=1)) == first
    await at.delete(SettingsPolicy, "workstations")
    assert await at.create_once(settings_policy(), "id") == first
    assert at.store.kept_revision == 3


async def test_another_call_under_the_identifier_is_refused() -> None:
    at = desk()
    await at.create_once(settings_policy(), "id")
    with pytest.raises(ConflictError, match='another call was made under the request_id "id"') as refused:
        await at.create_once(settings_policy("other"), "id", digest=b"2")
    assert (refused.value.reason, refused.value.stale) == ("REQUEST_ID_USED", False)
    assert at.store.kept_revision == 1


async def test_an_identifier_is_its_callers_own() -> None:
    at = desk()
    at.hire("emil")
    await at.create_once(settings_policy(), "id")
    assert await at.create_once(settings_policy("other"), "id", by="emil", digest=b"2") == "2"


async def test_an_identifier_is_forgotten_after_a_day() -> None:
    at = desk()
    await at.create_once(settings_policy(), "id")
    assert await at.create_once(settings_policy("other"), "id", digest=b"2", now=NOW + DAY) == "2"


async def test_without_an_identifier_every_call_is_new() -> None:
    at = desk()
    await at.create_once(settings_policy(), "")
    with pytest.raises(ConflictError, match="is taken"):
        await at.create_once(settings_policy(), "")
    assert not at.store.requests


async def test_a_call_that_was_refused_may_be_made_again_under_its_identifier() -> None:
    at = desk()
    with pytest.raises(InvalidError):
        await at.create_once(settings_policy(description="x" * 1025), "id")
    assert await at.create_once(settings_policy(), "id", digest=b"2") == "1"


@pytest.mark.parametrize("request_id", ["a b", "x" * 65, "ä", "id\n", "a/b", "\x00"])
async def test_an_identifier_that_is_none_is_refused_with_everything_else_that_is_wrong(request_id: str) -> None:
    at = desk()
    with pytest.raises(InvalidError) as refused:
        await at.create_once(settings_policy(description="x" * 1025), request_id)
    fields = [problem.field for problem in refused.value.problems]
    assert fields == ["settings_policy.metadata.description", "request_id"]
    with pytest.raises(InvalidError) as refused:
        await at.create_once(settings_policy(), request_id)
    assert [problem.field for problem in refused.value.problems] == ["request_id"]
    assert at.store.kept_revision == 0


@pytest.mark.parametrize("request_id", ["a", "x" * 64, "A-z_0.9"])
async def test_identifiers_are_short_and_plain(request_id: str) -> None:
    assert await desk().create_once(settings_policy(), request_id) == "1"


async def test_a_rehearsal_writes_nothing_and_takes_no_identifier() -> None:
    at = desk()
    assert await at.create_once(settings_policy(), "id", validate_only=True) == ""
    assert (at.store.kept_revision, at.store.objects, dict(at.store.requests)) == (0, {}, {})
    assert await at.create_once(settings_policy("other"), "id", digest=b"2") == "1"


async def test_a_rehearsal_is_answered_as_the_call_would_be() -> None:
    at = desk()
    first = await at.create_once(settings_policy(), "id")
    assert await at.create_once(settings_policy(), "id", validate_only=True) == first
    with pytest.raises(ConflictError, match="request_id"):
        await at.create_once(settings_policy("other"), "id", digest=b"2", validate_only=True)
    with pytest.raises(ConflictError, match="is taken"):
        await at.create_once(settings_policy(), "other", validate_only=True)
    with pytest.raises(InvalidError):
        await at.create_once(settings_policy(description="x" * 1025), "other", validate_only=True)


def weak(check: str = "L7", ignored: str = "") -> Finding:
    """Return a finding about the policy."""
    subject = Subject("ElevationSettingsPolicy", "workstations")
    return Finding(
        check=check,
        severity=Severity.HIGH,
        subject=subject,
        path="enabled",
        message="is weak",
        why="w",
        remedy="r",
        ignored_because=ignored,
    )


async def test_what_lint_finds_is_kept_with_the_answer_whatever_it_would_find_now() -> None:
    at = desk()
    at.linting.found = [weak(), weak("L8", ignored="known")]
    assert await at.create_once(settings_policy(), "id") == "1 L7"
    at.linting.found = [weak("L9")]
    assert await at.create_once(settings_policy(), "id") == "1 L7"
    assert await at.create_once(settings_policy(), "id", validate_only=True) == "1 L7"
    assert len(at.linting.touched) == 1


async def test_an_answer_in_which_nothing_was_found_is_whole_too() -> None:
    at = desk()
    assert await at.create_once(settings_policy(), "id") == "1"
    at.linting.found = [weak()]
    assert await at.create_once(settings_policy(), "id") == "1"


async def test_lint_that_fails_after_the_commit_does_not_make_the_call_fail() -> None:
    at = desk()
    at.linting.failing, at.linting.found = ValueError("lint fell over"), [weak()]
    with capture_logs() as logs:
        assert await at.create_once(settings_policy(), "id") == "1"
    assert at.store.kept_revision == 1
    assert [(entry["event"], entry["log_level"]) for entry in logs] == [("findings_not_told", "error")]
    at.linting.failing = None
    assert await at.create_once(settings_policy(), "id") == "1 L7", "the call is told when it is repeated"
    assert at.store.kept_revision == 1


async def test_lint_that_fails_makes_a_rehearsal_fail() -> None:
    at = desk()
    at.linting.failing = ValueError("lint fell over")
    with pytest.raises(ValueError, match="lint fell over"):
        await at.create_once(settings_policy(), "", validate_only=True)


async def test_lint_comes_after_the_commit_and_of_a_rehearsal_lays_it_on_top() -> None:
    at = desk()
    revisions: list[int] = []

    class Looking(FakeLinting):
        async def findings(self, touched: Touched) -> Sequence[Finding]:
            revisions.append(at.store.kept_revision)
            return await super().findings(touched)

    at.linting = Looking()
    await at.create_once(settings_policy(), "", validate_only=True)
    await at.create_once(settings_policy(), "")
    rehearsed, done = at.linting.touched
    assert [edit.after.name for edit in rehearsed.rehearsed if edit.after] == ["workstations"]
    assert (done.rehearsed, done.subjects) == ((), rehearsed.subjects)
    assert revisions == [0, 1]


async def test_what_takes_lint_too_long_is_saved_and_rehearsed_untold() -> None:
    at = desk()
    at.linting.failing = LimitError("lint took too long", reason="LINT_TOO_LONG")
    assert await at.create_once(settings_policy(), "", validate_only=True) == ""
    with capture_logs() as logs:
        assert await at.create_once(settings_policy(), "") == "1"
    assert [(entry["event"], entry["reason"]) for entry in logs] == [("findings_not_told", "LINT_TOO_LONG")]
