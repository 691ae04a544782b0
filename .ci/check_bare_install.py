"""Prove that the bare wheel is enough for a device: run by the Python it was installed into, from an empty folder."""

import importlib
import importlib.util
import pkgutil
import subprocess
import sys
from pathlib import Path

SERVER_ONLY = ("sqlalchemy", "alembic", "aiosqlite", "psycopg", "grpc_reflection")


def main() -> int:
    """Check and say what was found; return the exit code."""
    problems = [f"{name} is installed" for name in SERVER_ONLY if importlib.util.find_spec(name)]
    modules = agent_modules()
    for module in modules:
        importlib.import_module(module)
    problems += [f"{name} was loaded by the agent" for name in SERVER_ONLY if name in sys.modules]
    starts = (("epm-agent", "--help"), ("epm", "--help"), ("epm-sim", "--help"), ("epm", "schema"))
    problems += [problem for program, argument in starts if (problem := start(program, argument))]
    for problem in problems:
        print(problem, file=sys.stderr)
    if not problems:
        print(
            f"bare wheel: {len(modules)} agent modules load, epm-agent, epm and epm-sim start, no server library in sight"
        )
    return 1 if problems else 0


def agent_modules() -> list[str]:
    """Name every module of the agent; importing `__main__` would run it."""
    agent = importlib.import_module("agent_stub")
    names = [module.name for module in pkgutil.walk_packages(agent.__path__, "agent_stub.")]
    return [name for name in names if not name.endswith("__main__")]


def start(program: str, argument: str) -> str:
    """Start a program with one argument; return what went wrong, or nothing."""
    path = Path(sys.executable).parent / program
    run = subprocess.run([path, argument], capture_output=True, text=True, check=False)  # noqa: S603 - our own
    return "" if run.returncode == 0 else f"{program} {argument} ended with {run.returncode}: {run.stderr}"


if __name__ == "__main__":
    sys.exit(main())
