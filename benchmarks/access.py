"""Measure access checks: in the process, over gRPC, and for a large organisation.

- **In the process**: the compiled snapshot against casbin and cedarpy, on the same 6 rights, 20 roles and 1,000 principals in
  the same run. All answer the same questions and have to agree before anything is timed. cedarpy gets policies and
  entities parsed beforehand and its questions as one batch, casbin its fastest enforcer: their figures flatter them.
- **Over gRPC**: `Check` and `BatchCheck` of the rbac service in a process of its own, beside an echo of the same messages
  behind the same interceptors, and a real Cerbos server on the same machine under the same load. Cerbos speaks without
  TLS, is told the roles of the principal in the request, and writes no log. Client and servers share the cores.
- **Large**: 100,000 principals in 10,000 groups with 1,000 role assignments: how long the snapshot takes to compile, and
  the memory that it takes, in a process of its own.

Ways are timed in turns; medians are reported, and ratios inside each round. Run by `make bench` or `python
benchmarks/access.py`. Cerbos comes from `$CERBOS` or by npm into build/; without either, its rows say so. Writes
results/access.json.
"""

import argparse
import asyncio
import itertools
import json
import multiprocessing
import os
import random
import statistics
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from pathlib import Path
from time import perf_counter
from typing import Any

import casbin
import cedarpy
import grpc
import grpc.aio
import uvloop
from casbin.model.model_fast import FastModel

from benchmarks.rivals.cerbos import CHECK, MOST_RESOURCES, CerbosMissingError, allowed, cerbos, request
from epm.access.v1 import options_pb2, queries_pb2
from epm.rbac.v1 import rbac_pb2, rbac_pb2_grpc
from services._chassis import logging
from services._chassis.access import AccessControl, CompiledAccess
from services._chassis.clock import SystemClock
from services._chassis.server import Host, ServiceParts
from services._chassis.snapshot import AccessSnapshot, AssignmentGrant, PrincipalGroupMembers, RoleGrant
from services.rbac.__main__ import build
from tests.builders.contracts import declared
from tests.builders.doors import bearer, settings_for

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "access.json"
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
RIGHTS = tuple(f"policy_authoring.{verb}" for verb in ("view_reports", "read", "create", "update", "delete", "assign"))
MICRO = 1_000_000
IN_FLIGHT = 16
CALLS = 1200
BATCH = 100

Figures = dict[str, float]
Question = tuple[str, str]


