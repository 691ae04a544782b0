"""Make, list and revoke enrolment tokens."""

from dataclasses import replace
from datetime import datetime

from elevation.checks import BUILT_IN_GROUPS
from elevation.model import ALL_DEVICES
from services._chassis.audit import AuditEntry
from services._chassis.auth import digest_of
from services._chassis.errors import InvalidError, NotFoundError, Problem
from services._chassis.paging import Page, page_request
from services._chassis.permits import Permit
from services.device.model.devices import Attested
from services.device.model.tokens import DEFAULT_LIFETIME, MOST_GROUPS, EnrolmentToken, TokenDraft, check_draft
from services.device.ports import Store, Work
from services.device.usecases.reach import refuse_other_members, refuse_other_reach, refuse_others_rights
from services.device.usecases.visibility import Standing, refuse_foreign_tags


async def create_token(
    store: Store,
    draft: TokenDraft,
    *,
    permit: Permit,
    standing: Standing,
    now: datetime,
    token_id: str,
    secret: str,
) -> EnrolmentToken:
    """Keep a new token whose text is `secret`.

    Devices of the token join its groups, so the caller needs `groups.update` for them. Raises DeniedError for that and
    for scope tags out of the caller's scope, for groups that give others their reach and for what brings devices within
    reach of policies that are not the caller's to assign, InvalidError with all problems. A token for one device changes
    nothing that is said of it, so whoever may enrol it may make one.
    """
    may_update = standing.check("groups.update") if draft.groups else Permit()
    refuse_foreign_tags(permit, draft.scope_tags)
    async with store.transaction() as work:
        problems = [*check_draft(draft, now), *await _group_problems(work, draft, may_update)]
        problems += standing.missing("enrolment_token.scope_tags", draft.scope_tags)
        if problems := [*problems, *await _device_problems(work, draft, permit)]:
            raise InvalidError(problems)
        await refuse_others_rights(work, standing, draft.groups)
        await _refuse_reach(work, draft, standing)
        token = EnrolmentToken(
            token_id=token_id,
            digest=digest_of(secret),
            created=now,
            description=draft.description,
            quota=draft.quota,
            expires=draft.expires or now + DEFAULT_LIFETIME,
            users=tuple(sorted(draft.users)),
            allow_reported_users=draft.allow_reported_users,
            groups=tuple(sorted(draft.groups)),
            tags=tuple(sorted(draft.tags)),
            scope_tags=tuple(sorted(draft.scope_tags or permit.tags_for_new_object())),
            device_id=draft.device_id,
            device_names=tuple(sorted(draft.device_names)),
        )
        await work.tokens.save(token)
        entry = AuditEntry(
            action="enrolment_token_created", target_kind="enrolment_token", target=token_id, after=token.shown()
        )
        await work.audit(entry, now=now)
    return token


async def list_tokens(store: Store, *, permit: Permit, page_size: int, page_token: str) -> Page[EnrolmentToken]:
    """Return a page of the tokens that the caller may see, newest first."""
    request = page_request(page_size=page_size, page_token=page_token, question="enrolment_tokens")
    async with store.read() as work:
        return await work.tokens.page(request, permit.visible_tags())


async def revoke_token(store: Store, token_id: str, *, permit: Permit, now: datetime) -> EnrolmentToken:
    """Let nobody in by the token any more; again changes nothing. Raises NotFoundError."""
    async with store.transaction() as work:
        token = await work.tokens.get(token_id)
        if token is None or not permit.sees(token.scope_tags):
            raise NotFoundError("there is no such enrolment token; list them for their ids")
        if token.revoked is not None:
            return token
        revoked = replace(token, revoked=now)
        await work.tokens.save(revoked)
        entry = AuditEntry(
            action="enrolment_token_revoked",
            target_kind="enrolment_token",
            target=token_id,
            before=token.shown(),
            after=revoked.shown(),
        )
        await work.audit(entry, now=now)
    return revoked


async def _refuse_reach(work: Work, draft: TokenDraft, standing: Standing) -> None:
    await refuse_other_members(work, standing, draft.groups)
    described = Attested(users=draft.users, tags=draft.tags)
    await refuse_other_reach(work, standing, before=Attested(), after=described, anybody=draft.allow_reported_users)


async def _device_problems(work: Work, draft: TokenDraft, permit: Permit) -> list[Problem]:
    """Find why the one device of the token cannot enrol again; one that the caller may not see looks like one that is not there."""
    if not draft.device_id:
        return []
    device = await work.devices.get(draft.device_id)
    if device is None or not permit.sees(device.attested.scope_tags):
        return [Problem("enrolment_token.device_id", "names no device; list the devices for their ids")]
    if device.is_banned:
        return [Problem("enrolment_token.device_id", "names a device that is banned; lift the ban first")]
    return []


async def _group_problems(work: Work, draft: TokenDraft, may_update: Permit) -> list[Problem]:
    """Find groups that devices cannot join; one that the caller may not change looks like one that is not there."""
    if len(draft.groups) > MOST_GROUPS:
        return []  # a problem of its own; nothing is looked up for it
    found = await work.groups.many(draft.groups)
    problems: list[Problem] = []
    for number, name in enumerate(draft.groups):
        group = found.get(name)
        if name == ALL_DEVICES:
            message = f'every device is in "{name}" already; leave it out'
            problems.append(Problem(f"enrolment_token.groups[{number}]", message))
        elif name not in BUILT_IN_GROUPS and (group is None or not may_update.sees(group.scope_tags)):
            problems.append(Problem(f"enrolment_token.groups[{number}]", f'there is no group "{name}"; make it first'))
        elif group is None or not group.lists_devices:
            message = f'"{name}" is no group of listed devices; name one that is'
            problems.append(Problem(f"enrolment_token.groups[{number}]", message))
    return problems
