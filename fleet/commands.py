"""What the commands of `epm-sim` do; each gives its exit status."""

import json
import secrets
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import click

from agent_stub.enrolment import EnrolmentError
from agent_stub.files import StateError
from fleet.check import CheckError, Server, ask, differences
from fleet.ends import BAD_INPUT, DONE, FAILED, fail
from fleet.enrol import Recruiting, recruit
from fleet.members import FILE, opened
from fleet.run import Order, RunError, Screen
from fleet.run import run as run_processes
from fleet.schedule import plan, without_targets
from fleet.script import Script, ScriptError, read_duration, read_script
from fleet.show import LineScreen, TableScreen, summary_json, summary_lines

SEED_BITS = 32
DIFFERENCES_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Wish:
    """What the operator asks to run."""

    state_dir: Path
    agents: int | None
    """None: all that are enrolled."""
    faithful: int
    processes: int
    times: Mapping[str, str]
    """Durations by option."""
    script: bytes | None
    seed: int | None
    check_in: bool


def enrol(recruiting: Recruiting) -> int:
    """Enrol what is missing of a fleet."""
    try:
        fresh = recruit(recruiting, lambda left: click.echo(f"{left} agents to enrol", err=True))
    except (EnrolmentError, StateError) as error:
        fail(FAILED, f"{error}; the agents enrolled so far are kept, and the same command goes on")
    click.echo(f"enrolled {fresh} agents; the fleet has {recruiting.count}")
    return DONE


def run(wish: Wish, *, as_json: bool) -> int:
    """Run a fleet, and say how it went."""
    order = _order(wish)
    click.echo(f"seed {order.seed}", err=True)
    try:
        with _screen() as screen:
            picture = run_processes(order, screen)
    except RunError as error:
        fail(FAILED, str(error))
    if as_json:
        click.echo(json.dumps(summary_json(picture, order.seed), indent=1))
    else:
        click.echo("\n".join(summary_lines(picture, order.seed)))
    return FAILED if picture.violations else DONE


def check(state_dir: Path, server: str | None, token: str, *, as_json: bool) -> int:
    """Compare a fleet with its server, and say every difference."""
    _require(state_dir)
    with opened(state_dir) as members:
        standings, names = members.standings(), members.names()
        enrolled_by, ca = members.server, members.ca
    if not standings or enrolled_by is None:
        fail(BAD_INPUT, f"--state-dir: no agent of {state_dir} ever ran; run `epm-sim run` first")
    try:
        asked = Server(server or enrolled_by, enrolled_by, ca, token)
        said = ask(asked, lifecycle=any(stands.epm_state for stands in standings.values()))
    except CheckError as error:
        fail(FAILED, str(error))
    found = list(differences(standings, said, names))
    if as_json:
        listed = [{"agent": one.agent, "deviceId": one.device_id, "problem": one.problem} for one in found]
        click.echo(json.dumps({"agents": len(standings), "differences": listed}, indent=1))
    else:
        click.echo(f"{len(standings)} agents, {len(found)} differences")
        click.echo("".join(f"{one.agent} {one.problem}\n" for one in found[:DIFFERENCES_SHOWN]), nl=False)
    return FAILED if found else DONE


def _order(wish: Wish) -> Order:
    """Make sense of a wish, or say all that is wrong with it."""
    problems: list[str] = []
    times = _times(wish.times, problems)
    script = _script(wish.script, problems)
    numbers = _numbers(wish, problems)
    problems += without_targets(script, agents=len(numbers), faithful=wish.faithful) if numbers else ()
    if problems:
        fail(BAD_INPUT, *problems)
    drawn = secrets.randbits(SEED_BITS)
    seed = next(one for one in (wish.seed, script.seed, drawn) if one is not None)
    duration = times["--duration"]
    return Order(
        state_dir=wish.state_dir,
        numbers=numbers,
        faithful=wish.faithful,
        planned=plan(script, agents=len(numbers), faithful=wish.faithful, duration=duration, seed=seed),
        calm_after=script.until or duration,
        duration=duration,
        processes=wish.processes,
        ramp=times["--ramp"],
        longest_wait=times["--longest-wait"],
        seed=seed,
        check_in=wish.check_in,
    )


def _times(texts: Mapping[str, str], problems: list[str]) -> dict[str, timedelta]:
    times = {}
    for option, text in texts.items():
        try:
            times[option] = read_duration(text)
        except ValueError:
            problems.append(f"{option}: {text!r} is no duration; write it as 90s, 1.5m or 2h")
            continue
        if times[option] < timedelta():
            problems.append(f"{option}: must not be negative")
    return times


def _script(content: bytes | None, problems: list[str]) -> Script:
    if content is None:
        return Script()
    try:
        return read_script(content.decode())
    except UnicodeDecodeError:
        problems.append("--script: is no text in UTF-8")
    except ScriptError as error:
        problems += [f"--script: {problem}" for problem in error.problems]
    return Script()


def _numbers(wish: Wish, problems: list[str]) -> tuple[int, ...]:
    """Choose the first agents of the fleet."""
    _require(wish.state_dir)
    with opened(wish.state_dir) as members:
        enrolled = sorted(members.numbers())
    wanted = len(enrolled) if wish.agents is None else wish.agents
    if wanted > len(enrolled) or enrolled[:wanted] != list(range(1, wanted + 1)):
        problems.append(f"--agents: {len(enrolled)} agents are enrolled, not {wanted}; run `epm-sim enrol` again")
    if not enrolled:
        problems.append(f"--state-dir: {wish.state_dir} holds no agents; run `epm-sim enrol` first")
    if wish.faithful > wanted:
        problems.append(f"--faithful: there are {wanted} agents, so it must be at most {wanted}")
    return tuple(enrolled[:wanted])


def _require(state_dir: Path) -> None:
    if not (state_dir / FILE).exists():
        fail(BAD_INPUT, f"--state-dir: {state_dir} holds no agents; run `epm-sim enrol` first")


@contextmanager
def _screen() -> Iterator[Screen]:
    if sys.stderr.isatty():
        with TableScreen() as table:
            yield table
    else:
        yield LineScreen(sys.stderr)