def main() -> None:
    """Measure, print and write results/access.json."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    case = Case()
    found: dict[str, Mapping[str, float | str]] = {
        "in the process": in_process(case, options.rounds),
        "over gRPC": uvloop.run(over_grpc(case, options.rounds)),
        "large": large(),
    }
    for title, figures in found.items():
        print(f"{title}:")
        for name, figure in figures.items():
            print(f"  {name:<58}{figure:>12.2f}" if isinstance(figure, float) else f"  {name:<58}{figure:>12}")
    RESULTS.parent.mkdir(exist_ok=True)
    content = {"rounds": options.rounds, "processors": os.cpu_count(), **found}
    RESULTS.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


class Case:
    """6 rights, 20 roles with some of them, 1,000 principals with two roles each, and 2,000 questions."""

    def __init__(self) -> None:
        chance = random.Random(3)
        self.roles = {f"role{number}": sorted(chance.sample(RIGHTS, chance.randint(1, 4))) for number in range(20)}
        names = [f"user:u{number}" for number in range(1000)]
        self.holders = {name: sorted(chance.sample(sorted(self.roles), 2)) for name in names}
        self.questions: list[Question] = [(chance.choice(names), chance.choice(RIGHTS)) for _ in range(2000)]

    def snapshot(self) -> AccessSnapshot:
        """Return the case as services hold it."""
        given = {role: frozenset(n for n, held in self.holders.items() if role in held) for role in self.roles}
        return AccessSnapshot(
            revision=1,
            roles=tuple(RoleGrant(role, frozenset(rights)) for role, rights in self.roles.items()),
            assignments=tuple(
                AssignmentGrant(name=f"a-{role}", role=role, members=members) for role, members in given.items()
            ),
        )

    def rights_of(self, principal: str) -> set[str]:
        """Return the rights of a principal."""
        return {right for role in self.holders[principal] for right in self.roles[role]}

    def casbin(self) -> Callable[[Question], bool]:
        """Return a check by casbin."""
        model = FastModel([1])
        model.load_model_from_text(
            "[request_definition]\nr = sub, act\n[policy_definition]\np = sub, act\n[role_definition]\ng = _, _\n"
            "[policy_effect]\ne = some(where (p.eft == allow))\n[matchers]\nm = g(r.sub, p.sub) && r.act == p.act\n"
        )
        enforcer = casbin.FastEnforcer(model, cache_key_order=[1])
        enforcer.add_policies([[role, right] for role, rights in self.roles.items() for right in rights])
        enforcer.add_grouping_policies([[name, role] for name, held in self.holders.items() for role in held])
        return lambda question: bool(enforcer.enforce(*question))

    def cedar(self) -> Callable[[Sequence[Question]], list[bool]]:
        """Return checks of many questions by cedarpy."""
        policies = cedarpy.PolicySet.from_str(
            "\n".join(
                f'permit(principal in Role::"{role}", action == Action::"{right}", resource);'
                for role, rights in self.roles.items()
                for right in rights
            )
        )
        entities: list[dict[str, Any]] = [
            {"uid": {"type": "Role", "id": role}, "attrs": {}, "parents": []} for role in self.roles
        ]
        entities += [
            {
                "uid": {"type": "User", "id": name},
                "attrs": {},
                "parents": [{"type": "Role", "id": role} for role in held],
            }
            for name, held in self.holders.items()
        ]
        known = cedarpy.Entities.from_json_str(json.dumps(entities))

        def check(questions: Sequence[Question]) -> list[bool]:
            asked = [
                {
                    "principal": f'User::"{who}"',
                    "action": f'Action::"{right}"',
                    "resource": 'Object::"o"',
                    "context": {},
                }
                for who, right in questions
            ]
            return [answer.allowed for answer in cedarpy.is_authorized_batch(asked, policies, known)]

        return check


def in_process(case: Case, rounds: int) -> Figures:
    """Check that all agree, then time them in turns."""
    access = CompiledAccess(case.snapshot())
    control = AccessControl(SystemClock())
    control.replace(case.snapshot())
    by_casbin, by_cedar = case.casbin(), case.cedar()
    ours = [access.permit(who, right, NOW) is not None for who, right in case.questions]
    few, batch = case.questions[:300], case.questions[:1000]
    if [by_casbin(question) for question in case.questions] != ours or by_cedar(case.questions) != ours:
        raise SystemExit("the engines disagree")
    granted = [question for question, allowed in zip(case.questions, ours, strict=True) if allowed]
    times: dict[str, list[float]] = {"check": [], "check as a call does": [], "casbin": [], "cedarpy": []}
    for _ in range(rounds):
        times["check"].append(each(lambda one: access.permit(one[0], one[1], NOW), case.questions, 20))
        times["check as a call does"].append(each(lambda one: control.check(one[0], one[1]), granted, 20))
        times["casbin"].append(each(by_casbin, few))
        started = perf_counter()
        by_cedar(batch)
        times["cedarpy"].append((perf_counter() - started) * MICRO / len(batch))
    return {f"{name}, us": statistics.median(found) for name, found in times.items()} | {
        f"{name} / check": ratio(times[name], times["check"]) for name in ("casbin", "cedarpy")
    }


def each(call: Callable[[Question], object], questions: Sequence[Question], repeat: int = 1) -> float:
    """Time a call over questions, in microseconds each."""
    started = perf_counter()
    for _ in range(repeat):
        for question in questions:
            call(question)
    return (perf_counter() - started) * MICRO / (repeat * len(questions))


def ratio(over: Sequence[float], under: Sequence[float]) -> float:
    """Return the median of the ratios inside each round."""
    return statistics.median(a / b for a, b in zip(over, under, strict=True))


Way = tuple[grpc.aio.Channel, str, Sequence[bytes], Any]


async def over_grpc(case: Case, rounds: int) -> dict[str, float | str]:
    """Send every way the same load in turns."""
    async with AsyncExitStack() as held:
        folder = Path(held.enter_context(tempfile.TemporaryDirectory()))
        ways = await held.enter_async_context(our_ways(case, folder))
        missing = ""
        try:
            ways |= await held.enter_async_context(cerbos_ways(case, folder))
        except CerbosMissingError as error:
            missing = str(error)
        rates: dict[str, list[float]] = {name: [] for name in ways}
        for way in ways.values():
            await calls_a_second(way, CALLS // 4)
        for _ in range(rounds):
            for name, way in ways.items():
                rates[name].append(await calls_a_second(way, CALLS // (4 if "batch" in name else 1)))
    figures: dict[str, float | str] = {f"{name}, calls/s": statistics.median(found) for name, found in rates.items()}
    figures["Check / echo"] = ratio(rates["Check"], rates["echo"])
    figures["BatchCheck, us a check"] = MICRO / BATCH / statistics.median(rates["BatchCheck of 100 (batch)"])
    if missing:
        return figures | {"Cerbos": missing}
    figures["Cerbos batch, us a check"] = MICRO / MOST_RESOURCES / statistics.median(rates["Cerbos, batch of 50"])
    return figures | {"Check / Cerbos": ratio(rates["Check"], rates["Cerbos"])}


async def calls_a_second(way: Way, calls: int) -> float:
    """Keep so many calls in flight until all are made; return how many a second."""
    channel, path, requests, metadata = way
    method: Any = channel.unary_unary(path)
    left = iter(range(calls))

    async def worker() -> None:
        for number in left:
            await method(requests[number % len(requests)], metadata=metadata)

    started = perf_counter()
    await asyncio.gather(*(worker() for _ in range(IN_FLIGHT)))
    return calls / (perf_counter() - started)


@asynccontextmanager
async def cerbos_ways(case: Case, folder: Path) -> AsyncIterator[dict[str, Way]]:
    """Run Cerbos with the same roles, and see that it agrees."""
    async with cerbos(folder, case.roles) as channel:
        single = [request(who, case.holders[who], [right]) for who, right in case.questions]
        check: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(CHECK)
        answers = [allowed(await check(one))[0] for one in single[:200]]
        if answers != [right in case.rights_of(who) for who, right in case.questions[:200]]:
            raise SystemExit("Cerbos disagrees")
        rights = list(itertools.islice(itertools.cycle(RIGHTS), MOST_RESOURCES))
        batches = [request(who, case.holders[who], rights) for who, _ in case.questions[:100]]
        yield {"Cerbos": (channel, CHECK, single, ()), "Cerbos, batch of 50": (channel, CHECK, batches, ())}


@asynccontextmanager
async def our_ways(case: Case, folder: Path) -> AsyncIterator[dict[str, Way]]:
    """Run the rbac service with an echo beside it, and give it the case."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=serve, args=(theirs, folder))
    process.start()
    try:
        address, echo = ours.recv()
        credentials = grpc.ssl_channel_credentials((folder / "certs" / "ca.crt").read_bytes())
        async with grpc.aio.secure_channel(address, credentials) as channel:
            owner = bearer((folder / "owner-token").read_text().strip())
            stub: Any = rbac_pb2_grpc.RbacServiceStub(channel)
            await stub.ApplyAccess(case_as_request(case), metadata=owner)
            questions = [queries_pb2.AccessQuestion(principal=who, right=right) for who, right in case.questions]
            checks = [queries_pb2.CheckRequest(question=one).SerializeToString() for one in questions]
            batches = [
                queries_pb2.BatchCheckRequest(questions=questions[at : at + BATCH]).SerializeToString()
                for at in range(0, len(questions), BATCH)
            ]
            service = "/epm.access.v1.AccessQueryService"
            yield {
                "echo": (channel, echo, checks, owner),
                "Check": (channel, f"{service}/Check", checks, owner),
                "BatchCheck of 100 (batch)": (channel, f"{service}/BatchCheck", batches, owner),
            }
    finally:
        ours.send(None)
        process.join()


