"""What holds whatever is applied, deleted and rolled back, in whatever order."""

import asyncio
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from elevation.model import Assignments
from services._chassis.errors import InvalidError, ServiceError, StateError
from services.policy.model.difference import FieldChange, FieldChangeKind, differences
from services.policy.model.documents import document_of
from services.policy.model.objects import Action, AnyContent, Stored
from tests.builders.applying import TEAM, actions, applied, deleting, revision_at, revisions_of, rolled_back
from tests.builders.authoring import Desk, desk
from tests.builders.policy import included, reusable, rule, rules_policy, settings_policy, stored
from tests.fakes.policy import MemoryStore

law = settings(max_examples=60, deadline=None)
OPPOSITE = {
    FieldChangeKind.ADDED: FieldChangeKind.REMOVED,
    FieldChangeKind.REMOVED: FieldChangeKind.ADDED,
    FieldChangeKind.CHANGED: FieldChangeKind.CHANGED,
}

assignments = st.sampled_from(
    [Assignments(), included("laptops"), included("laptops", excluding=["kiosks"]), included("all-devices", "kiosks")]
)
rules = st.builds(
    lambda name, reusable_name, arguments, path: replace(
        rule(name, reusable=reusable_name),
        arguments=arguments,
        detection=replace(rule(name, reusable=reusable_name).detection, file_path=path),
    ),
    st.sampled_from(["a", "b", "c"]),
    st.sampled_from(["", "vendor"]),
    st.sampled_from([None, (), ("/s",), ("/s", "/t")]),
    st.sampled_from(["", "C:\\A"]),
)
contents: st.SearchStrategy[AnyContent] = st.one_of(
    st.builds(
        lambda name, enabled, text, groups: settings_policy(
            name, enabled=enabled, description=text, assignments=groups
        ),
        st.sampled_from(["one", "two"]),
        st.booleans(),
        st.sampled_from(["", "told"]),
        assignments,
    ),
    st.builds(
        lambda name, held, groups: rules_policy(name, *held, assignments=groups),
        st.sampled_from(["one", "two"]),
        st.lists(rules, min_size=1, max_size=3, unique_by=lambda each: each.name),
        assignments,
    ),
    st.builds(lambda pem: reusable(pem=pem), st.sampled_from(["vendor", "vendor-renewed"])),
)


@dataclass(frozen=True)
class Step:
    """Apply some objects, delete others."""

    written: Sequence[AnyContent]
    deleted: Sequence[AnyContent]
    as_code: bool


steps = st.builds(
    Step,
    st.lists(contents, max_size=3, unique_by=lambda each: (type(each), each.name)),
    st.lists(contents, max_size=2, unique_by=lambda each: (type(each), each.name)),
    st.booleans(),
)


async def take(at: Desk[MemoryStore], step: Step) -> bool:
    """Apply a step; tell whether it was let through."""
    try:
        await applied(at, *step.written, deletions=deleting(*step.deleted), owner=TEAM, as_code=step.as_code)
    except (InvalidError, StateError):
        return False
    return True


def kept(at: Desk[MemoryStore]) -> tuple[object, ...]:
    return dict(at.store.objects), at.store.kept_revision, list(at.store.changes)


@law
@given(st.lists(steps, max_size=6))
def test_an_apply_is_all_or_nothing_and_the_same_again_changes_nothing(taken: Sequence[Step]) -> None:
    async def run() -> None:
        at = desk()
        for step in taken:
            before = kept(at)
            if not await take(at, step):
                assert kept(at) == before
                continue
            after = kept(at)
            outcome = await applied(
                at, *step.written, deletions=deleting(*step.deleted), owner=TEAM, as_code=step.as_code
            )
            assert {action for _, action in actions(outcome)} <= {Action.UNCHANGED}
            assert kept(at) == after

    asyncio.run(run())


@law
@given(st.lists(steps, max_size=6))
def test_the_newest_revision_is_the_object_and_what_was_is_never_altered(taken: Sequence[Step]) -> None:
    async def run() -> None:
        at = desk()
        known: dict[tuple[type[AnyContent], str, int], object] = {}
        for step in taken:
            await take(at, step)
            for kind, name in {(type(change.subject.content), change.subject.name) for change in at.store.changes}:
                listed = await revisions_of(at, kind, name)
                assert [each.change for each in listed] == sorted((each.change for each in listed), reverse=True)
                for each in listed:
                    past = await revision_at(at, kind, name, each.change)
                    assert known.setdefault((kind, name, each.change), past) == past
                await newest_is_live(at, kind, name)

    asyncio.run(run())


