"""`epm audit` against a real door: what it lists, what it exports, and what it says of a log that somebody touched."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from auditchain.lines import read_line
from services._chassis.server import ServiceParts
from tests.builders.audit import DemoService, demo_service, tamper
from tests.builders.console import Console, Outcome
from tests.builders.doors import open_doors
from tests.fakes.access import FakeAccess

SERVICES = ("rbac", "device", "policy", "reporting")


class Desk:
    """Four services with logs, and an auditor's console."""

    def __init__(self, folder: Path, services: dict[str, DemoService], console: Console) -> None:
        self.folder = folder
        self.services = services
        self.console = console
        self.checkpoints = folder / "audit" / "rbac.checkpoints"
        self.key = folder / "keys" / "audit-rbac.pub"

    async def epm(self, *arguments: str | Path) -> Outcome:
        """Run a command beside the server."""
        return await asyncio.to_thread(self.console.run, "audit", *map(str, arguments))

    def tamper(self, *statements: str) -> None:
        """Change the file of the rbac service."""
        tamper(self.folder / "rbac.db", *statements)

    async def exported(self) -> Path:
        """Export all logs to a file."""
        done = await self.epm("export")
        assert done.code == 0, done.err
        path = self.folder / "export.jsonl"
        path.write_text(done.out, encoding="utf-8")
        return path


@pytest.fixture
async def desk(stranger: Console, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Desk]:
    access = FakeAccess()
    async with AsyncExitStack() as held:
        held.enter_context(capture_logs())  # the server's, which would stand between what the commands print
        services = {
            name: await held.enter_async_context(
                demo_service(f"sqlite:///{tmp_path / name}.db", tmp_path, clock=access.control.clock, name=name)
            )
            for name in SERVICES
        }
        parts = [ServiceParts(name=name, access=access.control, audit=each.log) for name, each in services.items()]
        doors = await held.enter_async_context(open_doors(tmp_path, *parts))
        monkeypatch.setenv("EPM_SERVER", doors.settings.public_address)
        monkeypatch.setenv("EPM_CA", str(stranger.ca))
        monkeypatch.setenv("EPM_TOKEN", access.grant("user:auditor", ["audit.read"]))
        yield Desk(tmp_path, services, stranger)


async def test_a_list_shows_the_logs_of_all_services_newest_first(desk: Desk) -> None:
    for name in SERVICES:
        await desk.services[name].write(f"thing of {name}")
    done = await desk.epm("list", "--action", "thing_made")
    assert done.code == 0
    targets = [f"Thing thing of {name}" for name in reversed(SERVICES)]
    found = [next(target for target in targets if target in line) for line in done.out.splitlines()[1:]]
    assert found == targets


async def test_filters_and_the_limit_narrow_a_list(desk: Desk) -> None:
    await desk.services["rbac"].write("a", "b", "a")
    one = await desk.epm("list", "--service", "rbac", "--target", "a", "--limit", "1", "--output", "json")
    assert [(record["sequence"], record["target"]) for record in one.json] == [(3, "a")]
    assert "there are more than 1" in one.err
    nobody = await desk.epm("list", "--service", "rbac", "--actor", "user:nobody", "--output", "json")
    assert nobody.json == []
    old = await desk.epm("list", "--service", "rbac", "--until", "1d", "--output", "json")
    assert old.json == []
    recent = await desk.epm("list", "--service", "rbac", "--since", "1h", "--limit", "0", "--output", "json")
    assert [record["action"] for record in recent.json] == ["audit_read"] * 4 + ["thing_made"] * 3
    assert recent.json[-1]["after"] == '{"name":"a","ü":1.5}'
    assert len(recent.json[-1]["hash"]) == 64


async def test_times_in_the_wrong_order_are_refused_here(desk: Desk) -> None:
    assert (await desk.epm("list", "--since", "1h", "--until", "2h")).code == 2


async def test_an_export_holds_keys_records_and_checkpoints_of_every_service(desk: Desk) -> None:
    await desk.services["device"].write("a")
    path = await desk.exported()
    lines = [read_line(text) for text in path.read_text(encoding="utf-8").splitlines()]
    kinds = [(line.service, type(line.part).__name__) for line in lines]
    of_device = [kind for service, kind in kinds if service == "device"]
    assert of_device[:4] == ["str", "AuditRecord", "AuditRecord", "Checkpoint"]
    assert set(of_device[4:]) <= {"Checkpoint"}  # as many as were signed until then
    assert list(dict.fromkeys(service for service, _ in kinds)) == list(SERVICES)


