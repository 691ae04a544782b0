"""A start that finds its schema as it should be migrates nothing, and loads nothing that migrates."""

import subprocess
import sys
from pathlib import Path

import pytest
from alembic.script import ScriptDirectory

from services._chassis.config import SERVICES
from services._chassis.migrate import newest

ROOT = Path(__file__).parents[3]
UPGRADE = """
import asyncio, sys
from services._chassis.db import Database
from services._chassis.migrate import upgrade

async def main():
    database = await Database.connect(sys.argv[1], service="rbac")
    await upgrade(database)
    await database.close()
    print("alembic" in sys.modules)

asyncio.run(main())
"""


def loads_alembic(database_url: str) -> bool:
    command = [sys.executable, "-c", UPGRADE, database_url]
    done = subprocess.run(command, cwd=ROOT, text=True, capture_output=True, check=True)
    return done.stdout.strip() == "True"


def test_alembic_is_loaded_where_there_is_something_to_migrate_alone(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'rbac.db'}"
    assert [loads_alembic(url) for _ in range(2)] == [True, False]


@pytest.mark.parametrize("service", SERVICES)
def test_the_last_file_of_a_service_makes_its_newest_revision(service: str) -> None:
    folder = ROOT / "services" / service / "migrations" / "versions"
    assert newest(folder) == ScriptDirectory(str(folder.parent), version_locations=[str(folder)]).get_current_head()


def test_a_last_file_that_names_no_revision_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "m0002_second.py").write_text("revision = 2", encoding="utf-8")
    with pytest.raises(ValueError, match="names no revision"):
        newest(tmp_path)
