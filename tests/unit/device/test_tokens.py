from collections.abc import Callable, Sequence
from datetime import timedelta

import pytest

from elevation.model import GroupType
from services._chassis.auth import digest_of
from services._chassis.errors import DeniedError, InvalidError, NotFoundError
from services._chassis.permits import Permit
from services.device.model.tokens import EnrolmentToken, TokenDraft
from services.device.usecases.tokens import create_token, list_tokens, revoke_token
from services.device.usecases.visibility import Standing
from tests.builders.device_database import keep
from tests.builders.devices import a_group, a_token
from tests.fakes.access import permit
from tests.fakes.clock import NOW
from tests.fakes.device import MemoryStore

OWNER = permit(everything=True)
EMEA = permit(tags=("emea",))


def nobody(right: str) -> Permit:
    raise DeniedError(f"nobody has {right}")


async def create(
    store: MemoryStore,
    draft: TokenDraft | None = None,
    *,
    allowed: Permit = OWNER,
    check: Callable[[str], Permit] = lambda _: OWNER,
    excess: Callable[[str], Sequence[str]] = lambda _: (),
) -> EnrolmentToken:
    return await create_token(
        store,
        draft or TokenDraft(),
        permit=allowed,
        standing=Standing(check, excess),
        now=NOW,
        token_id="t1",
        secret="epmenr_x",
    )


async def test_a_token_leads_into_no_scope_group_whose_rights_its_maker_lacks() -> None:
    store = MemoryStore()
    await keep(store, a_group("reach"))
    with pytest.raises(DeniedError, match="scope group"):
        await create(store, TokenDraft(groups=("reach",)), excess=lambda _: ("policy_authoring.assign",))
    assert store.kept.tokens == {}


async def problems_of(draft: TokenDraft, *, check: Callable[[str], Permit] = lambda _: OWNER) -> list[str]:
    store = MemoryStore()
    await keep(
        store,
        a_group("listed"),
        a_group("found", filter='os = "linux"'),
        a_group("people", type=GroupType.USER),
        a_group("hidden", scope_tags=("apac",)),
        a_group("gone", deleted=True),
    )
    with pytest.raises(InvalidError) as refused:
        await create(store, draft, check=check)
    assert store.kept.tokens == {}
    return [problem.field for problem in refused.value.problems]


async def test_a_token_is_kept_as_a_digest_and_counts_for_a_week_unless_it_says_otherwise() -> None:
    store = MemoryStore()
    token = await create(store)
    assert token.digest == digest_of("epmenr_x")
    assert token.expires == NOW + timedelta(days=7)
    assert (token.quota, token.used, token.revoked) == (1, 0, None)
    assert store.kept.tokens == {"t1": token}
    assert store.actions == ["enrolment_token_created"]
    assert "epmenr_x" not in repr(store.kept)


async def test_a_token_keeps_what_was_asked_for_in_sorted_lists() -> None:
    store = MemoryStore()
    await keep(store, a_group("g2"), a_group("g1"))
    draft = TokenDraft(
        description="office",
        quota=100_000,
        expires=NOW + timedelta(seconds=1),
        users=("bob", "alice"),
        allow_reported_users=True,
        groups=("g2", "g1"),
        tags=("b", "a"),
        scope_tags=("emea", "apac"),
    )
    token = await create(store, draft)
    assert (token.description, token.quota, token.expires) == ("office", 100_000, NOW + timedelta(seconds=1))
    assert (token.users, token.groups, token.tags) == (("alice", "bob"), ("g1", "g2"), ("a", "b"))
    assert token.allow_reported_users
    assert token.scope_tags == ("apac", "emea")


async def test_a_token_without_scope_tags_gets_those_of_its_creator_or_default() -> None:
    assert (await create(MemoryStore(), allowed=EMEA)).scope_tags == ("emea",)
    assert (await create(MemoryStore())).scope_tags == ("default",)


async def test_scope_tags_out_of_the_creators_scope_are_refused() -> None:
    with pytest.raises(DeniedError) as refused:
        await create(MemoryStore(), TokenDraft(scope_tags=("emea", "apac")), allowed=EMEA)
    assert refused.value.reason == "SCOPE_TAG_OUT_OF_SCOPE"


