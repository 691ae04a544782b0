"""The README's tour, followed to the letter: every command of it is run, and prints what the README says it prints."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.builders.installation import Installation, free_ports

pytestmark = pytest.mark.xdist_group("readme")
ROOT = Path(__file__).resolve().parents[2]
ENDLESS = {"epm serve": "server", "epm-agent run": "agent"}
VARYING = {
    r"kept in \S+": "kept in PROFILE",
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ": "TIME",
    r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}": "ID",
}


@dataclass(frozen=True, slots=True)
class Command:
    """One command of the tour, and what the README says that it prints."""

    line: str
    output: str

    @property
    def endless(self) -> str:
        """Return the name of the process that it starts; empty if it ends by itself."""
        return next((name for start, name in ENDLESS.items() if start in self.line), "")

    @property
    def words(self) -> list[str]:
        """Return its words, without the variable before them and the file after them."""
        found = shlex.split(self.line.partition(" > ")[0])
        return found[1:] if "=" in found[0] else found


def commands() -> list[Command]:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```console\n(.*?)```", text, flags=re.DOTALL)
    found = [
        re.match(r"\$ ([^\n]*)\n(.*)", part, flags=re.DOTALL)
        for block in blocks
        for part in re.split(r"(?m)^(?=\$ )", block)
    ]
    return [Command(match[1], match[2].strip()) for match in found if match and not match[1].startswith("export PATH")]


def masked(text: str, house: Installation) -> str:
    for address, written in ((house.server, "127.0.0.1:8443"), (house.mesh, "127.0.0.1:8444")):
        text = text.replace(address, written)
    for pattern, word in VARYING.items():
        text = re.sub(pattern, word, text)
    return text.strip()


class Tour(Installation):
    """The installation of the tour, in the folder that the README names."""

    @property
    def data_dir(self) -> Path:
        """Return the data folder of the server."""
        return self.folder / "tour" / "server"

    def state(self, name: str) -> Path:
        """Return the state folder of a device."""
        return self.folder / "tour" / name


@pytest.fixture
def house(tmp_path: Path) -> Iterator[Installation]:
    (tmp_path / "docs").symlink_to(ROOT / "docs")
    public, mesh = free_ports(2)
    built = Tour(tmp_path, server=f"127.0.0.1:{public}", mesh=f"127.0.0.1:{mesh}")
    try:
        yield built
    finally:
        built.close()


def take(house: Installation, command: Command) -> str:
    """Run a command of the tour, on ports of our own, and return what it prints."""
    words = [word.replace("127.0.0.1:8443", house.server) for word in command.words]
    if command.endless == "server":
        ports = [address.rpartition(":")[2] for address in (house.server, house.mesh)]
        house.start("server", *words, "--public-port", ports[0], "--mesh-port", ports[1])
        said = house.wait_for("the server", lambda: house.said("server"))
        house.settle()
        return said
    if command.endless:
        house.start(command.endless, *words)
        house.wait_for("the policy", lambda: house.is_ready("agent"))
        return ""
    if words[1] == "report":
        house.wait_for("the events", lambda: len(house.must("epm", "report", "elevations").output.splitlines()) == 4)
    done = house.run(*words)
    _, _, place = command.line.partition(" > ")
    if place:
        (house.folder / place).write_text(done.output, encoding="utf-8")
        return ""
    return done.errors + done.output


def test_the_tour_goes_as_the_readme_says(house: Installation) -> None:
    tour = commands()
    assert len(tour) >= 11
    for command in tour:
        printed = take(house, command)
        assert masked(printed, house) == masked(command.output, house), command.line


def test_the_readme_begins_with_the_two_commands() -> None:
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    found = [line.split("#")[0].strip() for line in lines if line.startswith("make ")]
    assert found[:2] == ["make demo", "make test"]
    assert lines.index("```") < 5
