"""Whatever was seen: a proposed rule recognises that file, and a save takes it as it is; else the reason is said."""

import asyncio
from dataclasses import replace
from typing import Any, NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from elevation.codec.rules import decode_rule
from elevation.commandline import split
from elevation.matching import Facts, compile_detection, matches
from elevation.model import (
    ChildProcesses,
    ElevationType,
    FileEvidence,
    Platform,
    ReusableCertificate,
    RulesPolicy,
    Signer,
)
from services._chassis.errors import InvalidError
from services.policy.codec.drafts import rules_policy_from_proto
from services.policy.codec.proposals import proposed_to_proto
from services.policy.model.certificates import fingerprint_of
from services.policy.model.evidence import Evidence, Wishes
from services.policy.usecases.analysis.drafted import Drafting
from services.policy.usecases.analysis.lint_desk import LintDesk
from services.policy.usecases.analysis.proposal import ProposalWanted, ProposedPolicy, propose_rule
from services.policy.usecases.authoring import create_object, update_object
from services.policy.usecases.means import Means
from services.policy.usecases.newest import newest_corpus
from services.policy.usecases.scope import CREATE, UPDATE
from tests.builders.authoring import desk_at
from tests.builders.elevation import HASH, certificate, policy, rule
from tests.builders.rollouts import ALL, World
from tests.fakes.clock import NOW
from tests.fakes.policy_delivery import FakeDirectories, device, stored
from tests.fakes.policy_delivery import settings as settings_policy

CERTIFICATES = [certificate(name) for name in ("vendor", "other", "expired", "future")]
VENDOR = ReusableCertificate("vendor", certificate("vendor"))
ODD = "ab1._- *?[]()\x07\x00\u202e\u0456é語\"'|/\\:"
FIELDS = {
    "rule_name",
    "origin",
    "file.path",
    "file.sha256",
    "file.version",
    "same_path",
    "by_publisher",
    "same_arguments",
    "certificates",
    "arguments",
    "policy",
}
names = st.text(st.sampled_from(ODD), max_size=12) | st.sampled_from(
    [
        "setup",
        "VSCodeSetup-x64",
        "a" * 300,
        "a" * 250,
        "Setup-2",
        "ünï",
        "..",
        "con",
        "\u0440\u0430\u0443\u0440\u0430l",
        " setup ",
    ]
)
extensions = st.sampled_from(["", ".exe", ".msi", ".ps1", ".EXE", ".sh", ".pkg", ".a*e"])
folders = st.sampled_from(["", "dir", "Program Files (x86)/It", "a*b", "x.", "x" * 200, "é/語"])
facts = st.sampled_from(
    ["", "It", " It ", "a\x07b", "\u202eit", "x" * 1025, "語", "1.2.3.4", "1.84", "1.2.3.4.5", "v1"]
)


class Seen(NamedTuple):
    """Hold what is asked, and the signature that the file really has."""

    wanted: ProposalWanted
    signers: tuple[Signer, ...]


@st.composite
def seen(draw: st.DrawFn) -> Seen:
    """Draw what was seen, and what kind of rule is wanted."""
    platform = draw(st.sampled_from(Platform))
    mark = "\\" if platform is Platform.WINDOWS else "/"
    root = "C:\\" if platform is Platform.WINDOWS else "/"
    folder = draw(folders).replace("/", mark)
    path = root + (folder + mark if folder else "") + draw(names) + draw(extensions)
    leaf = draw(st.none() | st.sampled_from(CERTIFICATES))
    told = leaf is not None and draw(st.booleans())
    file = FileEvidence(
        path=draw(st.sampled_from([path, path, path, "setup.exe", ""])),
        sha256=draw(st.sampled_from([*[HASH, HASH.upper()] * 4, "", "12"])),
        version=draw(facts),
        description=draw(facts),
        product_name=draw(facts),
        internal_name=draw(facts),
        root_only_path=True,
    )
    evidence = Evidence(
        file=file,
        platform=platform,
        publisher_fingerprint="" if leaf is None else fingerprint_of(leaf),
        certificates=(leaf,) if told and leaf is not None else (),
        arguments=tuple(draw(st.lists(st.text(st.sampled_from("ab \t\"'\\\n\x07é$"), max_size=6), max_size=3))),
    )
    wishes = Wishes(
        elevation_type=draw(st.sampled_from(ElevationType)),
        same_path=draw(st.booleans()),
        same_arguments=draw(st.booleans()),
        by_publisher=draw(st.booleans()),
        rule_name=draw(st.sampled_from([*[""] * 9, "mine", "FIRST", "a\x07"])),
        origin=draw(st.sampled_from([*["", "event 5f0c"] * 5, "\u202e"])),
    )
    into = draw(st.sampled_from(["", f"tools-{platform.value}"]))
    signers = () if leaf is None else (Signer(leaf, trusted=True),)
    return Seen(ProposalWanted(evidence=evidence, wishes=wishes, policy=into), signers)


