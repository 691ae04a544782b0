"""Measure a decision: compiled index against a naive loop and cedarpy, on the same rules in the same run.

Rules of all kinds (hash, certificate, version, product, wildcard names, folders, arguments) in policies of a hundred,
and one adversarial mix: wildcard names that all share their first letters, their extension and their signer. Every way
decides the same attempts and has to agree before anything is timed; then all are timed in turns, round by round, and
the medians and the ratios inside each round are reported. cedarpy gets the rules as Cedar policies and the file as the
context; what Cedar has no words for (wildcards that stop at separators, versions, certificates in their validity) is
prepared outside the clock and its attempts go in as one batch, so its figures flatter it.
"""

import argparse
import json
import random
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import perf_counter

import cedarpy

from elevation.decision import decide
from elevation.index import CompiledPolicy, compile_policy
from elevation.matching import Facts, matches
from elevation.model import (
    Attempt,
    Certificate,
    CertificateCondition,
    CertificateType,
    Decision,
    DefaultResponse,
    Detection,
    Device,
    ElevationType,
    FileEvidence,
    Outcome,
    Platform,
    Rule,
    RulesPolicy,
    Settings,
    Signer,
    Trigger,
    User,
)

RESULTS = Path(__file__).resolve().parent / "results" / "decision.json"
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
RULES_A_POLICY = 100
TYPES = (
    ElevationType.USER_CONFIRMED,
    ElevationType.CURRENT_USER,
    ElevationType.SUPPORT_APPROVED,
    ElevationType.AUTOMATIC,
    ElevationType.DENY,
)
MICRO = 1_000_000


@dataclass(frozen=True, slots=True)
class Mix:
    """Rules with the attempts that are decided by them."""

    name: str
    rules: tuple[Rule, ...]
    attempts: tuple[Attempt, ...]


@dataclass(frozen=True, slots=True)
class Row:
    """What one mix costs, in microseconds a decision."""

    mix: str
    rules: int
    compile_ms: float
    index_us: float
    naive_us: float
    cedar_us: float
    naive_ratio: float
    cedar_ratio: float
    widest: int


