"""What becomes of tests that need PostgreSQL where there is none."""

import pytest

from tests.postgres import PostgresMissingError, do_without

MISSING = PostgresMissingError("no PostgreSQL: set PGBIN")


@pytest.mark.parametrize("environment", [{}, {"CI": ""}], ids=["unset", "empty"])
def test_a_run_at_a_desk_skips_and_says_why(environment: dict[str, str]) -> None:
    with pytest.raises(pytest.skip.Exception, match="no PostgreSQL: set PGBIN"):
        do_without(MISSING, environment)


def test_continuous_integration_fails_with_the_reason() -> None:
    with pytest.raises(pytest.fail.Exception, match="no PostgreSQL: set PGBIN"):
        do_without(MISSING, {"CI": "true"})
