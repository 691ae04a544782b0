import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import pytest

from agent_stub.inspection.opened import OpenedFile
from agent_stub.launcher import Recorded
from agent_stub.model import Moment, Origin, Question, Result, Subject
from elevation.model import (
    DefaultResponse,
    ElevationType,
    Outcome,
    Parent,
    Platform,
    ReportingScope,
    RulesPolicy,
    Settings,
    Source,
    Trigger,
    Validation,
)
from epm.elevation.v1 import event_pb2
from tests.builders.desk import ALICE, HASH, JUSTIFIED, Desk, rules
from tests.fakes.agent import (
    NOW,
    OWN_RIGHTS,
    FakeLauncher,
    FakePrompter,
    document,
)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


async def test_an_automatic_rule_elevates_without_a_word(desk: Desk) -> None:
    desk.holds(document(rules(ElevationType.AUTOMATIC)))
    prompter = FakePrompter()
    answer = await desk.ask("-x", prompter=prompter)
    assert answer.result is Result.ELEVATED
    assert desk.launcher.launched == [(str(desk.file), ("-x",), "alice")]
    assert prompter.questions == []


async def test_the_event_tells_the_attempt_the_decision_and_the_revisions(desk: Desk) -> None:
    desk.holds(document(rules(ElevationType.AUTOMATIC)))
    answer = await desk.ask("-x")
    (event,) = desk.events()
    assert (event.user, event.file.path, event.file.sha256, list(event.arguments)) == (
        "alice",
        str(desk.file),
        HASH,
        ["-x"],
    )
    assert (event.policy, event.rule, event.policy_revision, event.document_revision) == ("p", "r", 7, 1)
    assert (event.outcome, event.result) == (event_pb2.OUTCOME_ELEVATE, event_pb2.ATTEMPT_RESULT_ELEVATED)
    assert event.reason == answer.decision.reason


async def test_a_confirmed_rule_elevates_whoever_confirms(desk: Desk) -> None:
    desk.holds(document(rules(ElevationType.USER_CONFIRMED)))
    prompter = FakePrompter(confirms=True)
    answer = await desk.ask(prompter=prompter)
    assert answer.result is Result.ELEVATED
    assert [(asked.file, asked.validations) for asked in prompter.questions] == [(str(desk.file), frozenset())]
    assert prompter.problems == []


@pytest.mark.parametrize("confirms", [False, None], ids=["declines", "does not answer"])
async def test_whoever_does_not_confirm_is_not_elevated(desk: Desk, *, confirms: bool | None) -> None:
    desk.holds(document(rules(ElevationType.USER_CONFIRMED)))
    answer = await desk.ask(prompter=FakePrompter(confirms=confirms))
    assert (answer.result, desk.launcher.launched) == (Result.CANCELLED, [])
    assert desk.events()[0].result == event_pb2.ATTEMPT_RESULT_CANCELLED


async def test_a_justification_is_asked_until_it_fits_and_reported(desk: Desk) -> None:
    desk.holds(document(rules(ElevationType.USER_CONFIRMED, JUSTIFIED)))
    prompter = FakePrompter(reasons=["  ", "x" * 257, "y" * 256])
    assert (await desk.ask(prompter=prompter)).result is Result.ELEVATED
    assert prompter.problems == ["", *["give a reason of 1 to 256 characters"] * 2]
    assert desk.events()[0].justification == "y" * 256


async def test_whoever_gives_no_justification_is_not_elevated(desk: Desk) -> None:
    desk.holds(document(rules(ElevationType.USER_CONFIRMED, JUSTIFIED)))
    answer = await desk.ask(prompter=FakePrompter(reasons=[]))
    assert (answer.result, desk.launcher.launched) == (Result.CANCELLED, [])


@pytest.mark.parametrize(
    "owing",
    [
        rules(ElevationType.USER_CONFIRMED, frozenset({Validation.AUTHENTICATION})),
        rules(ElevationType.CURRENT_USER),
    ],
    ids=["validation", "current user"],
)
async def test_owing_authentication_is_refused_unasked_because_nothing_here_authenticates(
    desk: Desk, owing: RulesPolicy
) -> None:
    desk.holds(document(owing))
    prompter = FakePrompter()
    answer = await desk.ask(prompter=prompter)
    assert (answer.result, prompter.questions, desk.launcher.launched) == (Result.REFUSED, [], [])
    assert "no way to authenticate" in answer.message
    (event,) = desk.events()
    assert (event.outcome, event.result) == (event_pb2.OUTCOME_PROMPT, event_pb2.ATTEMPT_RESULT_REFUSED)


async def test_a_deny_rule_denies(desk: Desk) -> None:
    desk.holds(document(rules(ElevationType.DENY)))
    answer = await desk.ask()
    assert (answer.result, desk.launcher.launched) == (Result.DENIED, [])
    assert desk.events()[0].result == event_pb2.ATTEMPT_RESULT_DENIED


