import pwd

from agent_stub.users import USERS_LIMIT, SeenUsers, login_accounts


def test_accounts_and_those_who_asked_are_reported_once_each_and_sorted() -> None:
    users = SeenUsers(lambda: ["dora", "alice"])
    for name in ("carl", "alice", "carl"):
        users.saw(name)
    assert users.report() == ["alice", "carl", "dora"]


def test_names_that_no_server_takes_are_left_out() -> None:
    users = SeenUsers(lambda: ["", "ann\x07", " bob", "x" * 1000, "eve"])
    assert users.report() == ["eve"]


def test_where_there_are_too_many_those_who_asked_last_are_kept() -> None:
    users = SeenUsers(lambda: [f"account-{number}" for number in range(200)])
    for number in range(USERS_LIMIT + 50):
        users.saw(f"asked-{number:03}")
    assert users.report() == [f"asked-{number:03}" for number in range(50, USERS_LIMIT + 50)]


def test_accounts_of_the_system_itself_are_no_users() -> None:
    people = {entry.pw_name for entry in pwd.getpwall() if entry.pw_uid >= 1000}
    assert set(login_accounts()) <= people - {"nobody"}
