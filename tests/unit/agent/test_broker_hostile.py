"""Users who try to be elevated unseen, or as another file."""

from dataclasses import replace
from pathlib import Path

import pytest

from agent_stub.control.lines import LINE_LIMIT
from agent_stub.model import Question, Result
from elevation.model import (
    ChildProcesses,
    ElevationType,
    Platform,
)
from epm.elevation.v1 import event_pb2
from services.reporting.model.events import LARGEST_EVENT
from tests.builders.desk import HASH, Desk, rules
from tests.builders.elevation import policy, rule, signer
from tests.fakes.agent import (
    FakePrompter,
    document,
)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


async def test_the_largest_request_makes_an_event_that_the_server_stores(desk: Desk) -> None:
    desk.holds(document(rules(ElevationType.AUTOMATIC)))
    assert (await desk.ask("x" * LINE_LIMIT)).result is Result.ELEVATED
    (entry,) = desk.spool.journals[0].entries(0, 100, 1 << 20)
    assert entry.event.ByteSize() < LARGEST_EVENT


async def test_what_the_server_would_not_store_is_not_elevated(desk: Desk) -> None:
    desk.holds(document(rules(ElevationType.AUTOMATIC)))
    answer = await desk.ask("x" * LARGEST_EVENT)
    assert (answer.result, desk.launcher.launched, desk.events()) == (Result.REFUSED, [], [])
    assert "larger than" in answer.message


async def test_rules_that_lost_do_not_crowd_out_the_event(desk: Desk) -> None:
    many = [rule(f"{number}", file_name="tool", file_hash=HASH, children=ChildProcesses.DENY) for number in range(90)]
    desk.holds(document(*(policy(*many, name=name, platform=Platform.LINUX) for name in ("p", "q"))))
    await desk.ask()
    assert len(desk.events()[0].losers) == 100


async def test_the_name_of_a_signer_does_not_crowd_out_the_event(desk: Desk) -> None:
    desk.holds(document(rules(ElevationType.AUTOMATIC)))
    signed = signer(trusted=False)
    desk.inspector.facts["signers"] = (replace(signed, leaf=replace(signed.leaf, subject="CN=" + "x\0" * 3000)),)
    await desk.ask()
    assert desk.events()[0].file.publisher == "CN=" + "x" * 1021


async def test_a_file_that_changes_while_its_user_is_asked_is_not_elevated(desk: Desk) -> None:
    class Swapper(FakePrompter):
        async def confirm(self, question: Question) -> bool | None:
            desk.file.write_bytes(b"another tool")
            return await super().confirm(question)

    desk.holds(document(rules(ElevationType.USER_CONFIRMED)))
    answer = await desk.ask(prompter=Swapper())
    assert (answer.result, desk.launcher.launched) == (Result.REFUSED, [])
    assert answer.message == "not elevated: the file changed meanwhile"
    assert desk.events()[0].result == event_pb2.ATTEMPT_RESULT_REFUSED
