"""A place to author policies in: a store in memory, a directory, and administrators with their scopes."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import Any, Generic, TypeVar

from elevation.model import GroupType
from services._chassis.paging import Page
from services.policy.model.drafts import Draft, NewAssignments
from services.policy.model.edits import Edited, Written
from services.policy.model.findings import subject_of
from services.policy.model.listing import Wanted
from services.policy.model.objects import AnyContent, Item, Stored, kind_of
from services.policy.ports import Store, Work
from services.policy.usecases import authoring, listing
from services.policy.usecases.calls import Call, Form, answer_once
from services.policy.usecases.means import Means
from services.policy.usecases.scope import ASSIGN, CREATE, READ, UPDATE, Author
from tests.builders.policy import creation, stored
from tests.fakes.access import FakeAccess
from tests.fakes.clock import NOW, FakeClock
from tests.fakes.policy import FakeDirectories, FakeLinting, MemoryStore

AnyStore = TypeVar("AnyStore", bound=Store)
DELETE = "policy_authoring.delete"
AUTHORING = (CREATE, READ, UPDATE, DELETE, ASSIGN)
GROUPS = {"developers": GroupType.USER, "laptops": GroupType.DEVICE, "kiosks": GroupType.DEVICE}


@dataclass
class Desk(Generic[AnyStore]):
    """Author policies as somebody."""

    store: AnyStore
    directories: FakeDirectories = field(default_factory=lambda: FakeDirectories(GROUPS))
    access: FakeAccess = field(default_factory=lambda: FakeAccess(FakeClock()))
    linting: FakeLinting = field(default_factory=FakeLinting)
    most_rules: int = 100
    tags: frozenset[str] = frozenset()
    """Scope tags that there are; none where that is not known."""

    @property
    def means(self) -> Means:
        """Return what the verbs need beside the store."""
        return Means(
            directories=self.directories,
            linting=self.linting,
            most_rules=self.most_rules,
            known_tags=lambda: self.tags,
        )

    def hire(
        self,
        name: str,
        rights: Iterable[str] = AUTHORING,
        *,
        tags: Iterable[str] = (),
        groups: Iterable[str] = (*GROUPS, "all-devices", "all-users"),
    ) -> None:
        """Give somebody rights within a scope."""
        self.access.grant(f"user:{name}", rights, scope_tags=tags, scope_groups=groups)

    def author(self, name: str, right: str, *, now: datetime = NOW) -> Author:
        """Act as somebody, in a call that needs the right. Raises DeniedError if they lack it."""
        principal = f"user:{name}"
        check = partial(self.access.control.check, principal)
        return Author(principal=principal, permit=check(right), check=check, now=now)

    async def keep(self, content: Item, *tags: str) -> Stored[Item]:
        """Have an object in the store, whoever made it."""
        async with self.store.writing() as work:
            item = stored(content, *tags, revision=await work.next_revision())
            await work.save(creation(item))
        return item

    async def create(self, content: Item, *, by: str = "root", tags: Iterable[str] = ()) -> Stored[Item]:
        """Create an object."""
        return (await self.submit(draft(content, tags=tags), by=by)).stored

    async def submit(self, wanted: Draft[Item], *, by: str = "root") -> Written[Item]:
        """Create an object from a draft."""
        async with self.store.writing() as work:
            return await authoring.create_object(work, self.means, wanted, author=self.author(by, CREATE))

    async def create_once(
        self,
        content: Item,
        request_id: str,
        *,
        by: str = "root",
        digest: bytes = b"1",
        now: datetime = NOW,
        validate_only: bool = False,
    ) -> str:
        """Create an object in a call that is made once; return its etag and what lint finds, as the call is answered."""
        author = replace(self.author(by, CREATE, now=now), validate_only=validate_only)

        async def verb(work: Work) -> tuple[str, Edited]:
            made = await authoring.create_object(work, self.means, draft(content), author=author)
            return made.stored.about.etag, made

        form = Form(
            write=str.encode,
            read=bytes.decode,
            subjects=lambda _: frozenset({subject_of(content)}),
            tell=lambda answer, findings: " ".join([answer, *(finding.check for finding in findings)]),
        )
        call = Call(request_id, digest)
        return await answer_once(self.store, call, verb, form=form, author=author, linting=self.linting)

    async def update(
        self, content: Item, *, etag: str, by: str = "root", tags: Iterable[str] = (), now: datetime = NOW
    ) -> Stored[Item]:
        """Replace an object."""
        wanted = draft(content, tags=tags, etag=etag)
        async with self.store.writing() as work:
            made = await authoring.update_object(work, self.means, wanted, author=self.author(by, UPDATE, now=now))
        return made.stored

    async def assign(
        self, kind: type[Item], new: NewAssignments, *, by: str = "root", now: datetime = NOW
    ) -> Stored[Item]:
        """Replace the assignments of a policy."""
        async with self.store.writing() as work:
            made = await authoring.assign_policy(work, self.means, kind, new, author=self.author(by, ASSIGN, now=now))
        return made.stored

    async def read(self, kind: type[Item], name: str, *, by: str = "root") -> Stored[Item]:
        """Read an object."""
        return await authoring.get_object(self.store, kind, name, permit=self.author(by, READ).permit)

    async def list(self, kind: type[Item], *, by: str = "root", **wanted: Any) -> Page[Stored[Item]]:
        """Ask for a page of a list."""
        permit = self.author(by, READ).permit
        return await listing.list_objects(self.store, kind, Wanted(**wanted), permit=permit)

    async def delete(self, kind: type[AnyContent], name: str, *, etag: str = "", by: str = "root") -> None:
        """Delete an object."""
        async with self.store.writing() as work:
            await authoring.delete_object(work, kind, name, etag=etag, author=self.author(by, DELETE))


def desk() -> Desk[MemoryStore]:
    """Make a desk in memory with `root`, who sees and may do everything."""
    return desk_at(MemoryStore())


def desk_at(store: AnyStore) -> Desk[AnyStore]:
    """Make a desk at a store with `root`, who sees and may do everything."""
    made = Desk(store)
    made.access.owner("user:root")
    return made


def draft(content: Item, *, tags: Iterable[str] = (), etag: str = "") -> Draft[Item]:
    """Hand in an object, labelled the way `stored` labels what it makes."""
    return Draft(
        place=kind_of(type(content)).one,
        content=content,
        scope_tags=frozenset(tags),
        labels={"owner": "team"},
        etag=etag,
    )
