"""`epm report dead-letters`, `gaps`, `diagnostics` and `consumers` ask the intake and the exports, and show what they say."""

from google.protobuf.timestamp_pb2 import Timestamp

from epm.elevation.v1 import event_pb2
from epm.reporting.v1 import export_pb2, intake_pb2
from services._chassis.errors import NotFoundError
from tests.builders.console import Console
from tests.fakes.server import FakeServer

NOON = Timestamp(seconds=1_795_435_200, nanos=5)
SHOWN = "2026-11-23T12:00:00Z"


def letter(number: int = 1, **values: object) -> intake_pb2.DeadLetter:
    told: dict[str, object] = {"device_id": f"d{number}", "device_name": f"ws-{number}", "journal_id": "j", "seq": 7}
    told |= {"id": f"{number}-abcdef01", "received": NOON, "reason": "occurred must be a time", "size": 12}
    return intake_pb2.DeadLetter(**{**told, **values})  # type: ignore[arg-type]


def lost(count: int, device: str = "d1") -> export_pb2.DeviceDiagnostic:
    said = event_pb2.Diagnostic(code="EVENTS_LOST", message="the disk was full", count=count)
    return export_pb2.DeviceDiagnostic(device_id=device, device_name="ws-1", occurred=NOON, diagnostic=said)


def rows(text: str) -> list[list[str]]:
    return [line.split(maxsplit=5) for line in text.splitlines()[1:]]


def test_dead_letters_are_listed_with_their_place_and_their_reason(console: Console, server: FakeServer) -> None:
    answer = intake_pb2.ListDeadLettersResponse(dead_letters=[letter(), letter(2, device_name="")])
    server.on(intake_pb2.ListDeadLettersRequest, answer)

    outcome = console.run("report", "dead-letters", "list", "--device-id", "d1", "--device-id", "d2", "--since", "1h")

    assert rows(outcome.out) == [
        ["1-abcdef01", SHOWN, "ws-1", "j", "7", "occurred must be a time"],
        ["2-abcdef01", SHOWN, "d2", "j", "7", "occurred must be a time"],
    ]
    (asked,) = server.requests(intake_pb2.ListDeadLettersRequest)
    assert list(asked.filter.device_ids) == ["d1", "d2"]
    assert (asked.filter.HasField("received_from"), asked.filter.HasField("received_before")) == (True, False)


def test_a_narrow_terminal_shows_reasons_rather_than_journals(console: Console, server: FakeServer) -> None:
    long = letter(journal_id="01a21495-8f52-71c0-a3b4-6d1f0c9e2a71", reason="another event has this id")
    server.on(intake_pb2.ListDeadLettersRequest, intake_pb2.ListDeadLettersResponse(dead_letters=[long]))
    console.monkeypatch.setenv("COLUMNS", "80")
    outcome = console.run("report", "dead-letters", "list")
    assert outcome.out.splitlines()[1].endswith("  another event has this id")
    assert outcome.err.startswith("left out for want of room: JOURNAL; ")


def test_what_agents_say_fits_sixty_columns(console: Console, server: FakeServer) -> None:
    said = lost(17)
    said.device_name, said.diagnostic.message = "ws-" + "9" * 40, "m" * 200
    server.on(intake_pb2.ListDiagnosticsRequest, intake_pb2.ListDiagnosticsResponse(diagnostics=[said]))
    console.monkeypatch.setenv("COLUMNS", "60")
    out = console.run("report", "diagnostics").out
    assert "EVENTS_LOST" in out
    assert max(map(len, out.splitlines())) <= 60


def test_a_span_that_ends_before_it_begins_is_refused_before_anybody_is_asked(
    console: Console, server: FakeServer
) -> None:
    for command in (("dead-letters", "list"), ("gaps",), ("diagnostics",)):
        outcome = console.run("report", *command, "--since", "1h", "--until", "2h")
        assert outcome.code == 2
        assert "--since must be earlier" in outcome.err
    assert server.asked == []


