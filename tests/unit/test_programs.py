"""A forked program is what a started one is."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.builders.installation import Done, Installation
from tests.builders.programs import Forked, Process, run, start

PATIENCE = 30.0
TELL = """
import json, os, signal, sys
print("said", file=sys.stderr)
json.dump({
    "argv": sys.argv,
    "environ": dict(os.environ),
    "folder": os.getcwd(),
    "input": sys.stdin.read(),
    "signals": [str(signal.getsignal(number)) for number in signal.valid_signals()],
    "blocked": list(signal.pthread_sigmask(signal.SIG_BLOCK, [])),
    "streams": [[s.encoding, s.errors, s.line_buffering] for s in (sys.stdin, sys.stdout, sys.stderr)],
    "descriptors": sorted(os.listdir("/proc/self/fd"))[:-1],
    "threads": len(os.listdir("/proc/self/task")),
    "session": [os.getpgrp(), os.getsid(0)],
    "name": __name__,
}, sys.stdout)
raise SystemExit(7)
"""
ENVIRON = {"PATH": os.environ["PATH"], "ONLY": "this"} | {
    name: value for name, value in os.environ.items() if name.startswith(("PYTHON", "LANG", "LC_"))
}
on_linux = pytest.mark.skipif(sys.platform != "linux", reason="programs are forked on Linux alone")


def python(code: str, *arguments: str) -> list[str]:
    return [sys.executable, "-c", code, *arguments]


def begun(folder: Path, code: str, *, forked: bool) -> Process:
    """Start a program, and return once it has printed a line."""
    read, write = os.pipe()
    with Path(os.devnull).open("r+b") as nothing, os.fdopen(read, "rb") as output:
        none = nothing.fileno()
        process = start(
            python(f"print('begun', flush=True); {code}"),
            environ=ENVIRON,
            folder=folder,
            streams=(none, write, none),
            forked=forked,
        )
        os.close(write)
        assert output.readline() == b"begun\n"
    return process


def told(folder: Path, *, forked: bool) -> Any:
    code, output, errors = run(
        python(TELL, "one", "two words"), "typed", PATIENCE, environ=ENVIRON, folder=folder, forked=forked
    )
    assert (code, errors) == (7, "said\n")
    return json.loads(output)


@on_linux
def test_a_forked_program_finds_what_a_started_one_finds(tmp_path: Path) -> None:
    found = told(tmp_path, forked=True)
    assert found == told(tmp_path, forked=False)
    assert (found["argv"], found["folder"], found["input"]) == (["-c", "one", "two words"], str(tmp_path), "typed")
    assert found["environ"]["ONLY"] == "this"


@on_linux
def test_programs_that_were_forked_draw_numbers_of_their_own(tmp_path: Path) -> None:
    draw = python("import random, secrets, uuid; print(random.random(), secrets.token_hex(), uuid.uuid4())")
    drawn = [run(draw, "", PATIENCE, environ=ENVIRON, folder=tmp_path)[1].split() for _ in range(2)]
    assert all(one != other for one, other in zip(*drawn, strict=True))


@pytest.mark.parametrize("forked", [True, False])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_program_that_a_signal_ends_says_which(tmp_path: Path, number: int, *, forked: bool) -> None:
    process = begun(tmp_path, "import signal; signal.pause()", forked=forked)
    assert isinstance(process, Forked) == (forked and sys.platform == "linux")
    assert process.poll() is None
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.01)
    process.send_signal(number)
    assert process.wait(PATIENCE) == process.poll() == -number
    process.kill()  # there is nobody left to be hit
    assert process.wait() == -number


@pytest.mark.parametrize("forked", [True, False])
def test_a_program_ends_as_programs_do(tmp_path: Path, *, forked: bool) -> None:
    code = "import atexit; atexit.register(print, 'last'); print('first'); raise ValueError('wrong')"
    ended, output, errors = run(python(code), "", PATIENCE, environ=ENVIRON, folder=tmp_path, forked=forked)
    assert (ended, output) == (1, "first\nlast\n")
    assert errors.endswith("ValueError: wrong\n")


def test_a_program_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    with pytest.raises(subprocess.TimeoutExpired):
        run(python("import signal; signal.pause()"), "", 0.2, environ=ENVIRON, folder=tmp_path)


@pytest.mark.parametrize("forked", [True, False])
def test_what_is_no_python_and_what_an_interpreter_reads_as_it_starts_is_started(
    tmp_path: Path, *, forked: bool
) -> None:
    unbuffered = {**ENVIRON, "PYTHONUNBUFFERED": "1"}
    asked = python("import sys; print(sys.stdout.write_through)")
    for command, said in ((asked, "True\n"), (["sh", "-c", "echo True"], "True\n")):
        assert run(command, "", PATIENCE, environ=unbuffered, folder=tmp_path, forked=forked)[1] == said


@pytest.mark.parametrize("program", ["epm", "epm-agent", "epm-sim"])
@pytest.mark.parametrize("words", [["--help"], ["--version"], ["never-heard-of"]])
def test_our_programs_say_the_same_forked_or_started(tmp_path: Path, program: str, words: list[str]) -> None:
    assert said(tmp_path, program, words, forked=True) == said(tmp_path, program, words, forked=False)


def said(folder: Path, program: str, words: list[str], *, forked: bool) -> Done:
    return Installation(folder, forked=forked).run(program, *words)
