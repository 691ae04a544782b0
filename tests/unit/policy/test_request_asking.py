"""Devices ask for approval only where the policy of today asks for it, worked out as the device would."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from itertools import count

import pytest

from elevation.model import (
    ALL_DEVICES,
    ChildProcesses,
    Decision,
    DefaultResponse,
    ElevationType,
    Outcome,
    Platform,
    RulesPolicy,
    Source,
)
from elevation.reasons import Cause
from services._chassis.errors import LimitError, NotFoundError, StateError
from services.policy.model.certificates import fingerprint_of
from services.policy.model.denials import Denial
from services.policy.model.directory import DirectoryDevice
from services.policy.model.request_limits import OF_ONE_DEVICE, OF_ONE_USER
from services.policy.model.requests import ElevationRequest, RequestedFile
from services.policy.model.told_requests import Told
from services.policy.usecases.requests.asking import LONGEST_FACT, Asking, SubmissionWanted
from services.policy.usecases.requests.ports import Now, RequestStep
from services.policy.usecases.requests.today import PolicyOfToday, denying
from tests.builders.elevation import HASH, certificate, policy, publisher, rule
from tests.fakes.access import permit
from tests.fakes.clock import NOW, FakeClock
from tests.fakes.policy_delivery import Authored, FakeDirectories, assigned, corpus, device, policy_book, settings
from tests.fakes.requests import MemoryRequests

HOUR = timedelta(hours=1)
SETUP = RequestedFile(path=r"C:\Installers\setup.exe", sha256=HASH)
WANTED = SubmissionWanted(
    attempt_id="attempt-1", user="alice", justification="a driver", platform=Platform.WINDOWS, file=SETUP
)


class Fleeting(MemoryRequests):
    """Lose every request between a look at it and its change, as where retention deletes it meanwhile."""

    async def change(self, request_ids: Sequence[str], step: RequestStep, clock: Now) -> Sequence[Told]:
        """Find nothing any more."""
        for each in request_ids:
            del self.kept[each]
        return await super().change(request_ids, step, clock)


class Service:
    """Ask on one device, of these users."""

    def __init__(
        self, *contents: Authored, users: tuple[str, ...] = ("alice",), requests: MemoryRequests | None = None
    ) -> None:
        self.device: DirectoryDevice = replace(device("d1", *users), life=NOW, scope_tags=frozenset({"emea"}))
        self.book = policy_book(FakeDirectories(self.device))
        self.book.put(corpus(*contents))
        self.requests = requests or MemoryRequests()
        self.clock = FakeClock()
        numbers = count(1)
        self.today = PolicyOfToday(self.book)
        self.asking = Asking(
            self.requests,
            self.requests,
            self.today,
            new_id=lambda: f"{next(numbers):08x}",
            review_within=HOUR,
        )

    async def submit(self, **values: object) -> ElevationRequest:
        """Ask."""
        wanted = replace(WANTED, **values)  # type: ignore[arg-type]
        return (await self.asking.submit(self.device, wanted, self.clock.now())).request


def of_all(made: RulesPolicy) -> RulesPolicy:
    """Assign to everybody."""
    return replace(made, assignments=assigned(ALL_DEVICES))


def ruled(elevation_type: ElevationType, **values: object) -> RulesPolicy:
    """Make a policy of one rule for everybody."""
    detection = {"file_hash": HASH} if "certificate" not in values else {}
    made = rule(name="setup", elevation_type=elevation_type, **{**detection, **values})  # type: ignore[arg-type]
    return of_all(policy(made, name="tools"))


APPROVING = settings(default_response=DefaultResponse.SUPPORT_APPROVED)


async def test_a_request_says_who_asks_for_what_and_which_rule_asked_for_approval() -> None:
    service = Service(settings(), ruled(ElevationType.SUPPORT_APPROVED))
    made = await service.submit()
    assert (made.policy, made.rule, made.device_name, made.scope_tags) == ("tools", "setup", "D1", frozenset({"emea"}))
    assert (made.submitted, made.review_deadline, made.life) == (NOW, NOW + HOUR, NOW)
    assert service.requests.kept[made.request_id] == made


async def test_the_default_response_asks_without_a_rule() -> None:
    made = await Service(APPROVING).submit()
    assert (made.policy, made.rule) == ("", "")


@pytest.mark.parametrize("elevation_type", [ElevationType.DENY, ElevationType.AUTOMATIC, ElevationType.USER_CONFIRMED])
async def test_a_rule_that_asks_for_no_approval_is_no_reason_for_a_request(elevation_type: ElevationType) -> None:
    service = Service(APPROVING, ruled(elevation_type))
    with pytest.raises(StateError) as refused:
        await service.submit()
    assert refused.value.reason == "APPROVAL_NOT_NEEDED"
    assert service.requests.kept == {}


async def test_arguments_that_a_rule_does_not_allow_are_denied_and_not_asked_for() -> None:
    service = Service(APPROVING, ruled(ElevationType.SUPPORT_APPROVED, arguments=("/silent",)))
    with pytest.raises(StateError):
        await service.submit(arguments=("/loud",))
    assert (await service.submit(arguments=("/silent",))).rule == "setup"


async def test_without_settings_nobody_asks() -> None:
    with pytest.raises(StateError):
        await Service(ruled(ElevationType.SUPPORT_APPROVED)).submit()


async def test_whether_a_signature_is_trusted_the_device_alone_knows() -> None:
    by_signer = ruled(ElevationType.SUPPORT_APPROVED, certificate=publisher("vendor"))
    signed = (certificate("vendor"), certificate("issuing"))
    assert (await Service(settings(), by_signer).submit(certificates=signed)).rule == "setup"
    elevating = ruled(ElevationType.USER_CONFIRMED, certificate=publisher("vendor"))
    assert (await Service(APPROVING, elevating).submit(certificates=signed)).rule == ""
    with pytest.raises(StateError):
        await Service(settings(), by_signer).submit()


async def test_the_publisher_is_whom_the_certificate_names_and_without_one_whom_the_device_names() -> None:
    claimed = replace(SETUP, publisher="CN=somebody else")
    signed = (certificate("vendor"), certificate("issuing"))
    shown = (await Service(APPROVING).submit(file=claimed, certificates=signed)).file
    assert (shown.publisher, shown.publisher_fingerprint) == (signed[0].subject, fingerprint_of(signed[0]))
    shown = (await Service(APPROVING).submit(file=claimed)).file
    assert (shown.publisher, shown.publisher_fingerprint) == ("CN=somebody else", "")
    odd = replace(signed[0], subject="CN=a\nb" + "c" * LONGEST_FACT)
    shown = (await Service(APPROVING).submit(file=claimed, certificates=(odd,))).file
    assert (shown.publisher[:6], len(shown.publisher)) == ("CN=a\ufffdb", LONGEST_FACT)


async def test_of_what_may_have_asked_the_device_says_which_did() -> None:
    named = rule(
        name="named",
        elevation_type=ElevationType.SUPPORT_APPROVED,
        file_name="setup",
        file_path="/opt/tool",
        children=ChildProcesses.DENY,
    )
    made = of_all(policy(named, name="base", platform=Platform.LINUX))
    here = replace(SETUP, path="/opt/tool/setup")
    asked = {"platform": Platform.LINUX, "file": here}
    assert (await Service(APPROVING, made).submit(**asked, asked_by=("base", "named"))).rule == "named"
    assert (await Service(APPROVING, made).submit(**asked)).rule == ""
    assert (await Service(APPROVING, made).submit(**asked, asked_by=("base", "renamed"))).rule == "named"
    assert (await Service(APPROVING).submit(asked_by=("base", "invented"))).rule == ""


async def test_a_rule_denies_for_sure_only_what_it_denies_however_the_device_saw_it() -> None:
    signed = (certificate("vendor"), certificate("issuing"))
    by_hash = Service(APPROVING, ruled(ElevationType.DENY))
    by_signer = Service(APPROVING, ruled(ElevationType.DENY, certificate=publisher("vendor")))
    found = denying(await by_hash.today.decisions(by_hash.device, WANTED, signed, NOW))
    assert found is not None
    assert (found.policy, found.rule) == ("tools", "setup")
    assert denying(await by_signer.today.decisions(by_signer.device, WANTED, signed, NOW)) is None


async def test_what_is_asked_again_costs_nothing_and_too_much_has_to_wait() -> None:
    users = tuple(f"user-{number}" for number in range(10))
    service = Service(APPROVING, users=users)
    asked = 0
    for user in users[: OF_ONE_DEVICE // OF_ONE_USER]:
        for _ in range(OF_ONE_USER):
            asked += 1
            await service.submit(user=user, attempt_id=f"attempt-{asked}")
        with pytest.raises(LimitError):
            await service.submit(user=user, attempt_id="one-more")
    await service.submit(user=users[0], attempt_id="attempt-1")
    with pytest.raises(LimitError, match="device") as refused:
        await service.submit(user=users[-1], attempt_id="one-more")
    wait = refused.value.retry_after
    assert wait is not None
    service.clock.advance(wait)
    await service.submit(user=users[-1], attempt_id="one-more")


async def test_a_device_is_told_that_the_time_is_over_once_that_is_written_down() -> None:
    service = Service(APPROVING)
    made = await service.submit()
    service.clock.advance(HOUR)
    again = await service.submit()
    assert (again.request_id, again.state.value) == (made.request_id, "EXPIRED")
    assert service.requests.kept[made.request_id] == again


async def test_who_takes_back_what_is_deleted_meanwhile_learns_that_there_is_no_such_request() -> None:
    service = Service(APPROVING, requests=Fleeting())
    made = await service.submit()
    with pytest.raises(NotFoundError) as unknown:
        await service.asking.cancel(service.device, "unknown", "alice", service.clock.now)
    with pytest.raises(NotFoundError) as deleted:
        await service.asking.cancel(service.device, made.request_id, "alice", service.clock.now)
    assert str(deleted.value) == str(unknown.value)


async def test_an_attempt_of_which_the_request_is_deleted_meanwhile_makes_a_new_one() -> None:
    service = Service(APPROVING, requests=Fleeting())
    made = await service.submit()
    service.clock.advance(HOUR)
    again = await service.submit()
    assert again.request_id != made.request_id
    assert (again.state.value, list(service.requests.kept)) == ("PENDING", [again.request_id])


async def test_a_denial_says_on_what_it_hangs_that_the_device_alone_knows() -> None:
    chain = (certificate("vendor"), certificate("issuing"))
    everything = permit(everything=True)

    async def denial(service: Service, **values: object) -> Denial | None:
        wanted = replace(WANTED, **values)  # type: ignore[arg-type]
        now = service.clock.now()
        return await service.today.denial(service.device, wanted, wanted.certificates, reading=everything, now=now)

    by_hash = Service(settings(), ruled(ElevationType.DENY))
    assert await denial(by_hash, certificates=chain) == Denial(policy="tools", rule="setup")
    signed = Service(APPROVING, ruled(ElevationType.DENY, certificate=publisher("vendor")))
    hanging = Denial(policy="tools", rule="setup", signature_trusted=True)
    assert await denial(signed, certificates=chain) == hanging
    assert await denial(signed) is None
    by_default = Service(settings(default_response=DefaultResponse.DENY))
    assert await denial(by_default) == Denial(default_response=True)
    assert await denial(Service(APPROVING)) is None


def test_a_policy_that_is_deleted_while_it_is_asked_about_is_named_to_nobody() -> None:
    today = Service(APPROVING, ruled(ElevationType.DENY)).today
    by_rule = Decision(Outcome.DENY, Source.RULE, Cause.DENIED, ElevationType.DENY, policy="tools", rule="setup")
    everything = permit(everything=True)
    assert [today.shows(each, everything) for each in (by_rule, replace(by_rule, policy="gone"))] == [True, False]
