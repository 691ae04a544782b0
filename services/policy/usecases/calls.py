"""Calls that write: made once under an identifier of the caller's, or only rehearsed, and told what lint finds.

Lint looks at what is stored after the commit, so that nobody waits for it who writes beside, and whoever commits last is
told of both. The answer of a call that may be repeated is kept with the commit, and once more when it is whole.
"""

import re
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Generic, TypeVar

from elevation.lint.findings import Finding, Subject
from services._chassis.errors import ConflictError, DeniedError, InvalidError, LimitError, Problem
from services._chassis.permits import Permit
from services.policy.model.edits import Edited, Touched
from services.policy.model.findings import not_accepted
from services.policy.ports import KeptAnswer, Linting, Store, Work
from services.policy.usecases.contained import untold_if_it_fails
from services.policy.usecases.scope import READ, Author

KEPT_FOR = timedelta(days=1)
LONGEST_ID = 64
_ID = re.compile(rf"[A-Za-z0-9._-]{{1,{LONGEST_ID}}}")

_WHOLE, _UNTOLD = b"\x01", b"\x00"
"""Whether an answer was kept with what lint finds, before its bytes."""

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class Call:
    """Know a call again: its identifier, empty for none, and what it asks for in a digest."""

    request_id: str = ""
    digest: bytes = b""


@dataclass(frozen=True, slots=True)
class Form(Generic[Answer]):
    """Write answers down and read them again."""

    write: Callable[[Answer], bytes]
    read: Callable[[bytes], Answer]
    subjects: Callable[[Answer], frozenset[Subject]]
    """Returns the objects that are there after the call; of none of them is anything told."""
    tell: Callable[[Answer, Sequence[Finding]], Answer]
    """Adds what lint finds to an answer."""


@dataclass(frozen=True, slots=True)
class _Answered(Generic[Answer]):
    answer: Answer
    whole: bool = False
    edited: Edited | None = None


async def answer_once(
    store: Store,
    call: Call,
    verb: Callable[[Work], Awaitable[tuple[Answer, Edited | None]]],
    *,
    form: Form[Answer],
    author: Author,
    linting: Linting,
) -> Answer:
    """Have the verb do its work in one transaction, and answer a repetition of the call as the first one was.

    A call that is only rehearsed changes nothing, and is answered as it would be. Raises what the verb does, InvalidError for
    an identifier that is none, ConflictError if another call was made under it; once the work is done, nothing any more.
    """
    answered = await _answered(store, call, verb, form=form, author=author)
    answer = answered.answer
    subjects = form.subjects(answer)
    if answered.whole or not subjects:
        return answer
    touched = Touched(subjects=subjects, permit=_reading(author))
    if author.validate_only and answered.edited is not None:
        touched = replace(touched, rehearsed=answered.edited.edits, groups=answered.edited.groups)
    if author.validate_only:
        try:
            return form.tell(answer, not_accepted(await linting.findings(touched)))
        except LimitError:
            return answer  # what takes lint too long is refused no save either

    async def told() -> Answer:
        whole = form.tell(answer, not_accepted(await linting.findings(touched)))
        return await _keep_whole(store, call, whole, form=form, author=author) if call.request_id else whole

    return await untold_if_it_fails(told, answer)


async def _answered(
    store: Store,
    call: Call,
    verb: Callable[[Work], Awaitable[tuple[Answer, Edited | None]]],
    *,
    form: Form[Answer],
    author: Author,
) -> _Answered[Answer]:
    async with store.reading() if author.validate_only else store.writing() as work:
        flaws = list(_check_id(call))
        if call.request_id and not flaws and (kept := await _kept(work, call, author)) is not None:
            return _Answered(form.read(kept[1:]), kept[:1] == _WHOLE)
        try:
            answer, edited = await verb(work)
        except InvalidError as error:
            raise InvalidError([*error.problems, *flaws], reason=error.reason) from error
        if flaws:
            raise InvalidError(flaws)
        if call.request_id and not author.validate_only:
            await _keep(work, call, _UNTOLD + form.write(answer), author)
        return _Answered(answer, edited=edited)


async def _keep_whole(store: Store, call: Call, answer: Answer, *, form: Form[Answer], author: Author) -> Answer:
    """Keep an answer with what lint finds; of several for one call the first is kept, and returned to all."""
    async with store.writing() as work:
        kept = await _kept(work, call, author)
        if kept is not None and kept[:1] == _WHOLE:
            return form.read(kept[1:])
        await _keep(work, call, _WHOLE + form.write(answer), author)
        return answer


async def _keep(work: Work, call: Call, kept: bytes, author: Author) -> None:
    made = KeptAnswer(call.digest, kept, author.now)
    await work.requests.keep(author.principal, call.request_id, made, oldest=author.now - KEPT_FOR)


def _reading(author: Author) -> Permit | None:
    try:
        return author.check(READ)
    except DeniedError:
        return None


async def _kept(work: Work, call: Call, author: Author) -> bytes | None:
    """Return the answer that this call got already; None if it was not made. Raises ConflictError for another one."""
    kept = await work.requests.find(author.principal, call.request_id)
    if kept is None or kept.recorded <= author.now - KEPT_FOR:
        return None
    if kept.digest != call.digest:
        raise ConflictError(
            f'another call was made under the request_id "{call.request_id}"; choose a new one for every new call',
            reason="REQUEST_ID_USED",
        )
    return kept.answer


def _check_id(call: Call) -> Iterator[Problem]:
    if call.request_id and _ID.fullmatch(call.request_id) is None:
        yield Problem(
            "request_id", f"is no identifier; write at most {LONGEST_ID} of A-Z a-z 0-9 . _ - or leave it out"
        )