async def test_everything_that_is_wrong_with_a_token_is_told_at_once() -> None:
    draft = TokenDraft(
        description="x" * 257,
        quota=0,
        expires=NOW,
        users=("alice", "alice"),
        groups=("listed", "found", "people", "gone", "nobody"),
        tags=("",),
        scope_tags=("a" * 129,),
    )
    assert await problems_of(draft) == [
        "enrolment_token.description",
        "enrolment_token.quota",
        "enrolment_token.expires",
        "enrolment_token.users",
        "enrolment_token.tags[0]",
        "enrolment_token.scope_tags[0]",
        "enrolment_token.groups[1]",
        "enrolment_token.groups[2]",
        "enrolment_token.groups[3]",
        "enrolment_token.groups[4]",
    ]


@pytest.mark.parametrize("quota", [0, 100_001])
async def test_a_quota_out_of_bounds_is_refused(quota: int) -> None:
    assert await problems_of(TokenDraft(quota=quota)) == ["enrolment_token.quota"]


async def test_more_than_a_hundred_groups_are_refused_and_not_looked_up() -> None:
    draft = TokenDraft(groups=tuple(f"g{number}" for number in range(101)))
    assert await problems_of(draft) == ["enrolment_token.groups"]


@pytest.mark.parametrize(
    ("group", "remedy"),
    [
        ("all-devices", 'every device is in "all-devices" already; leave it out'),
        ("all-users", '"all-users" is no group of listed devices; name one that is'),
    ],
)
async def test_a_group_that_always_exists_takes_no_devices_from_tokens(group: str, remedy: str) -> None:
    with pytest.raises(InvalidError) as refused:
        await create(MemoryStore(), TokenDraft(groups=(group,)))
    assert [problem.message for problem in refused.value.problems] == [remedy]


async def test_a_group_that_the_creator_may_not_see_looks_like_one_that_is_not_there() -> None:
    async def message(name: str) -> str:
        store = MemoryStore()
        await keep(store, a_group("hidden", scope_tags=("apac",)))
        with pytest.raises(InvalidError) as refused:
            await create(store, TokenDraft(groups=(name,)), check=lambda _: EMEA)
        return refused.value.message.replace(name, "NAME")

    assert await message("hidden") == await message("nobody")


async def test_who_may_not_update_groups_makes_no_token_that_fills_them() -> None:
    store = MemoryStore()
    await keep(store, a_group("listed"))
    asked: list[str] = []

    def check(right: str) -> Permit:
        asked.append(right)
        return nobody(right)

    with pytest.raises(DeniedError):
        await create(store, TokenDraft(groups=("listed",), quota=0), check=check)
    assert asked == ["groups.update"]
    assert (await create(store, check=nobody)).groups == ()


async def test_a_list_of_tokens_shows_what_the_caller_may_see_newest_first() -> None:
    store = MemoryStore()
    await keep(store, a_token("t1"), a_token("t2", scope_tags=("emea",)), a_token("t3", scope_tags=("emea",)))
    page = await list_tokens(store, permit=EMEA, page_size=1, page_token="")
    rest = await list_tokens(store, permit=EMEA, page_size=1, page_token=page.next_token)
    assert [token.token_id for token in (*page.items, *rest.items)] == ["t3", "t2"]
    assert rest.next_token == ""


async def test_a_token_is_revoked_once_and_again_changes_nothing() -> None:
    store = MemoryStore()
    await keep(store, a_token())
    revoked = await revoke_token(store, "t1", permit=OWNER, now=NOW)
    again = await revoke_token(store, "t1", permit=OWNER, now=NOW + timedelta(days=1))
    assert revoked.revoked == again.revoked == NOW
    assert store.actions == ["enrolment_token_revoked"]


@pytest.mark.parametrize("token_id", ["t1", "nobody"])
async def test_a_token_that_is_hidden_looks_like_one_that_is_not_there(token_id: str) -> None:
    store = MemoryStore()
    await keep(store, a_token())
    with pytest.raises(NotFoundError, match="there is no such enrolment token"):
        await revoke_token(store, token_id, permit=EMEA, now=NOW)
    assert store.kept.tokens["t1"].revoked is None