async def test_logs_that_nobody_touched_are_whole(desk: Desk) -> None:
    await desk.services["rbac"].write("a", "b")
    online = await desk.epm("verify")
    assert (online.code, online.out.count("whole")) == (0, 4)
    path = await desk.exported()
    kept = ("--checkpoints", desk.checkpoints, "--key", desk.key, "--service", "rbac")
    offline = await desk.epm("verify", "--file", path, *kept, "--output", "json")
    assert (offline.code, offline.json["whole"], offline.err) == (0, True, "")
    (verdict,) = offline.json["services"]
    assert (verdict["service"], verdict["records"], verdict["signedThrough"]) == ("rbac", 4, 4)


async def test_a_log_that_somebody_touched_is_broken_and_the_place_is_named(desk: Desk) -> None:
    await desk.services["rbac"].write("a", "b", "c", "d", "e")
    await desk.services["rbac"].log.seal()
    desk.tamper("UPDATE rbac_audit SET actor = 'user:mallory' WHERE sequence = 2")
    desk.tamper("DELETE FROM rbac_audit WHERE sequence = 4")
    done = await desk.epm("verify")
    assert done.code == 1
    assert "rbac: record 2 altered: " in done.err
    assert "rbac: record 4 missing: " in done.err
    assert [line.split()[-1] for line in done.out.splitlines()[1:]] == ["BROKEN", "whole", "whole", "whole"]
    found = await desk.epm("verify", "--service", "rbac", "--output", "json")
    assert (found.code, found.json["whole"]) == (1, False)
    findings = [(each["fault"], each["first"], each["last"]) for each in found.json["services"][0]["findings"]]
    assert findings == [("ALTERED", 2, 2), ("MISSING", 4, 4)]


async def test_an_exported_file_is_verified_without_a_server(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    await desk.services["rbac"].write("a", "b", "c")
    path = await desk.exported()
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    place = next(number for number, line in enumerate(lines) if '"target":"b"' in line)
    edited = [*lines[:place], lines[place].replace('"target":"b"', '"target":"x"'), *lines[place + 1 :]]
    swapped = [*lines[:place], lines[place + 1], lines[place], *lines[place + 2 :]]
    without = [line for line in lines if '"checkpoint"' not in line]
    monkeypatch.delenv("EPM_SERVER")
    said = {}
    for name, content in {"edited": edited, "swapped": swapped, "without": without}.items():
        path.write_text("".join(content), encoding="utf-8")
        done = await desk.epm("verify", "--file", path, "--service", "rbac")
        assert done.code == 1
        said[name] = done.err
    assert "rbac: record 2 altered" in said["edited"]
    assert "rbac: record 2 misplaced" in said["swapped"]
    assert "no checkpoint vouches for the log" in said["without"]


async def test_checkpoints_that_were_kept_elsewhere_find_what_was_cut_off(desk: Desk) -> None:
    await desk.services["rbac"].write("a", "b", "c")
    await desk.services["rbac"].log.seal()
    kept = desk.folder / "elsewhere"
    shutil.copy(desk.checkpoints, kept)
    with kept.open("a", encoding="utf-8") as file:
        file.write('{"service":"rbac","checkp')
    path = await desk.exported()
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    path.write_text("".join(lines[:2]), encoding="utf-8")
    done = await desk.epm("verify", "--file", path, "--checkpoints", kept)
    assert done.code == 1
    assert "elsewhere:2: is no checkpoint; passed over" in done.err
    assert "rbac: records 2 to 3 missing: a checkpoint of " in done.err


async def test_checkpoints_of_a_key_that_is_not_trusted_count_for_nothing(desk: Desk) -> None:
    await desk.services["rbac"].write("a")
    done = await desk.epm("verify", "--service", "rbac", "--key", desk.folder / "keys" / "audit-device.pub")
    assert done.code == 1
    assert "is signed by no key that is trusted" in done.err


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "holds no log"),
        ("hello\n", "1: is no line of an export"),
        ('{"service":"rbac","record":{"sequence":1}}\n', "must hold exactly"),
        ('{"service":"rbac","service":"rbac"}\n', "names a key twice"),
        ('{"service":"rbac","other":1}\n', "must hold one of"),
        ("[" * 100_000, "is no line of an export"),
    ],
)
async def test_a_file_that_is_no_export_is_bad_input(desk: Desk, text: str, said: str) -> None:
    path = desk.folder / "export.jsonl"
    path.write_text(text, encoding="utf-8")
    done = await desk.epm("verify", "--file", path)
    assert (done.code, said in done.err) == (2, True), done.err


async def test_files_that_cannot_be_used_are_bad_input(desk: Desk) -> None:
    path = await desk.exported()
    missing = desk.folder / "missing"
    for arguments in (("--file", missing), ("--file", path, "--checkpoints", missing), ("--file", path, "--key", path)):
        assert (await desk.epm("verify", *arguments)).code == 2


async def test_who_may_not_read_the_log_is_told_so(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EPM_TOKEN", "epm_unknown")
    for command in ("list", "export", "verify"):
        assert (await desk.epm(command)).code == 1