async def newest_is_live(at: Desk[MemoryStore], kind: type[Any], name: str) -> None:
    newest = await revision_at(at, kind, name)
    async with at.store.reading() as work:
        live = (await work.find(kind, [name])).get(name)
    assert (live is None) == newest.deleted
    if live is not None:
        assert (live.content, live.about.change) == (newest.stored.content, newest.revision.change)
        assert live.about.applied_change <= live.about.change


@law
@given(st.lists(steps, min_size=1, max_size=6), st.data())
def test_rolling_back_brings_old_content_or_is_refused_and_to_the_newest_changes_nothing(
    taken: Sequence[Step], data: st.DataObject
) -> None:
    async def run() -> None:
        at = desk()
        for step in taken:
            await take(at, step)
        if not at.store.changes:
            return
        change = data.draw(st.sampled_from(at.store.changes))
        kind: type[Any] = type(change.subject.content)
        name, before = change.subject.name, kept(at)
        newest = await revision_at(at, kind, name)
        if not newest.deleted:
            await rolled_back(at, kind, name, newest.revision.change, with_assignments=True)
            assert kept(at) == before
        try:
            restored = await rolled_back(at, kind, name, change.revision, with_assignments=True)
        except ServiceError:
            assert kept(at) == before
            return
        assert restored.content == change.subject.content
        old, new = await revision_at(at, kind, name, change.revision), await revision_at(at, kind, name)
        assert [each for each in differences(old.stored, new.stored) if "metadata" not in each.field] == []

    asyncio.run(run())


@law
@given(contents, contents)
def test_a_difference_read_backwards_is_the_difference_backwards(first: AnyContent, second: AnyContent) -> None:
    if type(first) is not type(second):
        return
    forth, back = differences(stored(first), stored(second)), differences(stored(second), stored(first))
    mirrored = [replace(each, kind=OPPOSITE[each.kind], before=each.after, after=each.before) for each in forth]
    assert Counter(mirrored) == Counter(back)
    assert differences(stored(first), stored(first)) == ()


@law
@given(contents, contents)
def test_what_a_difference_tells_makes_one_state_of_the_other(first: AnyContent, second: AnyContent) -> None:
    if type(first) is not type(second):
        return
    before, after = stored(first), stored(second)
    assert plain(patched(blocks(before), differences(before, after))) == plain(blocks(after))


def blocks(item: Stored[AnyContent]) -> dict[str, Any]:
    """Return an object's own fields under the rule without a name, and each rule under its own."""
    document = json.loads(json.dumps(document_of(item)))
    spec = document["spec"]
    found = {each["name"]: each for each in spec.pop("rules", [])}
    metadata = {name: value for name, value in document["metadata"].items() if name != "name"}
    return {"": {**spec, "metadata": metadata}, **found}


def patched(state: dict[str, Any], changes: Iterable[FieldChange]) -> dict[str, Any]:
    """Do to a state what changes tell."""
    for change in changes:
        before, after = (json.loads(value) if value else None for value in (change.before, change.after))
        if change.rule and not change.field:
            state.pop(change.rule, None)
            if change.kind is FieldChangeKind.ADDED:
                state[change.rule] = after
            continue
        *way, last = change.field.split(".")
        block = state[change.rule]
        for step in way:
            block = block.setdefault(step, {})
        present = block.get(last)
        if isinstance(present, list) and not isinstance(before if before is not None else after, list):
            if before is not None:
                present.remove(next(entry for entry in present if plain(entry) == plain(before)))
            else:
                present.append(after)
        elif change.kind is FieldChangeKind.REMOVED:
            del block[last]
        else:
            assert plain(present if present is not None else "") == plain(before if before is not None else "")
            block[last] = after
    return state


def plain(value: Any) -> Any:
    """Leave out what says nothing, and the order of lists."""
    if isinstance(value, Mapping):
        kept_fields = {name: plain(each) for name, each in value.items()}
        if not kept_fields.get("filter"):
            kept_fields.pop("filterMode", None)
        return {name: each for name, each in kept_fields.items() if each not in ("", {})}
    if isinstance(value, list):
        return sorted((plain(each) for each in value), key=lambda each: json.dumps(each, sort_keys=True))
    return value