def case_as_request(case: Case) -> rbac_pb2.ApplyAccessRequest:
    """Return the case as an administrator applies it."""
    snapshot = case.snapshot()
    return rbac_pb2.ApplyAccessRequest(
        roles=[rbac_pb2.Role(name=role, rights=rights) for role, rights in case.roles.items()],
        role_assignments=[
            rbac_pb2.RoleAssignment(name=one.name, role=one.role, members=sorted(one.members))
            for one in snapshot.assignments
        ],
    )


def serve(pipe: Connection, folder: Path) -> None:
    """Run the rbac service and the echo until the pipe speaks; log as a service does, to nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    logging.configure(level="info", as_json=True)
    uvloop.run(_serve(pipe, folder))


async def _serve(pipe: Connection, folder: Path) -> None:
    rule = options_pb2.AccessRule(callers=[options_pb2.CALLER_ADMINISTRATOR], any_right=True)
    name = declared(rule)

    async def echo(_request: queries_pb2.CheckRequest, _context: object) -> queries_pb2.CheckResponse:
        return queries_pb2.CheckResponse(allowed=True, role_assignments=["a-role1"], revision=1)

    def add(server: Any) -> None:
        handler: Any = grpc.unary_unary_rpc_method_handler(
            echo,
            request_deserializer=queries_pb2.CheckRequest.FromString,
            response_serializer=queries_pb2.CheckResponse.SerializeToString,
        )
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(name, {"Method0": handler}),))
        server.add_registered_method_handlers(name, {"Method0": handler})

    host = Host(settings_for(folder))
    parts = await build(host.bind())
    host.add(parts)
    host.add(ServiceParts(name="echo", access=parts.access, public=[add]))
    await host.start()
    await host.wait_until_serving()
    pipe.send((host.settings.public_address, f"/{name}/Method0"))
    await asyncio.to_thread(pipe.recv)
    await host.stop()


def large() -> Figures:
    """Compile the snapshot of a large organisation in a process of its own."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=compile_large, args=(theirs,))
    process.start()
    found: Figures = ours.recv()
    process.join()
    return found


