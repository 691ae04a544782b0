"""Run services in this process until it is asked to end."""

import asyncio
import gc
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path

import uvloop

from services._chassis import datadir, logging
from services._chassis.clock import SystemClock
from services._chassis.config import ServiceSettings
from services._chassis.errors import ServiceError
from services._chassis.files import lock, make_private_folder
from services._chassis.server import Host, ServiceParts, signalled

Build = Callable[[ServiceSettings], Awaitable[ServiceParts]]
COLLECTED_AT = (20_000, 20, 50)
"""New objects before a collection, and collections before an older generation is looked at. Thousands of streams are
hundreds of thousands of objects that live on: with Python's own numbers, looking through them took a tenth of the time.
"""

REFUSED = 2
"""Exit code of a start that was refused."""


def _no_preparation() -> None:
    """Find everything in its place."""


@asynccontextmanager
async def running(
    settings: ServiceSettings, builds: Mapping[str, Build], prepare: Callable[[], None] = _no_preparation
) -> AsyncIterator[Host]:
    """Take the locks and the ports, build and start the services; drain and close them when the block ends.

    `prepare` is called once the locks are held: nobody else changes the data folder then. Raises ServiceError where the
    start is refused: a taken lock or port, a wrong setting, an unreachable database.
    """
    settings.check()
    make_private_folder(settings.data_dir)
    async with AsyncExitStack() as held:
        for name in builds:
            held.callback(lock(settings.data_dir, name).release)
        prepare()
        host = Host(settings)
        held.push_async_callback(host.stop)
        bound = host.bind()
        for build in builds.values():
            host.add(await build(bound))
        await host.start()
        yield host


async def serve(
    settings: ServiceSettings,
    builds: Mapping[str, Build],
    on_ready: Callable[[ServiceSettings], None] | None = None,
    prepare: Callable[[], None] = _no_preparation,
) -> None:
    """Run the services until SIGTERM or SIGINT; call `on_ready` with the real ports once they serve."""
    async with running(settings, builds, prepare) as host:
        ending = asyncio.create_task(signalled())
        serving = asyncio.create_task(host.wait_until_serving())
        await asyncio.wait({ending, serving}, return_when=asyncio.FIRST_COMPLETED)
        if serving.done() and on_ready is not None:
            on_ready(host.settings)
        serving.cancel()
        await ending


def run_until_signalled(
    settings: ServiceSettings,
    builds: Mapping[str, Build],
    on_ready: Callable[[ServiceSettings], None] | None = None,
    prepare: Callable[[], None] = _no_preparation,
) -> int:
    """Run the services on uvloop; return the exit code, having told on stderr why a start was refused."""
    level = settings.log_level if settings.log_level in logging.LEVELS else "info"
    logging.configure(level=level, as_json=logging.FORMATS.get(settings.log_format))
    gc.freeze()
    gc.set_threshold(*COLLECTED_AT)
    try:
        uvloop.run(serve(settings, builds, on_ready, prepare))
    except ServiceError as error:
        sys.stderr.write(f"error: {error}\n")
        return REFUSED
    return 0


def run(builds: Mapping[str, Build]) -> None:
    """Run one service with default settings on the folder that the one argument names; `epm serve` knows all settings."""
    if len(sys.argv) != 2:  # noqa: PLR2004 - the program and its argument
        sys.stderr.write("usage: python -m services.NAME DATA_DIR (see `epm serve --help` for all settings)\n")
        sys.exit(REFUSED)
    settings, (service,) = ServiceSettings(data_dir=Path(sys.argv[1])), builds
    prepare = partial(datadir.prepare, settings, (service,), now=SystemClock().now())
    sys.exit(run_until_signalled(settings.alone(service), builds, prepare=prepare))
