"""`epm simulate`: decide attempts with the kernel that the agent runs, offline or by what a server holds.

Everything is checked before anything is printed: a bad document or a bad attempt, of whatever line, leaves standard
output empty. Whatever is decided, the exit code is 0; bad input gives 2.
"""

import gc
import sys
from typing import Final

import click

from epmctl.documents.files import STDIN
from epmctl.documents.load import read_documents
from epmctl.errors import BadInputError, Flaw
from epmctl.simulation.attemptfiles import AttemptSink, read_attempt_file, read_attempt_lines
from epmctl.simulation.decisions import Simulator

_PLACES_HELP: Final = (
    "Documents to decide by, with --server on top of what it holds: a file, or the *.yaml and *.yml of a folder; more may"
    " follow; - for stdin."
)


@click.command()
@click.option("-f", "--file", "places", multiple=True, metavar="DIR|FILE", help=_PLACES_HELP)
@click.argument("more_places", nargs=-1, metavar="[DIR|FILE]...")
@click.option("--attempt", metavar="FILE", help="One attempt, as JSON; - for stdin.")
@click.option("--attempts", metavar="FILE", help="Many attempts, a JSON object a line; - for stdin.")
@click.option("--explain", "explained", is_flag=True, help="Add the rules that lost and those that nearly matched.")
@click.option("--server", "by_server", is_flag=True, help="Ask the server what its device would decide.")
@click.option("--settings", "with_settings", is_flag=True, help="With --server: add the settings and their origins.")
def simulate(
    *,
    places: tuple[str, ...],
    more_places: tuple[str, ...],
    attempt: str | None,
    attempts: str | None,
    explained: bool,
    by_server: bool,
    with_settings: bool,
) -> None:
    """Decide elevation attempts with the kernel of the agent, offline or as a device of the server would.

    Prints each decision as JSON: the one of --attempt indented, those of --attempts a line each, in their order.
    """
    places += more_places
    if not places and not by_server:
        raise click.UsageError("give documents to decide by (-f), or --server for those that the server holds")
    if with_settings and not by_server:
        raise click.UsageError("--settings goes with --server")
    given = [name for name in (attempt, attempts) if name is not None]
    if len(given) != 1:
        raise click.UsageError("give either --attempt or --attempts")
    if [*places, *given].count(STDIN) > 1:
        raise click.UsageError("standard input can be read only once; give - in one place")
    flaws: list[Flaw] = []
    documents = read_documents(places, flaws, closed=not by_server) if places else None
    if by_server:
        # gRPC takes as long to import as everything else together.
        from epmctl.simulation.onserver import ServerSimulator  # noqa: PLC0415

        asking = ServerSimulator(
            documents, explained=explained, with_settings=with_settings, indented=attempt is not None
        )
        _read_attempts(attempt, attempts, AttemptSink(asking.take, flaws))
        asking.run()
        return
    gc.freeze()  # what was loaded stays; the collector need not walk it again and again
    simulator = Simulator(documents, explained=explained, indented=attempt is not None)
    _read_attempts(attempt, attempts, AttemptSink(simulator.take, flaws))
    out = sys.stdout.buffer
    out.writelines(simulator.lines)
    out.flush()


def _read_attempts(attempt: str | None, attempts: str | None, sink: AttemptSink) -> None:
    """Read what is to be decided; raise BadInputError with every flaw, of the documents too."""
    if attempt is not None:
        read_attempt_file(attempt, sink)
    if attempts is not None:
        read_attempt_lines(attempts, sink)
    if sink.flaws:
        raise BadInputError.of(sink.flaws)