def compile_large(pipe: Connection) -> None:
    """Make 100,000 principals in 10,000 groups, every tenth in another one, with 1,000 assignments; compile and ask."""
    chance = random.Random(5)
    people = [f"user:person{number}@example.com" for number in range(100_000)]
    groups = []
    for number in range(10_000):
        nested = {f"group:g{number // 10}"} if number and not number % 10 else set[str]()
        groups.append(PrincipalGroupMembers(f"g{number}", frozenset(people[number * 10 : number * 10 + 10]) | nested))
    roles = tuple(RoleGrant(f"role{number}", frozenset(chance.sample(RIGHTS, 3))) for number in range(20))
    given = tuple(
        AssignmentGrant(
            name=f"a{number}",
            role=f"role{number % 20}",
            members=frozenset(f"group:g{chance.randrange(10_000)}" for _ in range(20)),
            scope_tags=frozenset({f"tag{number % 50}"}),
        )
        for number in range(1000)
    )
    snapshot = AccessSnapshot(revision=1, roles=roles, assignments=given, principal_groups=tuple(groups))
    before = resident()
    started = perf_counter()
    access = CompiledAccess(snapshot)
    seconds = perf_counter() - started
    compiled = resident() - before
    questions = [(chance.choice(people), chance.choice(RIGHTS)) for _ in range(20_000)]
    first = each(lambda one: access.permit(one[0], one[1], NOW), questions)
    pipe.send({"compile, s": seconds, "compiled, MB": compiled, "process, MB": resident(), "first check, us": first})


def resident() -> float:
    """Return the memory of this process in MB."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


if __name__ == "__main__":
    main()