def test_a_letter_is_shown_with_its_event_or_with_its_bytes(console: Console, server: FakeServer) -> None:
    event = event_pb2.ElevationEvent(event_id="e1", attempt_id="a1")
    answer = intake_pb2.GetDeadLetterResponse(dead_letter=letter(), event=event, body=b"\x0a\x02e1")
    server.on(intake_pb2.GetDeadLetterRequest, answer)

    readable = console.run("report", "dead-letters", "show", "1-abcdef01")

    assert "reason: occurred must be a time" in readable.out
    assert "eventId: e1" in readable.out
    assert "body" not in readable.out
    assert console.run("report", "dead-letters", "show", "x", "--output", "json").json["body"] == "0a026531"
    server.on(intake_pb2.GetDeadLetterRequest, intake_pb2.GetDeadLetterResponse(dead_letter=letter(), body=b"\xff"))
    assert "body: ff" in console.run("report", "dead-letters", "show", "x").out
    assert [one.id for one in server.requests(intake_pb2.GetDeadLetterRequest)] == ["1-abcdef01", "x", "x"]


def test_letters_are_tried_again_by_name_with_the_reason(console: Console, server: FakeServer) -> None:
    server.on(intake_pb2.RetryDeadLettersRequest, intake_pb2.RetryDeadLettersResponse(stored=2))

    outcome = console.run("report", "dead-letters", "retry", "1-a", "2-b", "--reason", "ticket 4711")

    assert (outcome.code, outcome.out) == (0, "stored 2, remaining 0\n")
    assert [list(one.ids) for one in server.requests(intake_pb2.RetryDeadLettersRequest)] == [["1-a", "2-b"]]
    assert server.reasons == ["ticket 4711"]


def test_all_letters_that_the_options_leave_are_tried_again_a_hundred_a_call_and_those_that_stay_are_told(
    console: Console, server: FakeServer
) -> None:
    every = [letter(number) for number in range(1, 121)]
    server.on(intake_pb2.ListDeadLettersRequest, intake_pb2.ListDeadLettersResponse(dead_letters=every))
    server.on(
        intake_pb2.RetryDeadLettersRequest,
        lambda asked: intake_pb2.RetryDeadLettersResponse(stored=len(asked.ids) - 1, remaining=[letter(1)]),
    )

    outcome = console.run("report", "dead-letters", "retry", "--all", "--device-id", "d1")

    assert outcome.code == 1
    assert outcome.out.splitlines()[0] == "stored 118, remaining 2"
    assert [row[0] for row in rows(outcome.out)[2:]] == ["1-abcdef01", "1-abcdef01"]
    (asked,) = server.requests(intake_pb2.ListDeadLettersRequest)
    assert list(asked.filter.device_ids) == ["d1"]
    assert [len(one.ids) for one in server.requests(intake_pb2.RetryDeadLettersRequest)] == [100, 20]
    shown = console.run("report", "dead-letters", "retry", "--all", "--output", "json").json
    assert (shown["stored"], len(shown["remaining"])) == (118, 2)


def test_what_is_tried_again_is_named_or_all_and_not_both(console: Console, server: FakeServer) -> None:
    for words in ((), ("1-a", "--all"), ("1-a", "--device-id", "d1")):
        assert console.run("report", "dead-letters", "retry", *words).code == 2
    assert server.asked == []


def test_gaps_are_listed_and_end_with_what_agents_said_that_they_lost(console: Console, server: FakeServer) -> None:
    gap = intake_pb2.Gap(device_id="d1", device_name="ws-1", journal_id="j", first_seq=3, last_seq=9, noticed=NOON)
    server.on(intake_pb2.ListGapsRequest, intake_pb2.ListGapsResponse(gaps=[gap]))
    losses = [lost(4), lost(5), lost(1, "d2")]
    server.on(intake_pb2.ListDiagnosticsRequest, intake_pb2.ListDiagnosticsResponse(diagnostics=losses))

    outcome = console.run("report", "gaps", "--since", "1d")

    lines = outcome.out.splitlines()
    assert lines[1].split() == [SHOWN, "ws-1", "j", "3", "9", "7"]
    assert lines[-1].startswith("events that agents said they lost: 10, on devices: 2; epm report")
    (asked,) = server.requests(intake_pb2.ListDiagnosticsRequest)
    assert (list(asked.codes), asked.filter.HasField("received_from")) == (["EVENTS_LOST"], True)
    shown = console.run("report", "gaps", "--output", "json").json
    assert (shown["eventsLost"], shown["devicesThatLost"], shown["gaps"][0]["missing"]) == (10, 2, 7)
    server.on(intake_pb2.ListDiagnosticsRequest, intake_pb2.ListDiagnosticsResponse())
    assert console.run("report", "gaps").out.splitlines()[-1] == "no agent said that it lost events"


