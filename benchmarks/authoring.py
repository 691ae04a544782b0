"""Measure authoring: effective policies of a fleet, what a change of one policy costs, lint, saves and previews.

The estate is one as large organisations have it (benchmarks/authored/estate.py): groups that list devices, find them or nest others,
groups of users, excludes, filters, rules by hash, signer, product, version and wildcards, and rules that deny. Beside
each figure stands, from the same run, the plain way (each device by itself; everything from nothing; every rule beside every
other) or the raw limit (serialising the same documents and nothing else). Ways take turns; medians are reported.

Run by `make bench` or `python benchmarks/authoring.py [--devices N] [--sets N] [--policies N] [--rules N]`. Writes
results/authoring.json.
"""

import argparse
import asyncio
import gc
import json
import statistics
import tempfile
import tracemalloc
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from itertools import islice
from pathlib import Path
from time import perf_counter
from typing import TypeVar

from benchmarks.authored.estate import NOW, Estate, Size, lint_estate, with_object
from benchmarks.authored.plain import Plain, pairs_a_second
from benchmarks.authored.service import measure
from elevation.document import PolicyDocument
from elevation.lint.findings import Subject
from elevation.lint.linter import Linter
from elevation.model import Assignments, Group, Include, RulesPolicy, SettingsPolicy
from services._chassis import logging
from services.policy.codec.documents import DocumentMould, MouldMaker
from services.policy.model.directory import Directory
from services.policy.model.objects import AnyContent, Corpus
from services.policy.usecases.documents import PolicyBook

RESULTS = Path(__file__).resolve().parent / "results" / "authoring.json"
MILLI, MEBI = 1000, 1024 * 1024
SAMPLE = 50
"""Devices that are worked out one by one, and about the square root of the share of pairs of rules that are compared."""

T = TypeVar("T")
Figures = dict[str, float]


class Fleet:
    """A book as the policy service has it, which counts the sets that are worked out."""

    def __init__(self, corpus: Corpus, directory: Directory) -> None:
        self._directory = directory
        self.worked_out = 0
        maker = MouldMaker()

        def mould(document: PolicyDocument) -> DocumentMould:
            self.worked_out += 1
            return maker.mould(document)

        self.book = PolicyBook(self, mould, deprovision_after=timedelta(days=7))
        self.book.put(corpus)

    def directory(self) -> Directory:
        """Return the newest directory."""
        return self._directory

    async def at_least(self, revision: int) -> Directory:  # noqa: ARG002 - nobody waits here
        """Return the newest directory."""
        return self._directory

    def take(self, *, corpus: Corpus | None = None, groups: Mapping[str, Group] | None = None) -> None:
        """Take up what is authored now, or groups."""
        if corpus is not None:
            self.book.put(corpus)
        if groups is not None:
            self._directory = replace(self._directory, revision=self._directory.revision + 1, groups=groups)

    def find_out(self) -> int:
        """Find the devices whose documents may be others, and make what those have in common; return how many they are."""
        news = self.book.news()
        devices = self._directory.devices
        return sum(1 for _ in self.book.each_shared([devices[device_id] for device_id in news if device_id in devices]))


@dataclass(frozen=True, slots=True)
class Edit:
    """Change one thing."""

    name: str
    content: AnyContent | None = None
    group: Group | None = None

    def after(self, corpus: Corpus, directory: Directory) -> tuple[Corpus, Directory]:
        """Return what is authored and known after it."""
        if self.content is not None:
            return with_object(corpus, self.content), directory
        if self.group is None:
            return corpus, directory
        groups = {**directory.groups, self.group.name: self.group}
        return corpus, replace(directory, revision=directory.revision + 1, groups=groups)


def timed(work: Callable[[], T]) -> tuple[float, T]:
    """Return how long it took in milliseconds, and what it came to."""
    gc.collect()
    started = perf_counter()
    found = work()
    return (perf_counter() - started) * MILLI, found


