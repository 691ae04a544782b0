"""What could not be stored is shown, tried again and stored once: on both databases."""

from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from epm.elevation.v1 import event_pb2
from services._chassis.errors import UnavailableError
from services.reporting.model.events import Batch, Rejection
from services.reporting.model.intake import NO_LONGER_KEPT, NO_PLACE
from services.reporting.store.retention import Keep, SqlRetention
from services.reporting.store.tables import COUNT_BY_DECISION, DEAD_LETTER
from tests.builders.intakeoffice import CONFIGURE, REQUESTS, VIEW_REPORTS, Call, IntakeOffice, open_intake, poison, walk
from tests.builders.refusals import refusal_of
from tests.fakes.clock import NOW
from tests.fakes.reporting import batch, completed, decided, diagnostic, enrolled, uuid7

DAY = timedelta(days=1)
UNKNOWN_WORD = 99
SECRET = "a-justification-that-nobody-may-read-in-a-log"


@pytest.fixture
async def office(database_url: str, tmp_path: Path) -> AsyncIterator[IntakeOffice]:
    async with open_intake(database_url, tmp_path) as opened:
        yield opened


async def letters(ask: Call) -> list[Any]:
    """Return all dead letters."""
    return await walk(ask, "ListDeadLetters")


async def ids(ask: Call) -> list[str]:
    """Return the identifiers of all dead letters."""
    return [letter.id for letter in await letters(ask)]


async def counted(office: IntakeOffice) -> int:
    """Return how many attempts the counts by day tell of."""
    total = sa.select(sa.func.sum(COUNT_BY_DECISION.c.attempts)).where(COUNT_BY_DECISION.c.span == 1)
    async with office.database.read() as tx:
        return int((await tx.execute(total)).scalar() or 0)


async def put(office: IntakeOffice, event: event_pb2.ElevationEvent, reason: str, seq: int = 1) -> None:
    """Put a letter there as a server of another version left it, and the place that it took."""
    await office.send(poison(9999), first=seq)
    values = {"body": event.SerializeToString(), "reason": reason}
    async with office.database.transaction() as tx:
        await tx.execute(sa.update(DEAD_LETTER).where(DEAD_LETTER.c.seq == seq).values(**values))


async def test_a_letter_is_shown_with_its_place_its_reason_and_its_event_newest_first(office: IntakeOffice) -> None:
    office.names["d1"] = "ws-17"
    for number in (1, 2, 3):
        office.clock.advance(timedelta(seconds=1))
        await office.send(poison(number), first=number)
    await office.send(poison(4), device="d2", first=7)
    ask = office.caller()
    found = await letters(ask)
    assert [(one.device_id, one.device_name, one.journal_id, one.seq) for one in found] == [
        ("d2", "", "journal-1", 7),
        ("d1", "ws-17", "journal-1", 3),
        ("d1", "ws-17", "journal-1", 2),
        ("d1", "ws-17", "journal-1", 1),
    ]
    assert found[1].received.ToDatetime(NOW.tzinfo) == office.clock.now()
    assert "user must have 1 to 256 characters" in found[1].reason
    whole = await ask("GetDeadLetter", id=found[1].id)
    assert whole.dead_letter == found[1]
    assert (whole.event, whole.body) == (poison(3), poison(3).SerializeToString())
    assert found[1].size == len(whole.body)


async def test_an_event_that_cannot_be_read_is_shown_by_its_bytes_alone(office: IntakeOffice) -> None:
    await office.send(poison(1))
    async with office.database.transaction() as tx:
        await tx.execute(sa.update(DEAD_LETTER).values(body=b"\xff\xff\xff"))
    ask = office.caller()
    (found,) = await letters(ask)
    whole = await ask("GetDeadLetter", id=found.id)
    assert (whole.HasField("event"), whole.body) == (False, b"\xff\xff\xff")
    answer = await ask("RetryDeadLetters", ids=[found.id])
    assert (answer.stored, [one.id for one in answer.remaining]) == (0, [found.id])


async def test_an_event_of_the_future_is_stored_a_day_later_at_its_own_place_and_counted_once(
    office: IntakeOffice,
) -> None:
    await office.send(decided(1), decided(2, at=NOW + 2 * DAY), decided(3))
    ask = office.caller()
    found = await ids(ask)
    first = await ask("RetryDeadLetters", ids=found)
    assert (first.stored, len(first.remaining)) == (0, 1)
    office.clock.advance(DAY)
    assert (await ask("RetryDeadLetters", ids=found)).stored == 1
    assert await ids(ask) == []
    assert await office.attempts() == ["attempt-1", "attempt-3", "attempt-2"]
    assert await counted(office) == 3
    # The device sends all of it again: everything is at its place.
    await office.send(decided(1), decided(2, at=NOW + 2 * DAY), decided(3))
    assert (await counted(office), await ids(ask), await walk(ask, "ListGaps")) == (3, [], [])