async def test_a_support_approved_rule_needs_an_approval(desk: Desk) -> None:
    desk.holds(document(rules(ElevationType.SUPPORT_APPROVED)))
    assert (await desk.ask()).result is Result.APPROVAL_REQUIRED
    assert desk.events()[0].result == event_pb2.ATTEMPT_RESULT_APPROVAL_REQUIRED


async def test_without_a_rule_the_default_response_decides(desk: Desk) -> None:
    desk.holds(document(settings=Settings(default_response=DefaultResponse.USER_CONFIRMED)))
    answer = await desk.ask()
    assert (answer.result, answer.decision.source) == (Result.ELEVATED, Source.DEFAULT_RESPONSE)


async def test_an_administrator_is_left_to_the_system_and_reported_as_unmanaged(desk: Desk) -> None:
    desk.holds(document(rules(ElevationType.AUTOMATIC)))
    answer = await desk.ask(subject=Subject("root", administrator=True))
    assert (answer.result, answer.decision.source) == (Result.NOT_MANAGED, Source.ADMINISTRATOR)
    assert [event.managed for event in desk.events()] == [False]


async def test_without_a_policy_nothing_is_elevated_and_nothing_is_reported(desk: Desk) -> None:
    answer = await desk.ask()
    assert (answer.result, answer.decision.source) == (Result.NOT_MANAGED, Source.NOT_ACTIVE)
    assert desk.events() == []


@pytest.mark.parametrize("days", [1, 365, -365], ids=["a day", "a year", "a year back"])
async def test_a_policy_that_nobody_confirmed_for_long_elevates_nothing(desk: Desk, days: int) -> None:
    desk.holds(document(rules(ElevationType.AUTOMATIC), settings=Settings(stale_after=timedelta(days=1))))
    desk.clock.wall = NOW + timedelta(days=days)
    answer = await desk.ask()
    assert (answer.result, answer.decision.source) == (Result.NOT_MANAGED, Source.STALE)
    assert desk.launcher.launched == []


@pytest.mark.parametrize(
    ("trigger", "result", "source"),
    [
        (Trigger.REQUEST, Result.DENIED, Source.ERROR),
        (Trigger.CHILD, Result.DENIED, Source.ERROR),
        (Trigger.LAUNCH, Result.NOT_MANAGED, Source.NO_RULE),
    ],
)
async def test_a_file_that_cannot_be_evaluated_is_not_elevated(
    desk: Desk, trigger: Trigger, result: Result, source: Source
) -> None:
    desk.holds(document(rules(ElevationType.AUTOMATIC)))
    parent = Parent("p", "r") if trigger is Trigger.CHILD else None
    answer = await desk.ask(path=str(desk.folder / "vanished"), trigger=trigger, parent=parent)
    assert (answer.result, answer.decision.source, desk.launcher.launched) == (result, source, [])


async def test_the_reason_says_what_keeps_a_file_from_being_evaluated(desk: Desk) -> None:
    desk.holds(document(rules(ElevationType.AUTOMATIC)))
    desk.inspector.fault = "its inspection took too long"
    answer = await desk.ask()
    assert (answer.result, answer.decision.outcome) == (Result.DENIED, Outcome.DENY)
    assert "its inspection took too long" in answer.message
    assert "its inspection took too long" in desk.events()[0].reason


async def test_a_file_on_a_network_mount_is_denied(desk: Desk) -> None:
    desk.holds(document(rules(ElevationType.AUTOMATIC)))
    desk.inspector.facts["local"] = False
    answer = await desk.ask()
    assert (answer.result, answer.decision.source) == (Result.DENIED, Source.ERROR)


class WatchingLauncher(FakeLauncher):
    """Notes how many events were on disk when it was called."""

    def __init__(self, journal: Path) -> None:
        super().__init__()
        self.journal = journal
        self.seen: list[int] = []

    async def launch(self, file: OpenedFile, arguments: Sequence[str], subject: Subject) -> Recorded:
        self.seen.append(self.journal.read_bytes().count(HASH.encode()))
        return await super().launch(file, arguments, subject)


async def test_the_event_is_on_disk_before_anything_is_started(desk: Desk) -> None:
    desk.holds(document(rules(ElevationType.AUTOMATIC)))
    launcher = WatchingLauncher(desk.folder / "security.journal")
    answer = await replace(desk.broker, launcher=launcher).elevate(
        str(desk.file), (), Origin(ALICE, Platform.LINUX, OWN_RIGHTS), FakePrompter()
    )
    assert (answer.result, launcher.seen) == (Result.ELEVATED, [1])


@pytest.mark.parametrize("elevation_type", [ElevationType.AUTOMATIC, ElevationType.USER_CONFIRMED])
async def test_what_cannot_be_reported_is_not_elevated(desk: Desk, elevation_type: ElevationType) -> None:
    desk.holds(document(rules(elevation_type)))
    desk.disk.full = True
    answer = await desk.ask()
    assert (answer.result, desk.launcher.launched) == (Result.REFUSED, [])
    assert "the spool cannot be written (no space left on device)" in answer.message