def whole(estate: Estate, rounds: int) -> Figures:
    """Work out what applies to all devices, beside each device by itself and beside serialising alone."""
    corpus, directory = estate.corpus, estate.directory
    devices = list(directory.devices.values())
    plain = Plain(corpus, directory)
    check(corpus, directory, estate.size.sets, plain)
    messages = [plain.message(device) for device in devices[: estate.size.sets]]
    some = devices[:: max(1, len(devices) // SAMPLE)]
    took: dict[str, list[float]] = {"all": [], "alone": [], "raw": []}
    sets = 0
    for _ in range(rounds):
        fleet = Fleet(corpus, directory)
        milliseconds, found = timed(fleet.find_out)
        sets = fleet.worked_out
        if found != len(devices) or sets > estate.size.sets:
            raise SystemExit(f"{sets} sets were worked out for {found} devices")
        took["all"].append(milliseconds)
        milliseconds, _ = timed(lambda: [plain.document(device) for device in some])
        took["alone"].append(milliseconds / len(some))
        milliseconds, _ = timed(lambda: [message.SerializeToString(deterministic=True) for message in messages])
        took["raw"].append(milliseconds)
    every, alone, raw = (statistics.median(each) for each in took.values())
    return {
        "sets_worked_out": sets,
        "all_devices_ms": every,
        "set_ms": every / sets,
        "device_alone_ms": alone,
        "all_devices_alone_ms": alone * len(devices),
        "serialising_sets_ms": raw,
        "alone_to_shared": alone * len(devices) / every,
        "shared_to_raw": every / raw,
        **memory(corpus, directory, sum(message.ByteSize() for message in messages)),
    }


def check(corpus: Corpus, directory: Directory, sets: int, plain: Plain) -> None:
    """Stop unless the shared way makes the bytes that the plain one makes."""
    fleet = Fleet(corpus, directory)
    some = list(islice(directory.devices.values(), sets))
    for device, shared in fleet.book.each_shared(some):
        if shared.mould.fill(device, None) != plain.document(device):
            raise SystemExit(f"the document of {device.name} is not the one that is worked out by itself")


def memory(corpus: Corpus, directory: Directory, documents: int) -> Figures:
    """Measure what the book holds, beside the bytes of one document of each set."""
    gc.collect()
    tracemalloc.start()
    fleet = Fleet(corpus, directory)
    fleet.find_out()
    gc.collect()
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return {
        "held_mib": held / MEBI,
        "held_kib_per_device": held / 1024 / len(directory.devices),
        "documents_of_sets_mib": documents / MEBI,
    }


def edits(estate: Estate) -> list[Edit]:
    """Change one thing in each of the ways in which that is done."""
    policies = {stored.name: stored.content for stored in estate.corpus.rules_policies}
    settings = {stored.name: stored.content for stored in estate.corpus.settings_policies}
    groups = estate.directory.groups
    few, all_of_them = policies["policy-002"], policies["policy-000"]
    certificate = estate.corpus.certificates[3].content
    site = groups["site-3"]
    included = (*few.assignments.include, Include("site-9", 'tag = "build-2" AND os = "windows"'))
    return [
        Edit("rule of a policy for a site", reworded(few)),
        Edit("rule of a policy for all", reworded(all_of_them)),
        Edit("settings of a region", retimed(settings["region-2"])),
        Edit("assignment, with a filter that is new", replace(few, assignments=Assignments(included))),
        Edit("certificate of many policies", replace(certificate, certificate=estate.publishers[-1])),
        Edit("member of a group", group=replace(site, members=(*site.members, "PC-000001"))),
        Edit("filter of a group", group=replace(groups["region-1"], filter='tag = "region-1" AND tag = "build-1"')),
    ]


def reworded(policy: RulesPolicy) -> RulesPolicy:
    """Change one rule."""
    first, *others = policy.rules
    return replace(policy, rules=(replace(first, description="says something else"), *others))


def retimed(policy: SettingsPolicy) -> SettingsPolicy:
    """Change one setting."""
    return replace(policy, stale_after=timedelta(hours=5))


def changes(estate: Estate, rounds: int) -> dict[str, Figures]:
    """Change one thing, beside working out everything from nothing after it."""
    return {edit.name: changed(estate, edit, rounds) for edit in edits(estate)}


def changed(estate: Estate, edit: Edit, rounds: int) -> Figures:
    """Measure one change."""
    took: list[float] = []
    fresh: list[float] = []
    counts = (0, 0)
    for _ in range(rounds):
        fleet = Fleet(estate.corpus, estate.directory)
        fleet.find_out()
        before = fleet.worked_out
        corpus, directory = edit.after(estate.corpus, estate.directory)
        fleet.take(corpus=corpus, groups=directory.groups)
        milliseconds, devices = timed(fleet.find_out)
        took.append(milliseconds)
        counts = devices, fleet.worked_out - before
        anew = Fleet(corpus, directory)
        milliseconds, _ = timed(anew.find_out)
        fresh.append(milliseconds)
    ratios = [after / before for before, after in zip(took, fresh, strict=True)]
    return {
        "ms": statistics.median(took),
        "devices": counts[0],
        "sets": counts[1],
        "from_nothing_ms": statistics.median(fresh),
        "from_nothing_to_change": statistics.median(ratios),
    }


def linted(estate: Estate, rounds: int) -> Figures:
    """Lint all policies from nothing, after one change, and about one policy as a save does, beside all pairs of rules."""
    policy = estate.corpus.rules_policies[2].content
    after = lint_estate(with_object(estate.corpus, reworded(policy)), estate.directory)
    about = [Subject("ElevationRulesPolicy", policy.name)]
    took: dict[str, list[float]] = {"cold": [], "change": [], "about": []}
    findings = 0
    for _ in range(rounds):
        linter = Linter()
        milliseconds, found = timed(partial(linter.lint, estate.linted, now=NOW))
        took["cold"].append(milliseconds)
        findings = len(found)
        milliseconds, _ = timed(partial(linter.lint, after, now=NOW))
        took["change"].append(milliseconds)
        milliseconds, _ = timed(partial(linter.lint, estate.linted, now=NOW, about=about))
        took["about"].append(milliseconds)
    pairs, a_second = pairs_a_second(estate.corpus, estate.size.policies * estate.size.rules // 10)
    cold, change, about_one = (statistics.median(each) for each in took.values())
    return {
        "cold_ms": cold,
        "after_a_change_ms": change,
        "about_one_policy_ms": about_one,
        "findings": findings,
        "pairs_of_rules": pairs,
        "all_pairs_ms": pairs / a_second * MILLI,
        "all_pairs_to_cold": pairs / a_second * MILLI / cold,
    }


def print_table(title: str, figures: Mapping[str, float]) -> None:
    """Print figures below each other."""
    print(f"\n{title}")
    for name, value in figures.items():
        print(f"  {name:<28}{value:>14,.2f}")


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    size = Size()
    parser.add_argument("--devices", type=int, default=size.devices)
    parser.add_argument("--sets", type=int, default=size.sets, help="distinct sets of memberships")
    parser.add_argument("--policies", type=int, default=size.policies, help="rules policies")
    parser.add_argument("--rules", type=int, default=size.rules, help="rules in each")
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    size = Size(devices=asked.devices, sets=asked.sets, policies=asked.policies, rules=asked.rules)
    estate = Estate(size)
    logging.configure(level="warning", as_json=True)
    results: dict[str, object] = {"devices": size.devices, "sets": size.sets, "policies": size.policies}
    results["effective"] = effective = whole(estate, asked.rounds)
    print_table(f"effective policies of {size.devices} devices in {size.sets} sets", effective)
    results["changes"] = after = changes(estate, asked.rounds)
    for name, figures in after.items():
        print_table(f"change: {name}", figures)
    results["lint"] = lint = linted(estate, asked.rounds)
    print_table(f"lint of {size.policies} policies of {size.rules} rules", lint)
    with tempfile.TemporaryDirectory() as folder:
        results["service"] = calls = asyncio.run(measure(estate, Path(folder), asked.rounds))
    print_table("calls of an administrator, with a database on disk", calls)
    RESULTS.write_text(json.dumps({**results, "rules": size.rules}, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
