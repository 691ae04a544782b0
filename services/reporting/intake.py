"""The verbs of the intake: look at what could not be stored, try it again, and see what never came."""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from services._chassis.errors import InvalidError, NotFoundError, Problem
from services._chassis.paging import Page, PageRequest, page_request
from services.reporting.model.events import LARGEST_NUMBER, Batch, Rejection, microseconds
from services.reporting.model.intake import (
    MOST_CODES,
    MOST_DEVICES,
    MOST_RETRIED,
    NO_PLACE,
    IntakeQuestion,
    Letter,
    LetterBody,
    MissingPlaces,
    Retried,
    Verdict,
)
from services.reporting.model.live import Statement
from services.reporting.ports import Intake

HEAVIEST_PORTION = 4 * 1024 * 1024
"""Bytes of events that are tried again together."""


async def list_dead_letters(intake: Intake, asked: IntakeQuestion, *, page_size: int, page_token: str) -> Page[Letter]:
    """Return a page of dead letters, newest first."""
    question = f"dead_letters {asked.filter!r}"
    return await intake.dead_letters(asked, _page(question, asked, (int, int), size=page_size, token=page_token))


async def get_dead_letter(intake: Intake, letter_id: str, tags: frozenset[str] | None) -> LetterBody:
    """Return a dead letter whole. Raises NotFoundError where there is none, and where the caller may not see it."""
    found = await intake.dead_letter(letter_id, tags)
    if found is None:
        raise NotFoundError("there is no dead letter of this id; list the dead letters for those there are")
    return found


async def list_gaps(intake: Intake, asked: IntakeQuestion, *, page_size: int, page_token: str) -> Page[MissingPlaces]:
    """Return a page of gaps, newest notice first."""
    question = f"gaps {asked.filter!r}"
    return await intake.gaps(asked, _page(question, asked, (int, int, int), size=page_size, token=page_token))


async def list_diagnostics(
    intake: Intake, asked: IntakeQuestion, codes: Sequence[str], *, page_size: int, page_token: str
) -> Page[Statement]:
    """Return a page of what agents said of their own health, newest first."""
    wanted = tuple(sorted(set(codes)))
    problems = list(_values("codes", wanted, MOST_CODES))
    question = f"diagnostics {wanted!r} {asked.filter!r}"
    page = _page(question, asked, (int, str), size=page_size, token=page_token, beside=problems)
    return await intake.diagnostics(asked, wanted, page)


Store = Callable[[Sequence[Batch]], Awaitable[Sequence[Sequence[Rejection]]]]
"""Stores batches the way all events are stored, and returns once they are durable what was rejected of each."""

Read = Callable[[LetterBody, int], tuple[Batch, str]]
"""Reads a dead letter as if it came at this time, with the identifier of its event."""


@dataclass(frozen=True, slots=True)
class Retries:
    """Try dead letters again.

    INVARIANT: a letter goes only once its event is durable. Whatever is broken off in between leaves it there, and the next
    try finds the event stored.
    """

    intake: Intake
    store: Store
    read: Read
    now: Callable[[], datetime]

    async def retry(self, letter_ids: Sequence[str], tags: frozenset[str] | None) -> Retried:
        """Store what can be stored. Raises InvalidError; NotFoundError naming all letters that are not there."""
        wanted = list(dict.fromkeys(letter_ids))
        if not 0 < len(wanted) <= MOST_RETRIED:
            problem = f"must be 1 to {MOST_RETRIED} identifiers of dead letters; retry in several calls"
            raise InvalidError([Problem("ids", problem)])
        letters = await self.intake.letters(wanted, tags)
        if missing := sorted(set(wanted) - {letter.letter_id for letter in letters}):
            told = ", ".join(letter_id[:64] for letter_id in missing)
            raise NotFoundError(f"there are no dead letters {told}; list the dead letters for those there are")
        stored, remaining = 0, list[Letter]()
        for portion in _portions(letters):
            verdicts = await self._judged(portion, tags)
            done = await self.intake.settle(verdicts, self.now())
            stored, remaining = stored + done.stored, [*remaining, *done.remaining]
        return Retried(stored, tuple(remaining))

    async def _judged(self, letters: Sequence[Letter], tags: frozenset[str] | None) -> list[Verdict]:
        verdicts, waiting, batches = list[Verdict](), list[Verdict](), list[Batch]()
        for letter in letters:
            found = await self.intake.dead_letter(letter.letter_id, tags)
            if found is None:
                continue  # somebody else has stored it meanwhile
            batch, event_id = self.read(found, microseconds(self.now()))
            reason = "; ".join(rejected.reason for rejected in batch.dead_letters)
            if letter.seq in (0, LARGEST_NUMBER):
                reason = NO_PLACE  # it was cut to what a database holds: another event may come to have that place
            verdict = Verdict(letter, event_id, reason)
            if reason:
                verdicts.append(verdict)
            else:
                waiting.append(verdict)
                batches.append(batch)
        for verdict, rejections in zip(waiting, await self.store(batches), strict=True):
            verdicts.append(replace(verdict, reason="; ".join(rejected.reason for rejected in rejections)))
        return verdicts


def _portions(letters: Sequence[Letter]) -> Iterator[list[Letter]]:
    """Give the letters in the order of their places, as many at a time as the memory is for."""
    portion, weight = list[Letter](), 0
    for letter in sorted(letters, key=lambda letter: (letter.device_id, letter.journal_id, letter.seq)):
        if portion and weight + letter.size > HEAVIEST_PORTION:
            yield portion
            portion, weight = [], 0
        portion.append(letter)
        weight += letter.size
    yield portion


def _page(
    question: str,
    asked: IntakeQuestion,
    shape: tuple[type, ...],
    *,
    size: int,
    token: str,
    beside: Sequence[Problem] = (),
) -> PageRequest:
    problems = [*_problems_of(asked), *beside]
    return page_request(page_size=size, page_token=token, question=question, shape=shape, beside=problems)


def _problems_of(asked: IntakeQuestion) -> Iterator[Problem]:
    yield from asked.unreadable
    yield from _values("filter.device_ids", asked.filter.device_ids, MOST_DEVICES)
    start, end = asked.filter.received_from, asked.filter.received_before
    if start is not None and end is not None and start >= end:
        yield Problem("filter.received_before", "must be later than received_from")


def _values(field: str, values: Sequence[str], most: int) -> Iterator[Problem]:
    if len(values) > most:
        yield Problem(field, f"must have at most {most} values; ask several times")
    if any("\0" in value for value in values):
        yield Problem(field, "must not hold NUL")
