"""Calls that write: made once under an identifier of the caller's, or only rehearsed."""

import re
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Generic, TypeVar

from services._chassis.errors import ConflictError, InvalidError, Problem
from services.policy.ports import KeptAnswer, Store, Work
from services.policy.usecases.scope import Author

KEPT_FOR = timedelta(days=1)
LONGEST_ID = 64
_ID = re.compile(rf"[A-Za-z0-9._-]{{1,{LONGEST_ID}}}")

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


async def answer_once(
    store: Store,
    call: Call,
    verb: Callable[[Work], Awaitable[Answer]],
    *,
    form: Form[Answer],
    author: Author,
) -> Answer:
    """Have the verb do its work in one transaction, and answer a repetition of the call as the first one was.

    A call that is only rehearsed changes nothing, and is answered as it would be. Raises what the verb does, InvalidError for
    an identifier that is none, ConflictError if another call was made under it.
    """
    async with store.reading() if author.validate_only else store.writing() as work:
        flaws = list(_check_id(call))
        if call.request_id and not flaws and (kept := await _kept(work, call, author)) is not None:
            return form.read(kept)
        try:
            answer = await verb(work)
        except InvalidError as error:
            raise InvalidError([*error.problems, *flaws], reason=error.reason) from error
        if flaws:
            raise InvalidError(flaws)
        if call.request_id and not author.validate_only:
            made = KeptAnswer(call.digest, form.write(answer), author.now)
            await work.requests.keep(author.principal, call.request_id, made, oldest=author.now - KEPT_FOR)
        return answer


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
