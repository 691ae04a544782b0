"""Propose a rule for a file that was seen, in the policy that it would be saved in."""

import asyncio
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from elevation import lookalikes
from elevation.lint.findings import Finding, Subject
from elevation.matching import DetectionError, Facts, compile_detection, matches
from elevation.model import Certificate, Platform, Rule, RulesPolicy, Signer
from services._chassis.errors import InvalidError, NotFoundError, Problem
from services._chassis.permits import Permit
from services.policy.model.certificates import fingerprint_of
from services.policy.model.drafts import Draft, revised
from services.policy.model.edits import Edit, Touched
from services.policy.model.evidence import Evidence, Wishes, description, made_name, unique
from services.policy.model.findings import not_accepted, subject_of
from services.policy.model.objects import Corpus, Stored, kind_of
from services.policy.model.proposal import Proposal, propose
from services.policy.ports import Linting
from services.policy.usecases.analysis.drafted import Drafted, Drafting, Overlay

MOST_EXISTING: Final = 200
"""Rules that recognise the file already of which an answer tells."""

_DRAFT: Final = "rules_policy"
_FIELDS: Final = (
    (r"rules\[{at}\]\.name", "rule_name"),
    (r"rules\[{at}\]\.description", "origin"),
    (r"rules\[{at}\]\.detection\.file_name", "file.path"),
    (r"rules\[{at}\]\.detection\.file_path", "same_path"),
    (r"rules\[{at}\]\.detection\.file_hash", "file.sha256"),
    (r"rules\[{at}\]\.detection\.minimum_version", "file.version"),
    (r"rules\[{at}\]\.detection\.certificate.*", "certificates"),
    (r"rules\[{at}\]\.arguments.*", "arguments"),
)
"""What each field of the rule was made from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProposalWanted:
    """Say what was seen, and what kind of rule is wanted; `flaws` could not be read."""

    evidence: Evidence
    wishes: Wishes
    policy: str = ""
    """Empty: a new one."""
    flaws: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True)
class ProposedPolicy:
    """Hold a rule in its policy, and what is to be known before it is saved."""

    rule: Rule
    content: RulesPolicy
    existing: Stored[RulesPolicy] | None
    notes: tuple[str, ...]
    findings: tuple[Finding, ...]
    recognised_by: tuple[Subject, ...]


async def propose_rule(
    drafting: Drafting, linting: Linting, wanted: ProposalWanted, *, permit: Permit, now: datetime
) -> ProposedPolicy:
    """Return a rule in its policy, as a save takes it.

    Raises InvalidError with all reasons why the evidence allows none, NotFoundError for the policy, UnavailableError.
    """
    stored = await drafting.stored()
    existing = _policy(stored.corpus, wanted.policy, permit) if wanted.policy else None
    made, content = _made(stored.corpus, wanted, existing, permit, now=now)
    draft = Draft(place=_DRAFT, content=content)
    if existing is not None:
        draft = replace(draft, scope_tags=existing.about.scope_tags, labels=existing.about.labels)
    problems = [*wanted.flaws, *made.problems, *_misfit(wanted, existing)]
    found = drafting.problems(stored, Overlay(drafts=(draft,)), permit)
    said = {problem.field for problem in problems}
    if "by_publisher" in said:
        said.add("file.sha256")  # without the signature a rule would need the hash
    problems += [problem for problem in _of_request(found, len(content.rules) - 1) if problem.field not in said]
    if problems:
        raise InvalidError(problems)
    tags = existing.about.scope_tags if existing else permit.tags_for_new_object()
    after = revised(draft, existing, tags=tags, actor="", now=now)
    touched = Touched(subjects=frozenset({subject_of(content)}), rehearsed=[Edit(existing, after)], permit=permit)
    findings = not_accepted(await linting.findings(touched))
    known = await asyncio.to_thread(_recognising, stored, wanted.evidence, permit, now)
    return ProposedPolicy(made.rule, content, existing, (*made.notes, *known.notes), tuple(findings), known.subjects)


def _policy(corpus: Corpus, name: str, permit: Permit) -> Stored[RulesPolicy]:
    for stored in corpus.rules_policies:
        if stored.name == name and permit.sees(stored.about.scope_tags):
            return stored
    raise NotFoundError(f'there is no {kind_of(RulesPolicy).noun} "{name}"; list them for their names')


def _made(
    corpus: Corpus, wanted: ProposalWanted, existing: Stored[RulesPolicy] | None, permit: Permit, *, now: datetime
) -> tuple[Proposal, RulesPolicy]:
    """Make the rule, and put it into its policy: the one there is, or a new one that nobody has yet."""
    evidence = wanted.evidence
    rules = existing.content.rules if existing else ()
    reusable = {
        fingerprint_of(found.content.certificate): (found.name, found.content.certificate)
        for found in sorted(corpus.certificates, key=lambda found: found.name, reverse=True)
        if permit.sees(found.about.scope_tags)
    }
    made = propose(evidence, wanted.wishes, reusable=reusable, taken=[rule.name for rule in rules], now=now)
    if existing is not None:
        return made, replace(existing.content, rules=(*rules, made.rule))
    names = {stored.name for stored in corpus.rules_policies}
    name = unique(made_name(evidence), [*names, *(twin for other in names for twin in lookalikes.twins(other))])
    told = description(evidence, wanted.wishes.origin)
    return made, RulesPolicy(name, evidence.platform, (made.rule,), description=told)


def _misfit(wanted: ProposalWanted, existing: Stored[RulesPolicy] | None) -> Iterator[Problem]:
    if existing is not None and existing.content.platform is not wanted.evidence.platform:
        ours, theirs = wanted.evidence.platform.value, existing.content.platform.value
        yield Problem("policy", f'"{existing.name}" is for {theirs} and the file for {ours}; name another one or none')


def _of_request(problems: Iterable[Problem], at: int) -> Iterator[Problem]:
    """Name the field of the request that each problem of the policy comes from."""
    for problem in problems:
        below = problem.field.removeprefix(f"{_DRAFT}.")
        fields = (field for pattern, field in _FIELDS if re.fullmatch(pattern.format(at=at), below))
        field = next(fields, "policy")
        yield Problem(field, problem.message if field != "policy" else f"{below} {problem.message}")


@dataclass(frozen=True, slots=True)
class _Recognising:
    subjects: tuple[Subject, ...]
    notes: tuple[str, ...]


def _recognising(there: Drafted, evidence: Evidence, permit: Permit, now: datetime) -> _Recognising:
    """Find the rules that recognise the file already, in policies that the caller may see."""
    certificates = {stored.name: stored.content.certificate for stored in there.corpus.certificates}
    visible = [
        stored.content
        for stored in there.corpus.rules_policies
        if stored.content.platform is evidence.platform and permit.sees(stored.about.scope_tags)
    ]
    signers = tuple(_signers(evidence, (*certificates.values(), *_written_out(visible))))
    # Nobody told whether root alone can write the folder: a rule that rests on it is named with that remark.
    facts = Facts(replace(evidence.file, signers=signers, root_only_path=True), evidence.platform, now)
    found = [
        (policy, rule)
        for policy in visible
        for rule in policy.rules
        if _recognises(rule, policy.platform, facts, certificates)
    ]
    subjects = [replace(subject_of(policy), rule=rule.name) for policy, rule in found[:MOST_EXISTING]]
    notes = [
        f'the rule "{rule.name}" of "{policy.name}" recognises the file already where nobody but root can write its folder'
        for policy, rule in found[:MOST_EXISTING]
        if policy.platform is Platform.LINUX and not rule.detection.file_hash
    ]
    if len(found) > MOST_EXISTING:
        notes.append(f"{len(found)} rules recognise the file already; the first {MOST_EXISTING} are named")
    return _Recognising(tuple(subjects), tuple(notes))


def _recognises(rule: Rule, platform: Platform, facts: Facts, certificates: Mapping[str, Certificate]) -> bool:
    try:
        return matches(compile_detection(rule.detection, platform, certificates), facts)
    except DetectionError:
        return False  # a rule that does not compile any more recognises nothing


def _written_out(policies: Sequence[RulesPolicy]) -> Iterator[Certificate]:
    for policy in policies:
        for rule in policy.rules:
            condition = rule.detection.certificate
            if condition is not None and condition.certificate is not None:
                yield condition.certificate


def _signers(evidence: Evidence, known: Iterable[Certificate]) -> Iterator[Signer]:
    """Return the signature of the file, as far as it is known or a certificate that rules name has its fingerprint."""
    if evidence.certificates:
        yield Signer(evidence.certificates[0], evidence.certificates[1:], trusted=True)
    elif wanted := evidence.publisher_fingerprint.lower():
        for certificate in known:
            if fingerprint_of(certificate) == wanted:
                yield Signer(certificate, trusted=True)
                return