async def test_a_denial_stands_although_it_cannot_be_reported_and_the_loss_is_reported_later(desk: Desk) -> None:
    desk.holds(document(rules(ElevationType.DENY)))
    desk.disk.full = True
    assert (await desk.ask()).result is Result.DENIED
    desk.disk.full = False
    assert (await desk.ask()).result is Result.DENIED
    assert [(found.code, found.count) for found in desk.diagnostics()] == [("EVENTS_LOST", 1)]


@pytest.mark.parametrize("scope", [ReportingScope.NOTHING, ReportingScope.DIAGNOSTIC])
async def test_what_must_not_be_reported_is_not_spooled_and_elevated_even_on_a_full_disk(
    desk: Desk, scope: ReportingScope
) -> None:
    desk.holds(document(rules(ElevationType.AUTOMATIC), settings=Settings(reporting_scope=scope)))
    desk.disk.full = True
    assert (await desk.ask()).result is Result.ELEVATED
    assert desk.events() == []


@dataclass(frozen=True)
class Ended:
    """A launch that is over."""

    message: str = "it ran"
    exit_code: int | None = 0


class EndingLauncher(FakeLauncher):
    """Launches end at once."""

    async def launch(self, file: OpenedFile, arguments: Sequence[str], subject: Subject) -> Ended:  # type: ignore[override]
        await super().launch(file, arguments, subject)
        return Ended()


@pytest.mark.parametrize("scope", list(ReportingScope))
async def test_how_an_attempt_ended_is_reported_where_attempts_are(desk: Desk, scope: ReportingScope) -> None:
    desk.holds(document(rules(ElevationType.AUTOMATIC), settings=Settings(reporting_scope=scope)))
    await replace(desk.broker, launcher=EndingLauncher()).elevate(
        str(desk.file), (), Origin(ALICE, Platform.LINUX, OWN_RIGHTS), FakePrompter()
    )
    reported = scope in {ReportingScope.MANAGED, ReportingScope.ALL}
    told = [entry.event.WhichOneof("body") for entry in desk.spool.journals[0].entries(0, 100, 1 << 20)]
    assert told == ["decided", "completed"] * reported


async def test_the_managed_scope_leaves_unmanaged_elevations_out(desk: Desk) -> None:
    desk.holds(document(rules(ElevationType.AUTOMATIC), settings=Settings(reporting_scope=ReportingScope.MANAGED)))
    await desk.ask(subject=Subject("root", administrator=True))
    await desk.ask()
    assert [event.user for event in desk.events()] == ["alice"]


async def test_a_launch_that_fails_is_said_and_reported(desk: Desk) -> None:
    desk.launcher.fault = OSError(13, "Permission denied")
    desk.holds(document(rules(ElevationType.AUTOMATIC)))
    answer = await desk.ask()
    assert answer.message == "allowed, but not started: permission denied"
    assert [found.code for found in desk.diagnostics()] == ["LAUNCH_FAILED"]


class SlowPrompter(FakePrompter):
    """A user who answers when the test lets them."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = asyncio.Event()
        self.may_answer = asyncio.Event()

    async def confirm(self, question: Question) -> bool | None:
        self.asked.set()
        await self.may_answer.wait()
        return await super().confirm(question)


async def test_a_policy_that_changes_while_the_user_thinks_counts(desk: Desk) -> None:
    desk.holds(document(rules(ElevationType.USER_CONFIRMED)))
    prompter = SlowPrompter()
    asking = asyncio.create_task(desk.ask(prompter=prompter))
    await prompter.asked.wait()
    desk.holds(document(rules(ElevationType.DENY)))
    prompter.may_answer.set()
    answer = await asking
    assert (answer.result, desk.launcher.launched) == (Result.REFUSED, [])
    assert "the policy changed meanwhile" in answer.message


async def test_a_clock_that_is_set_back_while_the_user_thinks_counts(desk: Desk) -> None:
    desk.holds(document(rules(ElevationType.USER_CONFIRMED)))
    prompter = SlowPrompter()
    asking = asyncio.create_task(desk.ask(prompter=prompter))
    await prompter.asked.wait()
    desk.clock.wall -= timedelta(days=365)
    prompter.may_answer.set()
    answer = await asking
    assert (answer.result, desk.launcher.launched) == (Result.REFUSED, [])


async def test_a_name_that_is_no_text_is_reported_by_its_codes(desk: Desk) -> None:
    desk.holds(document(settings=Settings(default_response=DefaultResponse.USER_CONFIRMED)))
    desk.file.rename(desk.folder / "caf\udce9")
    answer = await desk.ask(path=str(desk.folder / "caf\udce9"))
    assert answer.result is Result.ELEVATED
    assert desk.events()[0].file.path.endswith("/caf\\udce9")


async def test_the_moment_of_the_attempt_is_the_device_s(desk: Desk) -> None:
    desk.holds(document(rules(ElevationType.AUTOMATIC)))
    await desk.ask()
    (entry,) = desk.spool.journals[0].entries(0, 1, 1 << 20)
    moment: Moment = desk.clock.now()
    assert entry.event.occurred.ToDatetime() == moment.wall.replace(tzinfo=None)
    assert entry.event.boot_id == "boot"
