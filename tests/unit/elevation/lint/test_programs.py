"""Which programs do whatever they are told."""

import pytest

from elevation.lint.programs import is_installer, risky_kind, takes_nearly_all
from elevation.model import Detection, Platform

WINDOWS, LINUX, MACOS = Platform.WINDOWS, Platform.LINUX, Platform.MACOS


@pytest.mark.parametrize(
    ("platform", "name", "kind"),
    [
        (WINDOWS, "cmd.exe", "a shell"),
        (WINDOWS, "PWSH.EXE", "a shell"),
        (WINDOWS, "pow*.exe", "a shell"),
        (WINDOWS, "*shell.exe", "a shell"),
        (WINDOWS, "python3.12.exe", "an interpreter"),
        (WINDOWS, "node.exe", "an interpreter"),
        (WINDOWS, "mshta.exe", "a script host"),
        (WINDOWS, "rundll32.exe", "a program that is known to run other programs"),
        (WINDOWS, "msiexec.exe", "a program that is known to run other programs"),
        (WINDOWS, "msedge.exe", "a browser"),
        (WINDOWS, "winget.exe", "a package manager"),
        (WINDOWS, "Notepad.exe", "a program whose dialogs open and save any file"),
        (WINDOWS, "net.exe", "a program that is known to run other programs"),
        (WINDOWS, "net1.exe", "a program that is known to run other programs"),
        (LINUX, "setpriv", "a shell"),
        (LINUX, "ld.so", "a shell"),
        (LINUX, "ld-linux-x86-64.so.2", "a shell"),
        (LINUX, "logrotate", "a program that is known to run other programs"),
        (LINUX, "ln", "a program that is known to run other programs"),
        (MACOS, "ln", "a program that is known to run other programs"),
        (LINUX, "bash", "a shell"),
        (LINUX, "python3.12", "an interpreter"),
        (LINUX, "python3*", "an interpreter"),
        (LINUX, "perl5.36.0", "an interpreter"),
        (LINUX, "vim.basic", "an editor or a pager that opens a shell"),
        (LINUX, "less", "an editor or a pager that opens a shell"),
        (LINUX, "find", "a program that is known to run other programs"),
        (LINUX, "apt-get", "a package manager"),
        (MACOS, "OSAScript", "an interpreter"),
        (MACOS, "installer", "a package manager"),
        (MACOS, "safari", "a browser"),
    ],
)
def test_a_risky_program_is_known_by_its_name(platform: Platform, name: str, kind: str) -> None:
    assert risky_kind(Detection(file_name=name), platform) == kind


@pytest.mark.parametrize(
    ("platform", "name"),
    [
        (WINDOWS, "tool.exe"),
        (WINDOWS, "cmdline.exe"),
        (WINDOWS, "python.msi"),
        (WINDOWS, "find.exe"),
        (WINDOWS, "netscan.exe"),
        (WINDOWS, "installer.exe"),
        (WINDOWS, "install.ps1"),
        (WINDOWS, "VSCodeSetup*.exe"),
        (WINDOWS, "*.exe"),
        (WINDOWS, "tool*.exe"),
        (LINUX, "Bash"),
        (LINUX, "cmd"),
        (LINUX, "e2fsck"),
        (LINUX, "backup.sh"),
        (LINUX, "libtool.so.2"),
        (WINDOWS, "ln.exe"),
        (MACOS, "Tool"),
    ],
)
def test_other_programs_are_not(platform: Platform, name: str) -> None:
    assert risky_kind(Detection(file_name=name), platform) == ""


def test_an_internal_name_gives_a_renamed_program_away() -> None:
    assert risky_kind(Detection(file_name="a.exe", internal_name="POWERSHELL"), WINDOWS) == "a shell"
    assert risky_kind(Detection(file_name="a.exe", internal_name="a"), WINDOWS) == ""


@pytest.mark.parametrize(
    "name", ["a.msi", "A.MSI", "VSCodeSetup*.exe", "tool-installer.exe", "Install Tool", "update.exe"]
)
def test_installers_are_known(name: str) -> None:
    assert is_installer(name)


@pytest.mark.parametrize("name", ["tool.exe", "msi.exe", "set.exe", "updates-viewer.exe"])
def test_other_files_are_no_installers(name: str) -> None:
    assert not is_installer(name)


@pytest.mark.parametrize(
    ("name", "all_of_them"),
    [
        ("*", True),
        ("*.exe", True),
        ("ab*.exe", True),
        ("?b?.exe", True),
        ("abc*.exe", False),
        ("a.exe", False),
        (".a*", True),
    ],
)
def test_a_name_takes_nearly_all_if_hardly_a_character_is_written_out(name: str, all_of_them: bool) -> None:  # noqa: FBT001
    assert takes_nearly_all(name) is all_of_them
