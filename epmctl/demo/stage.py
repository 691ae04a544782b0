"""The processes of the demo: a server and three agents, each as an operator would start it, all ended at the end."""

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tenacity

from epmctl.chart import room
from epmctl.commands.serve import READY
from epmctl.demo.samples import Samples
from epmctl.errors import CommandError

START_SECONDS = 30.0
"""How long a process may take to be ready."""
STOP_SECONDS = 15.0
POLL_SECONDS = 0.1
INDENT = 4
"""How far what commands print is shown to the right: their tables fit a terminal that is so much narrower."""
_ENTRY = {"epm": "from epmctl.main import main; main()", "epm-agent": "from agent_stub.main import main; main()"}


@dataclass(slots=True)
class Stage:
    """Everything that runs, and the folder that it runs in."""

    folder: Path
    environ: Mapping[str, str]
    public_port: int
    mesh_port: int
    _server: subprocess.Popen[bytes] | None = None
    _agents: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @classmethod
    def prepare(cls, folder: Path) -> "Stage":
        """Take two free ports and an environment in which nothing of the user's own OpenEPM counts."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("EPM_")}
        environ = kept | {"EPM_CONFIG_DIR": str(folder / "config"), "EPM_AGENT_UNSAFE": "1"}
        if sys.stdout.isatty() or os.environ.get("COLUMNS"):
            environ["COLUMNS"] = str(room() - INDENT)
        (folder / "logs").mkdir()
        public_port, mesh_port = _free_ports()
        return cls(folder, environ, public_port, mesh_port)

    @property
    def server(self) -> str:
        """Give the public address."""
        return f"127.0.0.1:{self.public_port}"

    @property
    def data_dir(self) -> Path:
        """Give the server's data folder."""
        return self.folder / "server"

    def start_server(self) -> None:
        """Start `epm serve` and wait until it says that it serves."""
        arguments: list[str | Path] = ["serve", "--data-dir", self.data_dir]
        arguments += ["--public-port", str(self.public_port), "--mesh-port", str(self.mesh_port)]
        said = self._log("server").count(READY)
        self._server = self._start("epm", arguments, "server")
        self.wait_for("the server", lambda: self._log("server").count(READY) > said)

    def stop_server(self) -> None:
        """Stop `epm serve` as an operator does, and wait for its end."""
        if self._server is not None:
            _end(self._server)
            self._server = None

    def start_agent(self, name: str, samples: Samples, platform: str) -> None:
        """Start `epm-agent run` for an enrolled device."""
        arguments: list[str | Path] = [
            "run",
            "--state-dir",
            self.state_dir(name),
            "--trusted-signers",
            samples.trusted_signers,
        ]
        arguments += ["--unsafe-stated-identity", "--unsafe-platform", platform]
        if platform == "WINDOWS":
            arguments += ["--unsafe-drive", f"C:={samples.drive}"]
        self._agents[name] = self._start("epm-agent", arguments, name)

    def state_dir(self, name: str) -> Path:
        """Give the state folder of an agent."""
        return self.folder / name

    def run(self, program: str, *arguments: str | Path, codes: Sequence[int] = (0,), secret: str = "") -> str:
        """Run a command to its end and give what it prints; raise CommandError for an unexpected exit status."""
        done = subprocess.run(  # noqa: S603 - our own program
            [*command(program), *map(str, arguments)],
            env=self.environ,
            cwd=self.folder,
            input=secret,
            capture_output=True,
            text=True,
            timeout=START_SECONDS,
            check=False,
        )
        if done.returncode not in codes:
            said = done.stderr.strip() or done.stdout.strip()
            raise CommandError(f"{program} {arguments[0]} ended with {done.returncode}: {said}")
        return done.stdout

    def run_json(self, program: str, *arguments: str | Path, codes: Sequence[int] = (0,), secret: str = "") -> Any:
        """Run a command with `--output json` and give what it prints, parsed."""
        return json.loads(self.run(program, *arguments, codes=codes, secret=secret))

    def wait_for(self, what: str, ready: Callable[[], bool]) -> None:
        """Wait until something is true; raise CommandError, with the logs' ends, if it takes too long or a process dies."""
        waiting = tenacity.Retrying(
            retry=tenacity.retry_if_result(lambda found: not found),
            wait=tenacity.wait_fixed(POLL_SECONDS),
            stop=tenacity.stop_after_delay(START_SECONDS),
        )
        try:
            waiting(self._look, ready)
        except tenacity.RetryError as error:
            problem = f"{what} took longer than {START_SECONDS:.0f} s"
            raise CommandError(problem, *self._log_ends(self._processes())) from error

    def close(self) -> None:
        """End every process that was started here."""
        for process in self._agents.values():
            _end(process)
        self._agents.clear()
        self.stop_server()

    def _look(self, ready: Callable[[], bool]) -> bool:
        dead = [name for name, process in self._processes().items() if process.poll() is not None]
        if dead:
            raise CommandError(f"{', '.join(dead)} ended early", *self._log_ends(dead))
        return ready()

    def _processes(self) -> dict[str, subprocess.Popen[bytes]]:
        return self._agents | ({"server": self._server} if self._server else {})

    def _start(self, program: str, arguments: Sequence[str | Path], name: str) -> subprocess.Popen[bytes]:
        with (self.folder / "logs" / f"{name}.log").open("ab") as log:
            return subprocess.Popen(  # noqa: S603 - our own program
                [*command(program), *map(str, arguments)],
                env=self.environ,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def _log_ends(self, names: Iterable[str]) -> list[str]:
        return [f"{name}: {line}" for name in names for line in self._log(name).splitlines()[-5:]]

    def _log(self, name: str) -> str:
        path = self.folder / "logs" / f"{name}.log"
        return path.read_text(errors="replace") if path.exists() else ""


def command(program: str) -> list[str]:
    """Give the command that starts one of our programs with the interpreter of this process."""
    return [sys.executable, "-c", _ENTRY[program]]


def remove(folder: Path) -> None:
    """Remove the demo's folder."""
    shutil.rmtree(folder, ignore_errors=True)


def _free_ports() -> tuple[int, int]:
    with socket.create_server(("127.0.0.1", 0)) as public, socket.create_server(("127.0.0.1", 0)) as mesh:
        return public.getsockname()[1], mesh.getsockname()[1]


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