class House:
    """Author what is proposed, with lint's own errors."""

    def __init__(self) -> None:
        self.world = World(FakeDirectories(device("d1")))
        kept = [
            policy(
                rule("first", file_hash=HASH, children=ChildProcesses.DENY),
                name=f"tools-{platform.value}",
                platform=platform,
            )
            for platform in Platform
        ]
        self.world.author(stored(settings_policy()), *map(stored, kept), certificates=[VENDOR])
        self.newest = self.world.store, self.world.book, self.world.caught_up

    async def propose(self, wanted: ProposalWanted) -> ProposedPolicy:
        linting = self.linting()
        try:
            drafting = Drafting(*self.newest, self.means(linting))
            return await propose_rule(drafting, linting, wanted, permit=ALL, now=NOW)
        finally:
            await linting.close()

    async def save(self, made: RulesPolicy, etag: str, draft: Any) -> None:
        linting = self.linting()
        at = desk_at(self.world.store)
        async with at.store.writing() as work:
            if etag:
                await update_object(work, self.means(linting), draft, author=at.author("root", UPDATE))
            else:
                await create_object(work, self.means(linting), draft, author=at.author("root", CREATE))
        assert any(change.after and change.after.content == made for change in at.store.changes)
        await linting.close()

    def linting(self) -> LintDesk:
        return LintDesk(
            lambda: newest_corpus(*self.newest), self.world.directories, now=lambda: NOW, monotonic=lambda: 0.0
        )

    def means(self, linting: LintDesk) -> Means:
        return Means(directories=self.world.directories, linting=linting)


async def proposed_and_saved(asked: Seen) -> ProposedPolicy | InvalidError:
    house = House()
    try:
        made = await house.propose(asked.wanted)
    except InvalidError as refused:
        return refused
    answer = proposed_to_proto(made)
    draft = rules_policy_from_proto(answer.rules_policy)
    assert (draft.flaws, draft.content, decode_rule(answer.rule)) == ((), made.content, made.rule)
    await house.save(made.content, answer.rules_policy.metadata.etag, draft)
    return made


@settings(max_examples=300)
@given(seen())
def test_what_is_proposed_is_saved_as_it_is_and_recognises_the_file(asked: Seen) -> None:
    found = asyncio.run(proposed_and_saved(asked))
    if isinstance(found, InvalidError):
        assert found.problems
        assert {problem.field for problem in found.problems} <= FIELDS, found.problems
        return
    evidence, wishes = asked.wanted.evidence, asked.wanted.wishes
    file = replace(evidence.file, signers=asked.signers)
    tests = compile_detection(found.rule.detection, evidence.platform, {VENDOR.name: VENDOR.certificate})
    assert matches(tests, Facts(file, evidence.platform, NOW))
    assert found.rule.elevation_type is wishes.elevation_type
    if wishes.same_arguments:
        lines = [split(line, evidence.platform) for line in found.rule.arguments or ()]
        assert lines == ([evidence.arguments] if evidence.arguments else [])


@given(seen())
def test_plain_evidence_is_never_refused(asked: Seen) -> None:
    last = "setup.exe"
    folder = "C:\\It\\" if asked.wanted.evidence.platform is Platform.WINDOWS else "/it/"
    evidence = replace(
        asked.wanted.evidence, file=replace(asked.wanted.evidence.file, path=folder + last, sha256=HASH), arguments=()
    )
    wishes = replace(asked.wanted.wishes, by_publisher=False, same_arguments=False, rule_name="", origin="")
    found = asyncio.run(proposed_and_saved(Seen(replace(asked.wanted, evidence=evidence, wishes=wishes), ())))
    assert isinstance(found, ProposedPolicy)
