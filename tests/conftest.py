"""Set up what every test shares."""

import gc
import os
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.databases import PostgresDatabases, SqliteDatabases, lent
from tests.postgres import Cluster, PostgresMissingError, do_without, shared_cluster

# A busy machine is slow, which is no fault of the code; a continuous integration run is the same each time.
settings.register_profile("house", deadline=None, derandomize="CI" in os.environ, print_blob=True)
settings.load_profile("house")

# The workers of a run are told that they have 80 columns, as a terminal may say: what the tests read is what a pipe gets.
os.environ.pop("COLUMNS", None)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Look for no garbage among thousands of tests, neither while they are collected nor ever after."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Run one PostgreSQL for all workers of this run; do without where there are no binaries."""
    own = tmp_path_factory.getbasetemp()
    run_folder = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own
    try:
        with shared_cluster(run_folder) as cluster:
            yield cluster
    except PostgresMissingError as error:
        do_without(error, os.environ)


@pytest.fixture(scope="session")
def on_sqlite(tmp_path_factory: pytest.TempPathFactory) -> SqliteDatabases:
    """Lend migrated databases on SQLite."""
    return SqliteDatabases(tmp_path_factory.mktemp("databases"))


@pytest.fixture(scope="session")
def on_postgresql(postgres: Cluster) -> PostgresDatabases:
    """Lend migrated databases on PostgreSQL."""
    return PostgresDatabases(postgres)


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Give the test a database with all tables and no rows, once on SQLite and once on PostgreSQL."""
    with lent(request, tmp_path) as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Give the test a database without any table, once on SQLite and once on PostgreSQL."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'test.db'}"
        return
    cluster: Cluster = request.getfixturevalue("postgres")
    with cluster.fresh_database() as url:
        yield url