async def test_an_event_of_an_unknown_word_is_stored_by_a_server_that_knows_it(office: IntakeOffice) -> None:
    ask = office.caller()
    await office.send(decided(1, outcome=UNKNOWN_WORD))
    (still_unknown,) = await letters(ask)
    await put(office, decided(2), "outcome must be a value that this server knows", seq=2)
    known = next(one for one in await letters(ask) if one.seq == 2)
    answer = await ask("RetryDeadLetters", ids=[still_unknown.id, known.id])
    assert (answer.stored, [one.id for one in answer.remaining]) == (1, [still_unknown.id])
    assert "outcome must be a value that this server knows" in answer.remaining[0].reason
    assert await office.attempts() == ["attempt-2"]


@pytest.mark.parametrize("journal", ["", "x" * 65, "a\0b", "tab\there"])
async def test_a_letter_whose_journal_was_no_identifier_stays(office: IntakeOffice, journal: str) -> None:
    await office.send(decided(1), journal=journal)
    ask = office.caller()
    answer = await ask("RetryDeadLetters", ids=await ids(ask))
    assert (answer.stored, len(answer.remaining)) == (0, 1)
    assert "journal_id must have 1 to 64 printable characters" in answer.remaining[0].reason
    assert await office.attempts() == []


async def test_a_letter_of_a_place_that_no_journal_has_stays(office: IntakeOffice) -> None:
    await office.send(decided(1), first=2**64 - 1)
    ask = office.caller()
    answer = await ask("RetryDeadLetters", ids=await ids(ask))
    assert (answer.stored, answer.remaining[0].reason) == (0, NO_PLACE)


async def test_a_letter_whose_place_or_id_another_event_has_stays_with_its_reason_of_now(office: IntakeOffice) -> None:
    ask = office.caller()
    await put(office, decided(5), "old words", seq=3)
    await office.send(decided(6), first=3)
    await office.send(decided(7), device="d2")
    await put(office, decided(7), "old words", seq=4)
    answer = await ask("RetryDeadLetters", ids=await ids(ask))
    assert answer.stored == 0
    reasons = {one.seq: one.reason for one in answer.remaining}
    assert reasons == {3: "another event has this place in the journal", 4: "another event has this id"}
    assert {one.seq: one.reason for one in await letters(ask)} == reasons
    assert sorted(await office.attempts()) == ["attempt-6", "attempt-7"]


async def test_every_kind_of_event_can_be_tried_again(office: IntakeOffice) -> None:
    ask = office.caller()
    events = (decided(1), completed(2, "attempt-1", exit_code=3), diagnostic(3, "DISK_FULL"))
    for seq, event in enumerate(events, 1):
        await put(office, event, "an old server did not know it", seq=seq)
    assert (await ask("RetryDeadLetters", ids=await ids(ask))).stored == 3
    assert [one.event_id for one in await walk(ask, "ListDiagnostics")] == [uuid7(3)]
    assert await office.attempts() == ["attempt-1"]


async def test_a_try_that_breaks_off_behind_the_store_leaves_the_letter_and_the_next_stores_nothing_twice(
    office: IntakeOffice,
) -> None:
    ask = office.caller()
    await put(office, decided(1), "an old server did not know it")
    found = await ids(ask)

    async def store_and_die(batches: Sequence[Batch]) -> Sequence[Sequence[Rejection]]:
        await office.writer.store(batches)
        raise UnavailableError("killed")

    async def die(_batches: Sequence[Batch]) -> Sequence[Sequence[Rejection]]:
        raise UnavailableError("killed")

    for store, attempts in ((die, []), (store_and_die, ["attempt-1"])):
        with pytest.raises(UnavailableError):
            await office.retries(store).retry(found, None)
        assert (await ids(ask), await office.attempts()) == (found, attempts)
    assert (await ask("RetryDeadLetters", ids=found)).stored == 1
    assert (await ids(ask), await office.attempts(), await counted(office)) == ([], ["attempt-1"], 1)


