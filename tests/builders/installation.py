"""A whole installation for the journeys: `epm serve` and agents as processes, as an operator starts them."""

import json
import os
import random
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import tenacity

from tests.builders import programs
from tests.builders.migrated import put_databases
from tests.builders.programs import Process

PATIENCE = 30.0
"""Seconds that anything here may take on a busy machine."""

OWN_PORTS = (20_000, 32_000)
"""Below those that systems give to connections."""

Found = TypeVar("Found")
Wrap = Callable[[list[str]], list[str]]
_ENTRIES = {
    "epm": "from epmctl.main import main; main()",
    "epm-agent": "from agent_stub.main import main; main()",
    "epm-sim": "from fleet.main import main; main()",
}


@dataclass(frozen=True, slots=True)
class Done:
    """What a command printed and how it ended."""

    code: int
    output: str
    errors: str

    def json(self) -> Any:
        """Return what it printed, parsed."""
        return json.loads(self.output)


@dataclass(slots=True)
class Program:
    """A process that goes on until it is ended."""

    process: Process
    output: Path
    log: Path

    def end(self) -> int:
        """Ask it to end and return its exit code."""
        if self.process.poll() is None:
            self.process.terminate()
        try:
            return self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise

    def kill(self) -> None:
        """End it as a power cut does."""
        self.process.kill()
        self.process.wait()