def main() -> None:
    """Measure and print a table; write it to results/decision.json."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--sizes", type=int, nargs="+", default=[10, 1000, 10_000])
    options = parser.parse_args()
    mixes = [mixed(size) for size in options.sizes] + [adversarial(max(options.sizes))]
    rows = [measure(mix, options.rounds) for mix in mixes]
    print_table(rows)
    RESULTS.parent.mkdir(exist_ok=True)
    content = {"rounds": options.rounds, "rows": [asdict(row) for row in rows]}
    RESULTS.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def mixed(size: int) -> Mix:
    """Make rules of all kinds, and attempts that hit them, nearly hit them, and miss."""
    chance = random.Random(size)
    signers = [fake_certificate(f"publisher-{number}") for number in range(max(4, size // 20))]
    rules = tuple(a_rule(number, chance, signers) for number in range(size))
    attempts = [hit(rule, chance, signers) for rule in chance.choices(rules, k=150)]
    attempts += [miss(number, signers) for number in range(50)]
    chance.shuffle(attempts)
    return Mix("mixed", rules, tuple(attempts))


def adversarial(size: int) -> Mix:
    """Make rules whose names differ by the middle of a pattern only, all by one signer."""
    signer = fake_certificate("only")
    condition = CertificateCondition(CertificateType.PUBLISHER, signer)
    rules = tuple(
        Rule(f"r{number}", detection=Detection(file_name=f"setup-*{number:05d}a.exe", certificate=condition))
        for number in range(size)
    )
    chance = random.Random(1)
    files = [f"setup-x{chance.randrange(2 * size):05d}a.exe" for _ in range(200)]
    return Mix("shared literals", rules, tuple(an_attempt("C:\\Setup", name, signer=signer) for name in files))


def a_rule(number: int, chance: random.Random, signers: Sequence[Certificate]) -> Rule:
    """Make one rule; its kind follows from its number."""
    condition = CertificateCondition(CertificateType.PUBLISHER, signers[number % len(signers)])
    kind = number % 6
    detection = (
        Detection(file_name=f"app{number}.exe", file_hash=sha256(number)),
        Detection(file_name=f"tool{number}.exe", file_path=f"C:\\Apps\\{number % 50}", certificate=condition),
        Detection(file_name=f"Editor{number}-*.exe", certificate=condition, minimum_version="1.80"),
        Detection(file_name="setup.exe", certificate=condition, product_name=f"Product {number}"),
        Detection(file_name=f"*-{number}.msi", file_path="C:\\Users\\*\\Downloads", certificate=condition),
        Detection(file_name=f"shared{number % 100}.exe", file_hash=sha256(number // 2)),
    )[kind]
    elevation_type = TYPES[number // 6 % len(TYPES)] if kind in {0, 5} else ElevationType.USER_CONFIRMED
    restricted = kind == 1 and chance.random() < 1 / 3
    return Rule(
        f"r{number}", elevation_type=elevation_type, detection=detection, arguments=("/s",) if restricted else None
    )


def hit(rule: Rule, chance: random.Random, signers: Sequence[Certificate]) -> Attempt:
    """Make an attempt that a rule recognises, or nearly."""
    found = rule.detection
    signer = found.certificate.certificate if found.certificate is not None else None
    version = chance.choice(["1.79", "1.84.2"])
    return an_attempt(
        (found.file_path or "C:\\Setup").replace("*", "alice"),
        found.file_name.replace("*", "x64"),
        sha=found.file_hash or sha256(-1),
        version=version,
        product=found.product_name,
        signer=signer or chance.choice(signers),
        arguments=chance.choice([(), ("/s",), ("/other",)]),
    )


def miss(number: int, signers: Sequence[Certificate]) -> Attempt:
    """Make an attempt that no rule recognises."""
    return an_attempt(
        "C:\\Other", f"unknown{number}.exe", sha=sha256(-2 - number), signer=signers[number % len(signers)]
    )


def an_attempt(
    folder: str,
    name: str,
    *,
    sha: str = "f" * 64,
    version: str = "",
    product: str = "",
    signer: Certificate,
    arguments: tuple[str, ...] = (),
) -> Attempt:
    """Make an attempt by evidence."""
    file = FileEvidence(
        f"{folder}\\{name}", sha, version, product_name=product, signers=(Signer(signer, (), trusted=True),)
    )
    return Attempt(Device("ws"), User("alice"), Trigger.REQUEST, Platform.WINDOWS, file, NOW, arguments)


def measure(mix: Mix, rounds: int) -> Row:
    """Check that all ways agree, then time them in turns."""
    policies = [
        (RulesPolicy(f"p{start:06d}", Platform.WINDOWS, mix.rules[start : start + RULES_A_POLICY]), False)
        for start in range(0, len(mix.rules), RULES_A_POLICY)
    ]
    settings = Settings(default_response=DefaultResponse.DENY)
    started = perf_counter()
    policy = compile_policy(settings, policies, {})
    compile_ms = (perf_counter() - started) * 1000
    cedar = Cedar(policy)
    few = mix.attempts[: max(5, min(len(mix.attempts), 20_000 // len(mix.rules)))]
    requests = [request(attempt) for attempt in few]
    check_agreement(policy, cedar, mix.attempts)
    index: list[float] = []
    naive: list[float] = []
    by_cedar: list[float] = []
    for _ in range(rounds):
        index.append(per_call(lambda attempt: decide(policy, attempt), mix.attempts, repeat=20))
        naive.append(per_call(lambda attempt: decide_naively(policy, attempt), few))
        by_cedar.append(per_batch(lambda: cedar.answer(requests), len(requests)))
    return Row(
        mix=mix.name,
        rules=len(mix.rules),
        compile_ms=compile_ms,
        index_us=statistics.median(index),
        naive_us=statistics.median(naive),
        cedar_us=statistics.median(by_cedar),
        naive_ratio=statistics.median(b / a for a, b in zip(index, naive, strict=True)),
        cedar_ratio=statistics.median(b / a for a, b in zip(index, by_cedar, strict=True)),
        widest=policy.widest(Platform.WINDOWS),
    )


def check_agreement(policy: CompiledPolicy, cedar: "Cedar", attempts: Sequence[Attempt]) -> None:
    """Stop unless every way decides every attempt alike."""
    for attempt, by_cedar in zip(attempts, cedar.matching(attempts), strict=True):
        decision = decide(policy, attempt)
        if decide_naively(policy, attempt) != decision:
            raise SystemExit(f"index and naive loop disagree on {attempt.file.path}")
        if by_cedar != naive_names(policy, attempt):
            raise SystemExit(f"cedarpy and naive loop disagree on {attempt.file.path}")


def decide_naively(policy: CompiledPolicy, attempt: Attempt) -> Decision:
    """Look at every rule, keep those that match, and take the first by the order of rules."""
    facts = Facts(attempt.file, attempt.platform, attempt.now)
    matching = [rule for rule in policy.rules(Platform.WINDOWS) if matches(rule.tests, facts)]
    if not matching:
        return policy.default
    winner = min(matching, key=lambda rule: rule.rank)
    if winner.decision.outcome is Outcome.DENY or winner.allows(attempt.arguments):
        return winner.decision
    return winner.refusal


def naive_names(policy: CompiledPolicy, attempt: Attempt) -> set[str]:
    """Name the rules that match."""
    facts = Facts(attempt.file, attempt.platform, attempt.now)
    return {rule.rule.name for rule in policy.rules(Platform.WINDOWS) if matches(rule.tests, facts)}


def per_call(call: Callable[[Attempt], object], attempts: Sequence[Attempt], repeat: int = 1) -> float:
    """Time a call over attempts, in microseconds each."""
    started = perf_counter()
    for _ in range(repeat):
        for attempt in attempts:
            call(attempt)
    return (perf_counter() - started) * MICRO / (repeat * len(attempts))


def per_batch(call: Callable[[], object], size: int) -> float:
    """Time a call that decides many, in microseconds each."""
    started = perf_counter()
    call()
    return (perf_counter() - started) * MICRO / size


class Cedar:
    """The same rules as Cedar policies: one permit a rule, so that the reasons are the rules that match.

    Policies and entities are parsed once; the attempts go in as one batch, which spares all but one of the crossings
    from Python to Rust.
    """

    def __init__(self, policy: CompiledPolicy) -> None:
        self._rules = [rule.rule for rule in policy.rules(Platform.WINDOWS)]
        self._policies = cedarpy.PolicySet.from_str("\n".join(permit(rule) for rule in self._rules))
        self._entities = cedarpy.Entities.from_json_str("[]")

    def answer(self, requests: list[dict[str, object]]) -> list[cedarpy.AuthzResult]:
        """Decide prepared requests."""
        return list(cedarpy.is_authorized_batch(requests, self._policies, self._entities))

    def matching(self, attempts: Sequence[Attempt]) -> list[set[str]]:
        """Name the rules that match each attempt."""
        results = self.answer([request(attempt) for attempt in attempts])
        return [
            {self._rules[int(reason.removeprefix("policy"))].name for reason in result.diagnostics.reasons}
            for result in results
        ]


def permit(rule: Rule) -> str:
    """Write a rule as a Cedar policy."""
    return f"permit(principal, action, resource) when {{ {' && '.join(conditions(rule.detection))} }};"


def conditions(detection: Detection) -> Iterator[str]:
    """Write the filled fields of a detection as Cedar conditions, the cheapest first."""
    if detection.file_hash:
        yield f"context.sha256 == {json.dumps(detection.file_hash)}"
    for field, pattern in (("name", detection.file_name), ("folder", detection.file_path)):
        if pattern:
            operator = "like" if "*" in pattern else "=="
            yield f"context.{field} {operator} {json.dumps(pattern.casefold())}"
    if detection.product_name:
        yield f"context.product == {json.dumps(detection.product_name)}"
    if detection.minimum_version:
        yield f"context.version >= {version_number(detection.minimum_version)}"
    if detection.certificate is not None and detection.certificate.certificate is not None:
        yield f"context.publisher == {json.dumps(detection.certificate.certificate.subject)}"


def request(attempt: Attempt) -> dict[str, object]:
    """Write an attempt as a Cedar request."""
    folder, _, name = attempt.file.path.casefold().rpartition("\\")
    context = {
        "sha256": attempt.file.sha256,
        "name": name,
        "folder": folder,
        "product": attempt.file.product_name,
        "version": version_number(attempt.file.version) if attempt.file.version else -1,
        "publisher": attempt.file.signers[0].leaf.subject,
    }
    return {
        "principal": 'User::"alice"',
        "action": 'Action::"elevate"',
        "resource": 'File::"file"',
        "context": context,
    }


def version_number(text: str) -> int:
    """Make one number of a version, which Cedar can compare."""
    numbers = [*map(int, text.split(".")), 0, 0, 0][:4]
    return sum(number * 10 ** (4 * (3 - place)) for place, number in enumerate(numbers))


def fake_certificate(name: str) -> Certificate:
    """Make a certificate by its name; comparing needs no real one."""
    far = timedelta(days=3650)
    der = name.encode() * 100
    return Certificate(der, name, "issuer", der[:20], b"issuer", NOW - far, NOW + far)


def sha256(number: int) -> str:
    """Make a hash by a number."""
    return f"{number % 2**64:064x}"


def print_table(rows: Sequence[Row]) -> None:
    """Print what was measured."""
    print(
        f"{'mix':<16}{'rules':>7}{'compile ms':>12}{'index us':>10}{'naive us':>11}{'cedar us':>11}{'naive/index':>13}"
        f"{'cedar/index':>13}{'candidates':>12}"
    )
    for row in rows:
        print(
            f"{row.mix:<16}{row.rules:>7}{row.compile_ms:>12.1f}{row.index_us:>10.2f}{row.naive_us:>11.1f}"
            f"{row.cedar_us:>11.1f}{row.naive_ratio:>12.0f}x{row.cedar_ratio:>12.0f}x{row.widest:>12}"
        )


if __name__ == "__main__":
    main()
