"""What a plan makes of files and server, and what becomes of a plan when the server moves on."""

from typing import Any

import pytest

from epmctl.ascode.application import Outcome
from epmctl.ascode.binding import Terms, terms_of
from epmctl.ascode.canonical import Ref
from epmctl.ascode.difference import Cause
from epmctl.ascode.live import Live, LiveObject
from epmctl.ascode.plan import Action, Drift, Owner, Past, make_plan
from epmctl.ascode.prepare import UNSEEN, reconciled, settled
from epmctl.documents.model import Kind
from epmctl.errors import CommandError

US = Owner("owner", "us")
Document = dict[str, Any]


def policy(name: str = "p", text: str = "first", **metadata: Any) -> Document:
    rules = [{"name": "r", "description": text}]
    return {"metadata": {"name": name, **metadata}, "spec": {"platform": "LINUX", "rules": rules}}


def ref(name: str = "p", kind: Kind = Kind.ElevationRulesPolicy) -> Ref:
    return kind, name


def live(*documents: Document, etag: str = "1", unread: frozenset[Kind] = frozenset()) -> Live:
    objects = [
        LiveObject(
            kind=Kind.ElevationRulesPolicy,
            name=document["metadata"]["name"],
            document=document,
            etag=etag,
            updated="2026-11-23T12:00:00.250Z",
            updated_by="user:bob",
        )
        for document in documents
    ]
    return Live({one.ref: one for one in objects}, unread)


def files(*documents: Document) -> dict[Ref, Document]:
    return {ref(document["metadata"]["name"]): document for document in documents}


def actions(plan: Any) -> dict[str, Action]:
    return {one.ref[1]: one.action for one in plan.objects}


def test_objects_are_created_updated_and_left_alone() -> None:
    plan = make_plan(
        files(policy("new"), policy("old", "second"), policy("same")), live(policy("old"), policy("same")), {}
    )
    assert actions(plan) == {"new": Action.CREATE, "old": Action.UPDATE, "same": Action.UNCHANGED}
    assert [one.ref[1] for one in plan.changes] == ["new", "old"]


def test_every_object_of_the_files_is_expected_as_it_was_those_that_stay_too() -> None:
    plan = make_plan(files(policy("new"), policy("same")), live(policy("same"), etag="7"), {})
    assert terms_of(plan) == Terms({ref("new"): "", ref("same"): "7"})


def test_files_that_say_nothing_of_scope_tags_keep_those_of_the_object() -> None:
    plan = make_plan(files(policy(labels={"a": "b"})), live(policy(scopeTags=["emea"], labels={"a": "b"})), {})
    assert actions(plan) == {"p": Action.UNCHANGED}


def test_scope_tags_that_somebody_else_changed_are_no_drift_of_files_that_say_nothing_of_them() -> None:
    past = Past(policy(scopeTags=["emea"]))
    plan = make_plan(files(policy(text="second")), live(policy(scopeTags=["apac"])), {ref(): past})
    assert [(field.field, field.cause) for field in plan.changes[0].fields] == [("description", Cause.FILES)]


def test_without_pruning_nothing_is_deleted() -> None:
    plan = make_plan({}, live(policy(labels={"owner": "us"})), {}, owner=US)
    assert plan.objects == ()


def test_pruning_deletes_what_carries_the_label_and_stands_in_no_file() -> None:
    there = live(
        policy("mine", labels={"owner": "us"}),
        policy("gone", labels={"owner": "us"}),
        policy("theirs", labels={"owner": "them"}),
        policy("nobodys"),
    )
    plan = make_plan(files(policy("mine", labels={"owner": "us"})), there, {}, owner=US, prune=True)
    assert actions(plan) == {"mine": Action.UNCHANGED, "gone": Action.DELETE}
    assert terms_of(plan) == Terms({ref("mine"): "1", ref("gone"): "1"}, (ref("gone"),), US)


def test_who_deleted_an_object_by_hand_is_told_where_it_is_made_again() -> None:
    drift = (Drift("user:eve", "2026-11-23T12:00:00Z", "DELETED"),)
    plan = make_plan(files(policy()), live(), {ref(): Past(None, drift)})
    assert (plan.changes[0].action, plan.changes[0].drift) == (Action.CREATE, drift)


def test_what_is_the_same_to_the_server_is_no_change_and_what_it_would_change_is_one() -> None:
    plan = make_plan(files(policy("a", "second"), policy("b")), live(policy("a"), policy("b")), {})
    outcomes = [Outcome("ElevationRulesPolicy", "a", "UNCHANGED"), Outcome("ElevationRulesPolicy", "b", "UPDATED")]
    seen = reconciled(plan, outcomes)
    assert actions(seen) == {"a": Action.UNCHANGED, "b": Action.UPDATE}
    assert [field.field for one in seen.changes for field in one.fields] == [UNSEEN]


def test_of_kinds_that_may_not_be_read_the_server_tells_what_would_become_of_them() -> None:
    plan = make_plan(files(policy()), live(unread=frozenset({Kind.ElevationRulesPolicy})), {})
    seen = reconciled(plan, [Outcome("ElevationRulesPolicy", "p", "UPDATED")])
    assert (terms_of(plan), actions(seen)) == (Terms({}), {"p": Action.UPDATE})


def test_a_plan_fits_a_server_that_stayed_as_it_was() -> None:
    terms = Terms({ref(): "1", ref("new"): ""})
    assert settled(terms, files(policy(text="second"), policy("new")), live(policy())) == terms


def test_what_an_earlier_apply_of_the_plan_has_done_is_expected_as_it_is_now() -> None:
    wanted = files(policy(text="second"), policy("new"))
    there = live(policy(text="second"), policy("new"), etag="9")
    assert settled(Terms({ref(): "1", ref("new"): ""}), wanted, there) == Terms({ref(): "9", ref("new"): "9"})


def test_deletions_that_are_done_are_asked_for_no_more() -> None:
    terms = Terms({ref("gone"): "1", ref("there"): "1"}, (ref("gone"), ref("there")), US)
    assert settled(terms, {}, live(policy("there"))) == Terms({ref("there"): "1"}, (ref("there"),), US)


def test_every_object_that_moved_on_is_named_with_who_moved_it() -> None:
    wanted = files(policy("changed", "second"), policy("made"), policy("lost", "second"))
    there = live(policy("changed", "third"), policy("made", "other"), policy("kept"), etag="9")
    terms = Terms({ref("changed"): "1", ref("made"): "", ref("lost"): "1", ref("kept"): "1"}, (ref("kept"),), US)
    with pytest.raises(CommandError) as refused:
        settled(terms, wanted, there)
    by = "by user:bob at 2026-11-23T12:00:00Z"
    assert refused.value.lines == (
        f'ElevationRulesPolicy "changed" has changed, {by}: since this was planned',
        f'ElevationRulesPolicy "made" is there already, {by}: since this was planned',
        'ElevationRulesPolicy "lost" is not there any more: since this was planned',
        f'ElevationRulesPolicy "kept" has changed, {by}: since this was planned',
        "nothing was applied: plan again",
    )