def test_diagnostics_are_listed_by_code(console: Console, server: FakeServer) -> None:
    server.on(intake_pb2.ListDiagnosticsRequest, intake_pb2.ListDiagnosticsResponse(diagnostics=[lost(4)]))

    outcome = console.run("report", "diagnostics", "--code", "EVENTS_LOST", "--code", "CLOCK_STEPPED")

    assert outcome.out.splitlines()[1].split(maxsplit=4) == [SHOWN, "ws-1", "EVENTS_LOST", "4", "the disk was full"]
    (asked,) = server.requests(intake_pb2.ListDiagnosticsRequest)
    assert list(asked.codes) == ["EVENTS_LOST", "CLOCK_STEPPED"]
    assert console.run("report", "diagnostics", "--output", "json").json[0]["diagnostic"]["count"] == 4


def test_consumers_are_listed_page_by_page(console: Console, server: FakeServer) -> None:
    pages = {
        "": export_pb2.ListConsumersResponse(
            consumers=[export_pb2.Consumer(name="archive", behind=3, oldest=NOON)], next_page_token="next"
        ),
        "next": export_pb2.ListConsumersResponse(consumers=[export_pb2.Consumer(name="siem", connected=True)]),
    }
    server.on(export_pb2.ListConsumersRequest, lambda asked: pages[asked.page_token])

    outcome = console.run("report", "consumers", "list")

    assert rows(outcome.out) == [["archive", "3", SHOWN, "no"], ["siem", "0", "-", "yes"]]
    assert [one["name"] for one in console.run("report", "consumers", "list", "--output", "json").json] == [
        "archive",
        "siem",
    ]


def test_a_consumer_is_set_to_a_time_once_somebody_says_so(console: Console, server: FakeServer) -> None:
    consumer = export_pb2.Consumer(name="siem", behind=12, oldest=NOON)
    server.on(export_pb2.RewindConsumerRequest, export_pb2.RewindConsumerResponse(consumer=consumer))
    words = ("report", "consumers", "rewind", "siem", "--to", "2026-11-23T12:00:00Z")

    assert console.run(*words).code == 2
    assert console.run(*words, stdin="n\n").code != 0
    assert server.asked == []
    outcome = console.run(*words, "--yes", "--reason", "ticket 4711")

    assert (outcome.code, outcome.out) == (
        0,
        f"consumer siem is behind by 12; the first was stored at {SHOWN}\n",
    )
    (asked,) = server.requests(export_pb2.RewindConsumerRequest)
    assert (asked.name, asked.received_from.seconds) == ("siem", NOON.seconds)
    assert server.reasons == ["ticket 4711"]
    assert console.run(*words, "--output", "json", stdin="y\n").json["behind"] == 12


def test_a_consumer_is_deleted_once_somebody_says_so(console: Console, server: FakeServer) -> None:
    assert console.run("report", "consumers", "delete", "siem", stdin="n\n").code != 0
    assert server.asked == []
    assert console.run("report", "consumers", "delete", "siem", "--yes").out == "consumer siem is deleted\n"
    assert [one.name for one in server.requests(export_pb2.DeleteConsumerRequest)] == ["siem"]
    server.on(export_pb2.DeleteConsumerRequest, NotFoundError("you have no consumer of this name"))
    refused = console.run("report", "consumers", "delete", "nobody", "--yes")
    assert refused.code != 0
    assert "you have no consumer of this name" in refused.err
