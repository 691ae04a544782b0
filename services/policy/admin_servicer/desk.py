"""What all methods of authoring have in common: who calls, and that a call that writes is made once."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any, TypeAlias, TypeVar

import grpc.aio
from google.protobuf.message import Message

from services._chassis.access import AccessControl
from services._chassis.caller import current_permit
from services._chassis.paging import Page
from services._chassis.scope_tags import SECONDS_FOR_REVISION
from services.policy.codec.answers import subjects_of, with_findings
from services.policy.codec.calls import WritingRequest, call_from_proto
from services.policy.model.edits import Edited
from services.policy.model.listing import Wanted
from services.policy.model.objects import Content, Stored
from services.policy.ports import Store, Work
from services.policy.usecases import authoring, listing
from services.policy.usecases.calls import Form, answer_once
from services.policy.usecases.means import Means
from services.policy.usecases.scope import Author, author_of_call

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"


Outcome = TypeVar("Outcome", bound=Edited | None)
Answer = TypeVar("Answer", bound=Message)


class Desk:
    """Author as the caller of the running call."""

    def __init__(self, store: Store, means: Means, access: AccessControl, *, now: Callable[[], datetime]) -> None:
        self.store = store
        self.means = means
        self._access = access
        self._now = now

    def author(self, *, validate_only: bool = False) -> Author:
        """Return who makes the running call."""
        return author_of_call(self._access.check, self._now(), validate_only=validate_only)

    async def access_at_least(self, revision: int) -> None:
        """Return once the access data are as new as the revision. Raises UnavailableError if that takes too long."""
        await self._access.at_least(revision, SECONDS_FOR_REVISION)

    async def once(
        self,
        request: WritingRequest,
        verb: Callable[[Work, Author], Awaitable[Outcome]],
        answer: type[Answer],
        say: Callable[[Outcome], Answer],
    ) -> Answer:
        """Have the verb do its work in one transaction and answer; a repetition of the call is answered as the first was."""
        author = self.author(validate_only=request.validate_only)

        async def answered(work: Work) -> tuple[Answer, Edited | None]:
            outcome = await verb(work, author)
            return say(outcome), outcome

        form = Form(
            write=lambda message: message.SerializeToString(),
            read=answer.FromString,
            subjects=subjects_of,
            tell=with_findings,
        )
        call, linting = call_from_proto(request), self.means.linting
        return await answer_once(self.store, call, answered, form=form, author=author, linting=linting)

    async def get(self, kind: type[Content], name: str) -> Stored[Content]:
        """Return an object that the caller may see."""
        return await authoring.get_object(self.store, kind, name, permit=current_permit())

    async def list(self, kind: type[Content], wanted: Wanted) -> Page[Stored[Content]]:
        """Return a page of the objects that the caller may see."""
        return await listing.list_objects(self.store, kind, wanted, permit=current_permit())