async def test_a_letter_behind_which_events_were_purged_is_kept(office: IntakeOffice) -> None:
    ask = office.caller()
    old, later = NOW - 40 * DAY, timedelta(hours=1)
    await office.send(poison(1), decided(2, at=old), received=old)
    async with office.database.transaction() as tx:
        values = {"body": decided(1).SerializeToString(), "received": (NOW - DAY).timestamp() * 1_000_000}
        await tx.execute(sa.update(DEAD_LETTER).values(**values))
    await SqlRetention(office.database, Keep(events=30 * DAY, counts=400 * DAY), lambda: NOW + later).purge()
    answer = await ask("RetryDeadLetters", ids=await ids(ask))
    assert (answer.stored, [one.reason for one in answer.remaining]) == (0, [NO_LONGER_KEPT])
    assert len(await ids(ask)) == 1


async def test_a_try_is_recorded_with_who_why_and_which_and_without_any_event(
    office: IntakeOffice, capsys: pytest.CaptureFixture[str]
) -> None:
    await put(office, decided(1, justification=SECRET), "old words")
    await office.send(poison(2, justification=SECRET), first=2)
    ask = office.caller(reason="ticket 4711")
    stays, goes = [one.id for one in await letters(ask)]
    await ask("RetryDeadLetters", ids=[goes, stays])
    (record,) = await office.audited("dead_letters_retried")
    assert (record["actor"], record["reason"]) == ("user:asks-", "ticket 4711")
    assert f'"stored":"{goes}"' in record["details"]
    assert f'"remaining":"{stays}"' in record["details"]
    told = capsys.readouterr()
    assert SECRET not in str(dict(record)) + told.out + told.err


async def test_everything_is_seen_by_tags_alone_and_what_is_not_seen_is_not_there(office: IntakeOffice) -> None:
    await office.records.remember([enrolled("d1", "emea"), enrolled("d2", "apac")])
    for device, number in (("d1", 1), ("d2", 2)):
        await office.send(poison(number), decided(number + 2), diagnostic(number + 4), device=device, first=4)
    everything, some = office.caller(), office.caller("emea")
    hidden = next(one.id for one in await letters(everything) if one.device_id == "d2")
    for rpc in ("ListDeadLetters", "ListGaps", "ListDiagnostics"):
        assert {one.device_id for one in await walk(everything, rpc)} == {"d1", "d2"}
        assert {one.device_id for one in await walk(some, rpc)} == {"d1"}
    absent = await refusal_of(some("GetDeadLetter", id="777-abcdef01"))
    assert await refusal_of(some("GetDeadLetter", id=hidden)) == absent
    shown = (await letters(some))[0].id
    refused = await refusal_of(some("RetryDeadLetters", ids=[shown, hidden, "nonsense", "777-abcdef01"]))
    assert refused.code == "NOT_FOUND"
    assert all(one in refused.message for one in (hidden, "nonsense", "777-abcdef01"))
    assert shown not in refused.message
    assert len(await ids(everything)) == 2


async def test_a_number_that_another_letter_got_does_not_stand_for_it(office: IntakeOffice) -> None:
    ask = office.caller()
    await put(office, decided(1), "old words")
    (gone,) = await ids(ask)
    await ask("RetryDeadLetters", ids=[gone])
    await office.send(poison(2), first=2)
    assert (await refusal_of(ask("RetryDeadLetters", ids=[gone]))).code == "NOT_FOUND"
    assert len(await ids(ask)) == 1


async def test_problems_of_codes_and_of_what_is_tried_again_are_told(office: IntakeOffice) -> None:
    ask = office.caller()
    assert (await refusal_of(ask("ListDiagnostics", codes=["\0"]))).fields == {"codes"}
    for wrong in ([], [f"{number}-abcdef01" for number in range(101)]):
        assert (await refusal_of(ask("RetryDeadLetters", ids=wrong))).fields == {"ids"}


@pytest.mark.parametrize("rpc", REQUESTS)
async def test_looking_needs_the_right_to_view_and_trying_again_that_to_configure(
    office: IntakeOffice, rpc: str
) -> None:
    needed = CONFIGURE if rpc == "RetryDeadLetters" else VIEW_REPORTS
    others = {CONFIGURE, VIEW_REPORTS, "devices.read", "policy_authoring.read"} - {needed}
    refused = await refusal_of(office.caller("x", rights=sorted(others))(rpc))
    assert (refused.code, refused.reason) == ("PERMISSION_DENIED", "RIGHT_MISSING")


async def test_a_hundred_letters_are_tried_in_one_call(office: IntakeOffice) -> None:
    await office.sink.store([batch([decided(number, at=NOW + 2 * DAY) for number in range(1, 101)])])
    office.clock.advance(2 * DAY)
    ask = office.caller()
    found = [one.id for one in (await ask("ListDeadLetters", page_size=1000)).dead_letters]
    assert (await ask("RetryDeadLetters", ids=[*found, *found][:100])).stored == 100
    assert await counted(office) == 100
