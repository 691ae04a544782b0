"""Which folders standard users can write, and which they surely cannot."""

import pytest

from elevation.lint.places import place_of, usually_mapped
from elevation.model import Platform

WRITABLE = {
    Platform.WINDOWS: [
        "C:\\",
        "d:\\",
        "C:\\Users",
        "C:\\USERS\\bob\\AppData\\Local\\Tool",
        "C:\\ProgramData\\Tool",
        "C:\\Temp",
        "C:\\Windows\\Temp\\x",
        "C:\\Windows\\Tasks",
        "C:\\Windows\\System32\\spool\\drivers\\color",
        "C:\\Windows\\*",
        "C:\\W*\\System32",
        "C:\\?sers\\x",
        "D:\\Data\\Downloads",
        "D:\\Data\\Down*",
        "D:\\Users\\x",
    ],
    Platform.LINUX: [
        "/tmp",  # noqa: S108
        "/tmp/",  # noqa: S108
        "/var/tmp/x",  # noqa: S108
        "/dev/shm",  # noqa: S108
        "/home/bob/bin",
        "/run/user/1000",
        "/*",
        "/*/bin",
        "/var/*/x",
        "/h?me/x",
        "/srv/Downloads",
        "/data/tmp/x",
    ],
    Platform.MACOS: [
        "/Users/bob",
        "/users/Shared",
        "/tmp",  # noqa: S108
        "/private/tmp",
        "/var/folders/a/b",
        "/Volumes/Stick",
        "/Library/Caches/x",
        "/opt/homebrew/bin",
        "/*/x",
    ],
}
PROTECTED = {
    Platform.WINDOWS: [
        "C:\\Program Files",
        "c:\\program files (x86)\\Tool\\Temp",
        "C:\\Program Files\\*\\bin",
        "C:\\Windows\\System32",
        "C:\\Windows\\Sys*\\drivers",
    ],
    Platform.LINUX: ["/usr/bin", "/usr/local/bin", "/opt/tool/tmp", "/etc", "/opt/*/bin", "/usr/*/bin"],
    Platform.MACOS: ["/Applications/Tool.app/Contents/MacOS", "/usr/bin", "/Library/Tool", "/SYSTEM/x"],
}
NEITHER = {
    Platform.WINDOWS: [
        "",
        "C:\\Tools",
        "C:\\Tools\\*\\bin",
        "D:\\Program Files\\Tool",
        "C:\\Program Files2",
        "C:\\Windows.old",
    ],
    Platform.LINUX: ["", "/", "/srv/tool", "/Tmp", "/HOME/x", "/usrlocal", "/USR/bin"],
    Platform.MACOS: ["", "/", "/usr/local/bin", "/Applications2"],
}


@pytest.mark.parametrize(("platform", "folder"), [(key, folder) for key, found in WRITABLE.items() for folder in found])
def test_a_folder_that_users_write_is_known(platform: Platform, folder: str) -> None:
    place = place_of(folder, platform)
    assert place.writable
    assert not place.protected


@pytest.mark.parametrize(
    ("platform", "folder"), [(key, folder) for key, found in PROTECTED.items() for folder in found]
)
def test_a_folder_that_administrators_alone_write_is_known(platform: Platform, folder: str) -> None:
    place = place_of(folder, platform)
    assert place.protected
    assert place.writable == ""


@pytest.mark.parametrize(("platform", "folder"), [(key, folder) for key, found in NEITHER.items() for folder in found])
def test_nothing_is_said_of_other_folders(platform: Platform, folder: str) -> None:
    place = place_of(folder, platform)
    assert (place.writable, place.protected) == ("", False)


def test_the_place_is_named_as_people_write_it() -> None:
    assert place_of("c:\\windows\\t*", Platform.WINDOWS).writable == "C:\\Windows\\Temp"
    assert place_of("/var/*", Platform.LINUX).writable == "/var/tmp"  # noqa: S108


@pytest.mark.parametrize(
    ("folder", "mapped"), [("C:\\x", False), ("g:\\", False), ("H:\\x", True), ("z:\\", True), ("", False)]
)
def test_letters_of_shares_are_those_that_no_disk_usually_has(folder: str, mapped: bool) -> None:  # noqa: FBT001
    assert usually_mapped(folder) is mapped
