"""Tokens: who may issue them, what is kept of them, and the first one of all."""

from datetime import timedelta
from typing import Any

import pytest

from services._chassis.auth import digest_of
from services._chassis.errors import DeniedError, InvalidError, NotFoundError, ServiceError, StateError
from services.rbac import usecases
from services.rbac.model.nouns import Actor, Token
from services.rbac.usecases import NewToken
from tests.builders.rbac import OWNERS, assignment, store_with
from tests.fakes.clock import NOW
from tests.fakes.rbac import MemoryStore


def new(principal: str = "user:bob", **values: Any) -> NewToken:
    chosen: dict[str, Any] = {"token_id": "t1", "secret_digest": digest_of("epm_s"), "description": "ci"}
    return NewToken(principal=principal, **{**chosen, **values})


async def test_a_token_lasts_ninety_days_unless_told_otherwise() -> None:
    store = store_with()
    token, revision = await usecases.issue_token(store, new(), actor=Actor("user:owner"), now=NOW)
    assert (token.created, token.expires, revision) == (NOW, NOW + timedelta(days=90), 2)
    soon = NOW + timedelta(seconds=1)
    token, _ = await usecases.issue_token(store, new(expires=soon), actor=Actor("user:owner"), now=NOW)
    assert token.expires == soon


ISSUED = {
    "principal": "user:bob",
    "description": "ci",
    "created": NOW.isoformat(),
    "expires": (NOW + timedelta(days=90)).isoformat(),
    "revoked": None,
}


async def test_of_a_token_only_its_digest_is_kept_and_what_is_written_down_has_neither() -> None:
    store = store_with()
    await usecases.issue_token(store, new(), actor=Actor("user:owner"), now=NOW)
    assert store.kept.tokens["t1"].digest == digest_of("epm_s")
    (entry,) = store.audit
    assert (entry.action, entry.target, dict(entry.details)) == ("token_issued", "t1", {"principal": "user:bob"})
    assert (entry.before, entry.after) == (None, ISSUED)


async def test_a_revocation_is_written_down_with_the_token_as_it_was_and_as_it_is() -> None:
    store = store_with()
    await usecases.issue_token(store, new(), actor=Actor("user:owner"), now=NOW)
    later = NOW + timedelta(days=1)
    await usecases.revoke_token(store, "t1", now=later)
    entry = store.audit[-1]
    assert (entry.action, entry.before, entry.after) == (
        "token_revoked",
        ISSUED,
        {**ISSUED, "revoked": later.isoformat()},
    )


async def test_a_token_without_an_end_is_written_down_so() -> None:
    store = MemoryStore()
    await bootstrap(store, TokenFile())
    after = store.audit[-1].after
    assert after is not None
    assert (after["principal"], after["expires"]) == ("user:owner", None)


async def test_all_problems_of_a_token_come_at_once() -> None:
    bad = new("group:tier2", description="d" * 257, expires=NOW)
    with pytest.raises(InvalidError) as raised:
        await usecases.issue_token(store_with(), bad, actor=Actor("user:owner"), now=NOW)
    assert [problem.field for problem in raised.value.problems] == ["principal", "description", "expires"]


async def test_nobody_issues_a_token_for_one_who_may_more() -> None:
    store = store_with(assignment("eve", "Role Administrator", "user:eve"))
    with pytest.raises(DeniedError) as raised:
        await usecases.issue_token(store, new("user:owner"), actor=Actor("user:eve"), now=NOW)
    assert raised.value.reason == "GRANT_EXCEEDS_OWN_RIGHTS"
    assert dict(store.kept.tokens) == {}


async def test_a_token_is_revoked_once() -> None:
    store = store_with(Token(token_id="t1", digest=b"1" * 32, principal="user:bob", description="", created=NOW))
    first, revision = await usecases.revoke_token(store, "t1", now=NOW)
    again, same = await usecases.revoke_token(store, "t1", now=NOW + timedelta(days=1))
    assert first == again == store.kept.tokens["t1"]
    assert (first.revoked, revision, same) == (NOW, 2, 2)
    assert store.written_down() == [("token_revoked", "Token", "t1")]


async def test_a_token_that_is_not_there_cannot_be_revoked() -> None:
    with pytest.raises(NotFoundError):
        await usecases.revoke_token(store_with(), "none", now=NOW)


class TokenFile:
    def __init__(self, failure: Exception | None = None) -> None:
        self.written: list[str] = []
        self._failure = failure

    def write(self, text: str) -> None:
        if self._failure:
            raise self._failure
        self.written.append(text)


async def bootstrap(store: MemoryStore, file: TokenFile, text: str = "epm_first") -> bool:
    return await usecases.bootstrap(store, file, token_id="t1", secret=text, digest=digest_of(text), now=NOW)


async def test_the_first_start_makes_an_owner_and_leaves_its_token() -> None:
    store, file = MemoryStore(), TokenFile()
    assert await bootstrap(store, file)
    assert store.kept.role_assignments == {"owner": OWNERS}
    (token,) = store.kept.tokens.values()
    assert (token.principal, token.digest, token.expires) == ("user:owner", digest_of("epm_first"), None)
    assert file.written == ["epm_first"]
    assert [action for action, *_ in store.written_down()] == ["role_assignment_created", "token_issued"]


async def test_a_later_start_makes_none() -> None:
    store, file = MemoryStore(), TokenFile()
    await bootstrap(store, file)
    assert not await bootstrap(store, file, "epm_second")
    assert file.written == ["epm_first"]
    assert len(store.kept.tokens) == 1


async def test_a_token_that_cannot_be_left_makes_no_owner() -> None:
    store = MemoryStore()
    with pytest.raises(ServiceError):
        await bootstrap(store, TokenFile(StateError("the disk is full")))
    assert dict(store.kept.role_assignments) == {}
    assert await bootstrap(store, TokenFile())