@dataclass(slots=True)
class Installation:
    """A folder with everything of one installation, and the processes that work on it."""

    folder: Path
    server: str = ""
    mesh: str = ""
    settings: dict[str, str] = field(default_factory=dict)
    """Further `EPM_*` settings of the server."""
    programs: dict[str, Program] = field(default_factory=dict)
    wraps: dict[str, Wrap] = field(default_factory=dict)
    """What makes another command of the one that is to be started under a name, for programs that have to fail."""
    forked: bool = True
    """Whether programs may be forked off one that has imported everything: see `programs`."""

    @property
    def data_dir(self) -> Path:
        """Return the data folder of the server."""
        return self.folder / "data"

    @property
    def ca(self) -> Path:
        """Return the certificate of the CA."""
        return self.data_dir / "ca" / "ca.crt"

    def serve(self, *arguments: str, name: str = "server", settled: bool = True) -> None:
        """Start the server, on the ports that it had before if it had some, and wait until it serves and has `settled`."""
        self.launch(*arguments, name=name)
        output = self.wait_for("the server", lambda: self.said(name))
        self.server = _address("public", output)
        self.mesh = _address("mesh", output)
        if settled:
            self.settle()

    def settle(self) -> None:
        """Wait until the server knows its devices and groups: till then it refuses most of what is asked."""
        self.wait_for("the directory", lambda: self.knows(self.data_dir / "owner-token"))

    def knows(self, token: Path, *asked: str) -> bool:
        """Tell whether the server answers who brings the token; without a question one that needs the directory is asked."""
        caller = {"EPM_SERVER": self.server, "EPM_CA": str(self.ca), "EPM_TOKEN_FILE": str(token)}
        return self.run("epm", *(asked or ("requests", "list")), **caller).code == 0

    def launch(self, *arguments: str, name: str = "server") -> None:
        """Start the server and wait for nothing."""
        ports = [address.rpartition(":")[2] or "0" for address in (self.server, self.mesh)]
        self.start(
            name,
            "epm",
            "serve",
            "--data-dir",
            self.data_dir,
            "--public-port",
            ports[0],
            "--mesh-port",
            ports[1],
            *arguments,
        )

    def said(self, name: str) -> str:
        """Return what a program printed so far; empty before its last line, which says what to do next."""
        text = self.programs[name].output.read_text(encoding="utf-8")
        return text if "mesh address" in text else ""

    def log_in(self) -> None:
        """Be the first Owner."""
        token = self.data_dir / "owner-token"
        self.must("epm", "login", "--server", self.server, "--ca", self.ca, "--token-file", token)

    def apply(self, documents: str, *, name: str = "documents.yaml") -> Done:
        """Apply documents."""
        path = self.folder / name
        path.write_text(documents, encoding="utf-8")
        return self.must("epm", "apply", "-f", path)

    def enrol(self, name: str, *users: str, platform: str = "LINUX") -> None:
        """Enrol a device with a token for its users."""
        bound = [word for user in users for word in ("--user", user)]
        created = self.must("epm", "enrolment-token", "create", "--quota", "1", *bound, "--output", "json").json()
        arguments: list[str | Path] = ["--server", self.server, "--ca", self.ca, "--token-file", "-", "--name", name]
        arguments += ["--unsafe-platform", platform, "--state-dir", self.state(name)]
        self.must("epm-agent", "enroll", *arguments, text=created["secret"])

    def run_agent(self, name: str, *, platform: str = "LINUX") -> None:
        """Start the agent of an enrolled device."""
        state = self.state(name)
        self.start(
            name, "epm-agent", "run", "--state-dir", state, "--unsafe-stated-identity", "--unsafe-platform", platform
        )

    def elevate(self, name: str, user: str, file: str | Path, *arguments: str, options: Sequence[str] = ()) -> Any:
        """Make an attempt on a device and return what was decided."""
        words = [*options, "--as", user, "--state-dir", self.state(name), "--output", "json", file, "--", *arguments]
        done = self.run("epm-agent", "elevate", *words)
        assert done.code in {0, 1, 3}, done.errors
        return done.json()

    def is_ready(self, name: str) -> bool:
        """Tell whether an agent holds a policy that turns elevation management on, and takes attempts."""
        done = self.run("epm-agent", "status", "--state-dir", self.state(name), "--output", "json")
        return done.code == 0 and bool(done.json()["policy"]["enabled"]) and bool(done.json()["component"]["stands"])

    def rolled_out(self, policy: str, *, devices: int = 1) -> bool:
        """Tell whether all devices that a policy is for applied its newest revision, at least so many: one may not be known yet."""
        done = self.run("epm", "rollout", "status", policy, "--output", "json")
        return done.code == 0 and done.json()["applied"] >= devices

    def status(self, name: str) -> Any:
        """Return what an agent says of itself."""
        return self.must("epm-agent", "status", "--state-dir", self.state(name), "--output", "json").json()

    def state(self, name: str) -> Path:
        """Return the state folder of a device."""
        return self.folder / f"agent-{name}"

    def run(self, program: str, *arguments: str | Path, text: str = "", **settings: str) -> Done:
        """Run a command to its end, with further settings in its environment."""
        code, output, errors = programs.run(
            [*_command(program), *map(str, arguments)],
            text,
            PATIENCE,
            environ=self.environ() | settings,
            folder=self.folder,
            forked=self.forked,
        )
        assert "Traceback" not in errors, errors
        return Done(code, output, errors)

    def must(self, program: str, *arguments: str | Path, text: str = "", **settings: str) -> Done:
        """Run a command that has to succeed."""
        done = self.run(program, *arguments, text=text, **settings)
        assert done.code == 0, f"{program} {arguments}: {done.code}: {done.errors or done.output}"
        return done

    def start(self, name: str, program: str, *arguments: str | Path) -> Program:
        """Start a process under a name."""
        output, log = self.folder / f"{name}.out", self.folder / f"{name}.log"
        command = [*_command(program), *map(str, arguments)]
        command = self.wraps[name](command) if name in self.wraps else command
        with Path(os.devnull).open("rb") as nothing, output.open("wb") as out, log.open("ab") as errors:
            streams = (nothing.fileno(), out.fileno(), errors.fileno())
            process = programs.start(
                command, environ=self.environ(), folder=self.folder, streams=streams, forked=self.forked
            )
        self.programs[name] = Program(process, output, log)
        return self.programs[name]

    def end(self, name: str) -> int:
        """End a process as an operator does, and return its exit code."""
        return self.programs.pop(name).end()

    def close(self) -> None:
        """End everything."""
        for name in list(self.programs):
            self.end(name)

    def environ(self) -> dict[str, str]:
        """Return an environment in which no OpenEPM of the user's own counts."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("EPM_")}
        own = {"EPM_CONFIG_DIR": str(self.folder / "config"), "EPM_AGENT_UNSAFE": "1"}
        return kept | own | self.settings

    def wait_for(self, what: str, find: Callable[[], Found]) -> Found:
        """Return what `find` gives as soon as it gives something."""
        waiting = tenacity.Retrying(
            retry=tenacity.retry_if_result(lambda found: not found),
            wait=tenacity.wait_fixed(0.1),
            stop=tenacity.stop_after_delay(PATIENCE),
        )
        try:
            found: Found = waiting(self._look, find)
        except tenacity.RetryError as error:
            raise AssertionError(f"{what} did not come\n{self._logs()}") from error
        return found

    def _look(self, find: Callable[[], Found]) -> Found:
        dead = [name for name, program in self.programs.items() if program.process.poll() is not None]
        assert not dead, f"{dead} ended early\n{self._logs()}"
        return find()

    def _logs(self) -> str:
        return "\n".join(f"{name}: {program.log.read_text()[-3000:]}" for name, program in self.programs.items())


def installation(folder: Path, *, mesh: str = "", **settings: str) -> AbstractContextManager[Installation]:
    """Serve a fresh installation, logged in as its first Owner, and end everything that was started in it.

    The mesh door gets the port of `mesh`, if that is given.
    """
    return served(Installation(folder, mesh=mesh, settings=settings))


@contextmanager
def served(built: Installation) -> Iterator[Installation]:
    """Serve an installation as `installation` does."""
    put_databases(built.data_dir)
    try:
        built.serve()
        built.log_in()
        yield built
    finally:
        built.close()


def free_ports(count: int) -> list[int]:
    """Return ports that nobody listens on, and that no system hands out by itself before they are used."""
    found: list[int] = []
    while len(found) < count:
        port = random.randrange(*OWN_PORTS)  # noqa: S311 - a die, no secret
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            found += [port] * (port not in found)
    return found


def _address(kind: str, output: str) -> str:
    found = re.search(rf"{kind} address\s+(\S+)", output)
    assert found is not None, output
    return found[1]


def _command(program: str) -> list[str]:
    return [sys.executable, "-c", _ENTRIES[program]]
