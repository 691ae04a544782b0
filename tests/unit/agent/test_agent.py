"""The agent whole: as a process, with servers on loopback that come and go."""

import hashlib
import json
import os
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from elevation.codec.document import encode_document
from elevation.model import DefaultResponse, Settings, Validation
from tests.fakes.agent import DEVICE_ID, Installation, document
from tests.unit.agent.programs import agent, at_a_terminal, running
from tests.unit.agent.whole import CONFIRMED, Device

JUSTIFIED = Settings(
    default_response=DefaultResponse.USER_CONFIRMED, validations=frozenset({Validation.BUSINESS_JUSTIFICATION})
)


async def test_a_policy_is_enough_to_elevate_and_the_event_arrives(device: Device) -> None:
    async with device.runs() as process:
        await process.says("agent_started")
        assert not (device.state / "agent.sock").exists()
        device.offers(document(settings=CONFIRMED), 1)
        assert (await device.answers()).ack.revision == 1
        await process.says("component_provisioned")
        done = await device.elevates()
        assert (done.code, done.errors) == (
            0,
            "/usr/bin/env: no rule matches and the default response asks the user to confirm\n",
        )
        assert "this release records that and starts nothing" in done.output
        (entry,) = (await device.batch()).entries
        assert (entry.event.decided.user, len(entry.event.decided.file.sha256)) == ("alice", 64)
        assert (await process.ends(), (device.state / "agent.sock").exists()) == (0, False)


@pytest.mark.parametrize("nothing", ["", "   "], ids=["empty", "blank"])
async def test_a_person_who_gives_an_empty_reason_is_asked_again_with_a_word_why(device: Device, nothing: str) -> None:
    async with device.runs() as process:
        device.offers(document(settings=JUSTIFIED), 1)
        await process.says("component_provisioned")
        command = "elevate", "--state-dir", device.state, "--as", "alice", "/usr/bin/env"
        done = await at_a_terminal(*command, typed=f"y\n{nothing}\nto work\n")
        (entry,) = (await device.batch()).entries
    assert (done.code, entry.event.decided.justification) == (0, "to work")
    _, first, second = done.errors.split("Reason (up to 256 characters)")
    assert "give a reason of 1 to 256 characters" in first
    assert "give a reason" not in second


async def test_the_launcher_records_what_it_would_start(device: Device) -> None:
    async with device.runs() as process:
        device.offers(document(settings=CONFIRMED), 1)
        await process.says("component_provisioned")
        await device.elevates()
    (line,) = (device.state / "launches.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(line) == {"file": os.path.realpath("/usr/bin/env"), "arguments": [], "user": "alice"}  # noqa: ASYNC240


async def test_a_device_that_is_offline_decides_by_what_it_holds_and_reports_later(
    device: Device, online: AsyncExitStack
) -> None:
    async with device.runs() as process:
        device.offers(document(settings=CONFIRMED), 1)
        await process.says("component_provisioned")
        await process.ends()
    port = int(device.servers.mesh_address.rpartition(":")[2])
    await online.aclose()
    async with device.runs() as process:
        await process.says("component_provisioned")
        assert (await device.elevates()).code == 0
        status = await device.status()
        assert (status["policy"]["revision"], status["eventsWaiting"]) == (1, 1)
        held = hashlib.sha256(encode_document(document(settings=CONFIRMED)).SerializeToString()).hexdigest()
        assert status["policy"]["sha256"] == held
        assert not any(link["connected"] for link in status["links"].values())
        async with device.servers.running(port):
            assert [entry.event.decided.user for entry in (await device.batch()).entries] == ["alice"]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"tenant": "other.test"}, "the manifest is for the installation"),
        ({"device_id": "other"}, "the manifest is for the device"),
        ({"document_sha256": bytes(32)}, "the document's SHA-256 is not the one of the manifest"),
        ({"key_id": "other"}, "the manifest is signed by the key"),
        ({"revision": 1}, "revision 1 is older than revision 2"),
    ],
)
async def test_what_is_refused_is_answered_and_leaves_the_last_good_policy_working(
    device: Device, changes: dict[str, object], reason: str
) -> None:
    async with device.runs() as process:
        device.offers(document(settings=CONFIRMED), 2)
        assert (await device.answers()).ack.revision == 2
        device.offers(document(), **({"revision": 3} | changes))  # type: ignore[arg-type]
        nack = (await device.answers()).nack
        assert any(reason in found for found in nack.reasons)
        await process.says("policy_refused")
        assert (await device.elevates()).code == 0
        (entry,) = (await device.batch()).entries
        assert reason in entry.event.diagnostic.message


async def test_a_forged_offer_is_refused(device: Device) -> None:
    async with device.runs():
        device.servers.installation, honest = Installation(), device.servers.installation
        device.offers(document(settings=CONFIRMED), 1)
        assert list((await device.answers()).nack.reasons) == ["the signature of the manifest is wrong"]
        device.servers.installation = honest
        assert (await device.status())["policy"]["revision"] is None


async def test_a_corrupted_policy_and_a_corrupted_journal_are_said_and_cost_nothing_else(device: Device) -> None:
    async with device.runs() as process:
        device.offers(document(settings=CONFIRMED), 1)
        await process.says("component_provisioned")
        await process.ends()
    for name in ("policy", "security.journal"):
        damage(device.state / name)
    async with device.runs() as process:
        await process.says("journal_damaged")
        await process.says("policy_cache_damaged")
        assert (await device.status())["policy"]["revision"] is None
        device.offers(document(settings=CONFIRMED), 2)
        await process.says("component_provisioned")
        codes = {entry.event.diagnostic.code for entry in (await device.batch()).entries}
        codes |= {entry.event.diagnostic.code for entry in (await device.batch()).entries} if len(codes) < 2 else set()
        assert codes == {"POLICY_CACHE_DAMAGED", "EVENTS_LOST"}
        assert (await device.elevates()).code == 0


def damage(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


async def test_a_second_agent_on_the_same_folder_is_refused(device: Device) -> None:
    async with device.runs() as process:
        await process.says("agent_started")
        done = await agent("run", "--state-dir", device.state)
        assert (done.code, "another epm-agent runs on it; stop that one first" in done.errors) == (1, True)


async def test_an_agent_that_is_not_unsafe_asks_the_system_who_calls(device: Device) -> None:
    async with running(device.state) as process:
        device.offers(document(settings=CONFIRMED), 1)
        await process.says("component_provisioned")
        assert (await device.elevates()).code == 2
        own = await agent("elevate", "--state-dir", device.state, "/usr/bin/env")
        assert own.code == (3 if os.geteuid() == 0 else 1)


async def test_a_device_of_another_authority_is_not_let_in_and_says_so(device: Device) -> None:
    stranger = Installation()
    credentials = stranger.credentials(DEVICE_ID)
    for name, content in (("key.pem", credentials.key), ("certificate.pem", credentials.certificate)):
        (device.state / name).write_bytes(content)
    async with device.runs() as process:
        assert "UNAVAILABLE" in await process.says("link_failed")
        assert device.servers.policy.said.empty()
