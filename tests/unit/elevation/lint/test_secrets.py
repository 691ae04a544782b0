"""What looks like a secret in a command line, and what does not."""

import shlex

import pytest

from elevation.lint.secrets import secret_in


@pytest.mark.parametrize(
    "line",
    [
        "password=hunter2",
        "--password hunter2",
        "--password /Abc123!",
        "--passphrase 'correct horse'",
        "-password:foo",
        "/password hunter2",
        "/pass:foo",
        "PWD=abcd",
        "ADMINPASSWORD=foo",
        "DB_PASS=abc",
        "--db-pwd abc",
        "--token abc123",
        "token:abc",
        "AuthToken=zzz9",
        "--api-key=zzz",
        "--client-secret s3cr3t",
        "-pin 123456",
        "'Server=x;User=y;Password=abc;'",
        '\'{"token": "abc"}\'',
        "-p Secret123",
        "-p secret",
        "/p:Hunter22",
        "-pw foo1Bar!",
        "--key Zm9vYmFyMTIzNDU2Nzg5MA==",
        "-u bob:hunter2",
        "use x /user:a Passw0rd!",
        "-H 'Authorization: Bearer abcdef123456'",
        "Bearer eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abc",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abc",
        "AKIAABCDEFGHIJKLMNOP",
        "ghp_abcdefghijklmnopqrst1234567890",
        "https://bob:pw1@host/x",
        "'-----BEGIN RSA PRIVATE KEY-----'",
    ],
)
def test_a_line_with_a_secret_is_found_and_the_secret_not_repeated(line: str) -> None:
    words = shlex.split(line)
    said = secret_in(words, "tool.exe")
    assert said
    assert not any(secret in said for secret in ("hunter2", "abc123", "Passw0rd", "s3cr3t", "correct", "zzz"))


@pytest.mark.parametrize(
    "line",
    [
        "",
        "/silent /norestart",
        "/qn TRANSFORMS=x.mst",
        "--password",
        "--password --user x",
        "--password $PW",
        "--password=%PASS%",
        "--password=${PASS}",
        "--password=prompt",
        "--password-file /etc/x",
        "--password-stdin",
        "--secret /run/secrets/x",
        "-Token <token>",
        "--token-type bearer",
        "--max-tokens 100",
        "--tokenize x",
        "--passthrough yes",
        "--bypass=1",
        "-ExecutionPolicy Bypass",
        "/compass=on",
        "mode=passive",
        "-p 8080",
        "-p dir",
        "/p Release",
        "/p:Configuration=Release",
        "-p com.example.App1",
        "install -p /opt/x",
        "--pin 12",
        "--key name",
        "/key file.pem",
        "--key-size 4096",
        "-u bob",
        "https://host:8080/x",
        "https://$USER:$PASS@host",
        "basic authentication",
        "reset password now",
        "change-password",
        f"--hash sha256:{'a' * 64}",
    ],
)
def test_a_line_without_a_secret_is_left_alone(line: str) -> None:
    assert secret_in(shlex.split(line), "tool.exe") == ""


@pytest.mark.parametrize("program", ["mysql.exe", "MySQL", "7z.exe"])
def test_some_programs_take_a_password_right_behind_an_option(program: str) -> None:
    assert secret_in(["-pfoo"], program)
    assert secret_in(["-pfoo"], "tool.exe") == ""


@pytest.mark.parametrize(("program", "words"), [("sshpass", ["-p", "foo"]), ("schtasks.exe", ["/RP", "foo"])])
def test_of_some_programs_an_option_takes_nothing_but_a_password(program: str, words: list[str]) -> None:
    assert secret_in(words, program)
    assert secret_in(words, "tool.exe") == ""


@pytest.mark.parametrize(
    ("program", "line"),
    [
        ("net.exe", "use Z: '\\\\srv\\share' hunter2 /user:bob"),
        ("net.exe", "use '\\\\srv\\share' /user:bob pw"),
        ("NET1.EXE", "user bob pw /add"),
        ("cmd.exe", "/c net use Z: '\\\\srv\\share' /user:bob pw"),
        ("cmd.exe", "/c 'C:\\Windows\\System32\\net.exe user bob pw /add'"),
        ("sshpass", "-phunter2 ssh host"),
        ("sshpass", "-pfoo ssh host"),
        ("bash", "-c 'sshpass -pfoo ssh host'"),
        ("env", "/usr/bin/sshpass -p foo ssh host"),
        ("redis-cli", "-a foo"),
        ("ldapsearch", "-x -w foo"),
        ("keytool.exe", "-storepass foo"),
    ],
)
def test_what_a_program_takes_as_a_password_by_its_place_is_found(program: str, line: str) -> None:
    said = secret_in(shlex.split(line), program)
    assert said
    assert not any(secret in said for secret in ("hunter2", "foo", "pw"))


@pytest.mark.parametrize(
    ("program", "line"),
    [
        ("net.exe", "use Z: '\\\\srv\\share' * /user:bob /persistent:no"),
        ("net.exe", "use Z: '\\\\srv\\share'"),
        ("net.exe", "use * '\\\\srv\\share'"),
        ("net.exe", "use Z: /delete"),
        ("net.exe", "use Z: '\\\\srv\\share' %PW% /user:bob"),
        ("net.exe", "user bob /active:yes"),
        ("net.exe", "user bob * /add"),
        ("net.exe", "start spooler"),
        ("net.exe", "localgroup Administrators bob /add"),
        ("tool.exe", "use foo"),
        ("cmd.exe", "/c 'net use Z: \\\\srv\\share && echo done'"),
        ("cmd.exe", "/c 'net use Z: \\\\srv\\share >nul 2>&1'"),
        ("cmd.exe", "/c 'net use Z: \\\\srv\\share' done"),
        ("sshpass", "-f /etc/pw ssh host"),
        ("ssh", "-p 22 mysql"),
        ("env", "mysql -p orders"),
        ("tool", "-a foo -w foo"),
    ],
)
def test_what_a_program_takes_as_something_else_is_left_alone(program: str, line: str) -> None:
    assert secret_in(shlex.split(line), program) == ""


@pytest.mark.parametrize(
    "part",
    [
        "net ",
        "net use ",
        "/net",
        "sshpass -p ",
        "-",
        "a",
        "password",
        "a.",
        "-eyJ",
        "://a",
        "a b ",
        "--x=y ",
        "bearer ",
        "a@",
        "SG.",
        "pw.=",
        "a:b@c://",
    ],
)
def test_a_line_far_beyond_the_greatest_length_is_read_to_its_end(part: str) -> None:
    line = (part * 500_000)[
        :500_000
    ]  # what grows with the square of the length would not end within the limit of a test
    secret_in([line], "tool")
    secret_in(line.split(), "tool")


@pytest.mark.parametrize(
    ("words", "program", "said"),
    [
        (["-pTopsecret", "orders1"], "mysql", 'a value after "secret"'),
        (["Winter24passwd", "letmein99"], "tool", 'a value after "passwd"'),
        (["--admin-password", "Xk4mnop1"], "mysql", 'a value after "--admin-password"'),
    ],
)
def test_a_word_that_may_be_a_secret_itself_is_not_repeated_as_a_name(
    words: list[str], program: str, said: str
) -> None:
    assert secret_in(words, program) == said
