"""`epm demo`: serve, enrol, apply, elevate, report; then say what to try next."""

import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from epmctl.demo.samples import Samples, make_samples, today
from epmctl.demo.script import Step, offline_steps, online_steps
from epmctl.demo.stage import INDENT, Stage, remove
from epmctl.errors import CommandError

DEVICES = {"ws-1": "WINDOWS", "ws-2": "WINDOWS", "lx-1": "LINUX"}
_ELEVATE_CODES = (0, 1, 3)


@click.command()
@click.option("--keep", is_flag=True, help="Leave the temporary folder behind, to look around in it.")
def demo(*, keep: bool) -> int:
    """Start everything in a temporary folder and show it at work.

    A server, three agents, a dozen attempts to elevate real files, and the reports on them. Takes less than a minute, leaves
    nothing running, and ends with 0 only if every decision and every count is as expected.
    """
    folder = Path(tempfile.mkdtemp(prefix="openepm-demo-"))
    stage = Stage.prepare(folder)
    try:
        problems = _play(stage)
    finally:
        stage.close()
        if not keep:
            remove(folder)
    return _end(problems, folder if keep else None)


def _play(stage: Stage) -> list[str]:
    click.echo("OpenEPM demo: users work with standard rights, chosen files run elevated, everything is reported.\n")
    samples = make_samples(stage.folder, now=today())
    _serve(stage)
    _enrol(stage, samples)
    _head("What people elevate, and why")
    online, offline = online_steps(samples), offline_steps(samples)
    problems = _attempt(stage, online)
    _say("the server is stopped; the agents go on with the policy they hold")
    stage.stop_server()
    problems += _attempt(stage, offline)
    _say("the server is back; what was decided meanwhile follows")
    stage.start_server()
    return problems + _report(stage, [*online, *offline])


def _serve(stage: Stage) -> None:
    _head("A server: four services in one process")
    _command("epm serve --data-dir server")
    stage.start_server()
    _command(f"epm login --server {stage.server} --ca server/ca/ca.crt --token-file server/owner-token")
    stage.run(
        "epm", "login", "--server", stage.server, "--ca", _ca(stage), "--token-file", stage.data_dir / "owner-token"
    )
    _command("epm apply -f policies")
    click.echo(_indented(stage.run("epm", "apply", "-f", "policies")))


def _enrol(stage: Stage, samples: Samples) -> None:
    _head("Three devices")
    created = stage.run_json(
        "epm", "enrolment-token", "create", "--quota", str(len(DEVICES)), *_users(), "--output", "json"
    )
    for name, platform in DEVICES.items():
        _command(f"epm-agent enroll --server {stage.server} --ca server/ca/ca.crt --token-file - --name {name}")
        arguments: list[str | Path] = [
            "--server",
            stage.server,
            "--ca",
            _ca(stage),
            "--token-file",
            "-",
            "--name",
            name,
        ]
        arguments += ["--unsafe-platform", platform, "--state-dir", stage.state_dir(name)]
        stage.run("epm-agent", "enroll", *arguments, secret=created["secret"])
        stage.start_agent(name, samples, platform)
    stage.wait_for("the policy's way to the devices", lambda: all(_has_policy(stage, name) for name in DEVICES))
    click.echo(_indented(stage.run("epm", "get", "devices")))


def _users() -> list[str]:
    return [word for user in ("alice", "bob", "carol", "dora") for word in ("--user", user)]


def _has_policy(stage: Stage, name: str) -> bool:
    try:
        status = stage.run_json("epm-agent", "status", "--state-dir", stage.state_dir(name), "--output", "json")
    except CommandError:
        return False
    return bool(status["policy"]["enabled"] and status["component"]["stands"])


def _attempt(stage: Stage, steps: Sequence[Step]) -> list[str]:
    problems = []
    for step in steps:
        arguments: list[str | Path] = [
            *step.options,
            "--as",
            step.user,
            "--state-dir",
            stage.state_dir(step.device),
            "--output",
            "json",
        ]
        arguments += [step.file, "--", *step.arguments]
        answer = stage.run_json("epm-agent", "elevate", *arguments, codes=_ELEVATE_CODES)
        _show(step, answer)
        differences = step.differs(answer)
        problems += [f"{step.about}: {difference}" for difference in differences]
    return problems


def _show(step: Step, answer: dict[str, Any]) -> None:
    decision = answer["decision"]
    mark = click.style("ok ", fg="green") if not step.differs(answer) else click.style("?? ", fg="red")
    what = " ".join((answer["file"]["path"], *step.arguments))
    click.echo(f"  {mark}{step.user}@{step.device}  {what}")
    click.echo(f"      {step.about}")
    outcome = click.style(f"{decision['outcome']:<16}", bold=True)
    click.echo(f"      {outcome} {decision['reason']}  [{answer['result']}]")


def _report(stage: Stage, steps: Sequence[Step]) -> list[str]:
    _head("The reports, seconds later")
    wanted = len(steps)
    stage.wait_for("the events' way to the reports", lambda: _summary(stage)["total"] >= wanted)
    for report in ("elevations", "applications", "users", "readiness", "overview"):
        _command(f"epm report {report}")
        click.echo(_indented(stage.run("epm", "report", report)))
    return _count_problems(_summary(stage), steps)


def _summary(stage: Stage) -> dict[str, Any]:
    summary: dict[str, Any] = stage.run_json("epm", "report", "summary", "--output", "json")
    return summary


def _count_problems(summary: dict[str, Any], steps: Sequence[Step]) -> list[str]:
    unmanaged = sum(step.outcome == "NOT_MANAGED" for step in steps)
    wanted = {"total": len(steps), "managed": len(steps) - unmanaged, "unmanaged": unmanaged}
    problems = [
        f"the report counts {summary[name]} {name} attempts, expected {count}"
        for name, count in wanted.items()
        if summary[name] != count
    ]
    results = {entry["result"]: entry["count"] for entry in summary["results"]}
    expected = dict(Counter(step.result for step in steps))
    if results != expected:
        problems.append(f"the report counts the results {results}, expected {expected}")
    return problems


def _end(problems: Sequence[str], kept: Path | None) -> int:
    if problems:
        click.secho("\nNot as expected:", fg="red")
        for problem in problems:
            click.echo(f"  {problem}")
        return 1
    click.secho("\nEvery decision and every count is as expected.", fg="green")
    click.echo(_NEXT)
    if kept:
        click.echo(f"The demo's folder is {kept}: policies/, server/ and the logs of all processes.")
    return 0


def _ca(stage: Stage) -> Path:
    return stage.data_dir / "ca" / "ca.crt"


def _head(text: str) -> None:
    click.secho(f"\n{text}", bold=True)


def _say(text: str) -> None:
    click.secho(f"  -- {text}", fg="cyan")


def _command(text: str) -> None:
    click.secho(f"  $ {text}", fg="blue")


def _indented(text: str) -> str:
    return "".join(f"{' ' * INDENT}{line}\n" for line in text.rstrip("\n").splitlines())


_NEXT = """
Try next:
  epm serve --data-dir ./epm-data                  a server of your own; it prints the next command
  epm simulate -f POLICIES --attempt ATTEMPT.json  what would be decided, and with --explain why not otherwise
  epm demo --keep                                  look at the documents this demo applied
"""
