"""Make plans with a server, and fit plans that were made before to the server of now."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from epmctl.ascode.application import Application, Outcome
from epmctl.ascode.binding import Terms, bind, kinds_of, terms_of
from epmctl.ascode.canonical import POLICY_KINDS, Ref, of_documents, place_in_order
from epmctl.ascode.difference import FieldAction, FieldChange
from epmctl.ascode.history import read_pasts
from epmctl.ascode.live import Live, LiveObject, read_live, said_of_unread
from epmctl.ascode.plan import Action, Documents, ObjectChange, Owner, Plan, make_plan, refuse_strangers, wanted_of
from epmctl.client import Client
from epmctl.documents.model import Document
from epmctl.documents.wire import Requests, to_requests
from epmctl.errors import CommandError
from epmctl.output import show, whole_seconds

UNSEEN: Final = "something that only the server sees"
"""What differs where the server would update an object and no field does."""

_ACTIONS: Final = {"CREATED": Action.CREATE, "UPDATED": Action.UPDATE, "UNCHANGED": Action.UNCHANGED}


@dataclass(frozen=True, slots=True)
class Prepared:
    """A plan, the requests that carry it out, and what has to be said beside it."""

    plan: Plan
    files: Documents
    requests: Requests
    application: Application
    notes: tuple[str, ...]


def prepare(
    client: Client, documents: Sequence[Document], *, owner: Owner | None, prune: bool, deleted: bool = True
) -> Prepared:
    """Read what the server holds and plan; with `deleted`, who deleted what is to be created is asked too."""
    if owner is not None:
        refuse_strangers(documents, owner)
    files = of_documents(documents)
    wanted = kinds_of(files)
    live = read_live(client, [*wanted, *sorted(POLICY_KINDS - {*wanted}, key=str)] if prune else wanted)
    named = [*files, *(one.ref for one in live.owned((owner.key, owner.value)))] if owner and prune else [*files]
    pasts = read_pasts(client, live, [ref for ref in dict.fromkeys(named) if deleted or ref in live.objects])
    plan = make_plan(files, live, pasts, owner=owner, prune=prune)
    requests = to_requests(documents)
    bind(requests, terms_of(plan))
    application = Application(client, requests, documents, unchanged=plan.unchanged)
    return Prepared(plan, files, requests, application, tuple(_notes(live)))


def reconciled(plan: Plan, outcomes: Iterable[Outcome]) -> Plan:
    """Give a plan as the server sees it: it alone knows what is the same to it."""
    told = {(outcome.kind, outcome.name): _ACTIONS.get(outcome.action) for outcome in outcomes}
    objects = [_as_told(one, told.get((one.ref[0].name, one.ref[1]))) for one in plan.objects]
    for ref in plan.unchecked:
        action = told.get((ref[0].name, ref[1])) or Action.UNCHANGED
        objects.append(ObjectChange(ref=ref, action=action, etag="", fields=_unseen(action)))
    return replace(plan, objects=tuple(sorted(objects, key=lambda one: place_in_order(one.ref))))


def same_already(files: Documents, live: Live) -> frozenset[Ref]:
    """Name the objects that the server holds as files say."""
    return make_plan(files, live, {}).unchanged


def settled(terms: Terms, files: Documents, live: Live) -> Terms:
    """Fit the terms of an older plan to the server of now.

    What is as planned already, since an earlier apply got that far, goes on as it is. Raises CommandError naming every object
    that is neither as it was nor as it is wanted.
    """
    etags: dict[Ref, str] = {}
    stale: list[str] = []
    for ref, etag in terms.etags.items():
        now = live.objects.get(ref)
        have = now.etag if now else ""
        if ref[0] in live.unread or have == etag:
            etags[ref] = etag
        elif _is_done(ref, now, terms, files):
            etags[ref] = have
        else:
            stale.append(_said_of_stale(ref, etag, now))
    if stale:
        raise CommandError(*stale, "nothing was applied: plan again")
    gone = {ref for ref in terms.deletions if ref not in live.objects and ref[0] not in live.unread}
    left = tuple(ref for ref in terms.deletions if ref not in gone)
    kept: Mapping[Ref, str] = {ref: etag for ref, etag in etags.items() if ref not in gone}
    return Terms(kept, left, terms.owner if left else None)


def _as_told(one: ObjectChange, told: Action | None) -> ObjectChange:
    if one.action is Action.UPDATE and told is Action.UNCHANGED:
        return replace(one, action=Action.UNCHANGED, fields=())
    if one.action is Action.UNCHANGED and told is Action.UPDATE:
        return replace(one, action=Action.UPDATE, fields=_unseen(Action.UPDATE))
    return one


def _unseen(action: Action) -> tuple[FieldChange, ...]:
    return (FieldChange("", UNSEEN, FieldAction.CHANGED, None, None),) if action is Action.UPDATE else ()


def _is_done(ref: Ref, now: LiveObject | None, terms: Terms, files: Documents) -> bool:
    if ref in terms.deletions:
        return now is None
    return now is not None and wanted_of(files[ref], now) == now.document


def _said_of_stale(ref: Ref, etag: str, now: LiveObject | None) -> str:
    kind, name = ref
    who = f", by {show(now.updated_by)} at {whole_seconds(now.updated)}" if now is not None and now.updated_by else ""
    what = "is not there any more" if now is None else f"has changed{who}" if etag else f"is there already{who}"
    return f'{kind.name} "{show(name)}" {what}: since this was planned'


def _notes(live: Live) -> Iterable[str]:
    if unread := said_of_unread(live.unread):
        yield f"you may not read {', '.join(unread)}: changes that others make to those meanwhile are not noticed"
