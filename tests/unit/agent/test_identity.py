import grp
import os
import pwd

import pytest

from agent_stub.identity import RefusedError, SystemIdentity, UnsafeStatedIdentity
from agent_stub.model import Origin, Peer, Rights, Stated, Subject
from elevation.model import Platform

ROOT = Peer(1, 0, 0)
NOBODY = pwd.getpwnam("nobody")
OF_NOBODY = Peer(1, NOBODY.pw_uid, NOBODY.pw_gid)
SYSTEM = SystemIdentity(Platform.LINUX)
DRIVES = {"C:": "/srv/c"}


def test_root_administers_the_device() -> None:
    origin = SYSTEM.origin(ROOT, Stated())
    assert origin == Origin(Subject("root", administrator=True), Platform.LINUX, SYSTEM.rights(ROOT))


def test_others_do_not() -> None:
    assert SYSTEM.subject(OF_NOBODY) == Subject("nobody", administrator=False)


def test_files_are_opened_by_the_rights_of_the_calling_process_whoever_it_states_to_be() -> None:
    rights = SYSTEM.rights(OF_NOBODY)
    assert (rights.uid, rights.gid) == (NOBODY.pw_uid, NOBODY.pw_gid)
    assert set(rights.groups) == {*os.getgrouplist("nobody", NOBODY.pw_gid)}
    assert SYSTEM.origin(OF_NOBODY, Stated()).rights == rights
    unsafe = UnsafeStatedIdentity(SYSTEM, Platform.WINDOWS, DRIVES)
    assert unsafe.origin(OF_NOBODY, Stated(user="root", administrator=True)).rights == rights


def test_a_process_without_a_name_has_the_rights_of_its_numbers() -> None:
    assert SYSTEM.rights(Peer(1, 4242424, 4242425)) == Rights(4242424, 4242425)


def test_members_of_the_named_groups_administer_the_device() -> None:
    own = grp.getgrgid(NOBODY.pw_gid).gr_name
    assert SystemIdentity(Platform.LINUX, ("wheel", own)).subject(OF_NOBODY).administrator


def test_a_user_whom_the_system_does_not_know_is_refused() -> None:
    with pytest.raises(RefusedError, match="user id 4242424 has no name on this device"):
        SYSTEM.subject(Peer(1, 4242424, 4242424))


def test_nothing_may_be_stated_to_the_system() -> None:
    with pytest.raises(RefusedError, match="lets nobody state another"):
        SYSTEM.origin(ROOT, Stated(administrator=False))


def test_what_is_not_stated_to_an_unsafe_agent_comes_from_the_system() -> None:
    unsafe = UnsafeStatedIdentity(SYSTEM, Platform.WINDOWS, DRIVES)
    own = Peer(os.getpid(), 0, 0)
    assert unsafe.origin(own, Stated()).subject == Subject("root", administrator=True)
    assert unsafe.origin(own, Stated(administrator=False)).subject == Subject("root", administrator=False)
    assert unsafe.origin(own, Stated(user="alice")).subject == Subject("alice", administrator=False)
    assert unsafe.origin(own, Stated()).platform is Platform.WINDOWS


@pytest.mark.parametrize(
    ("path", "platform", "judged"),
    [
        ("/srv/c/Tools/a.exe", Platform.WINDOWS, r"C:\Tools\a.exe"),
        ("/srv/c", Platform.WINDOWS, "C:"),
        ("/srv/cd/a.exe", Platform.WINDOWS, "/srv/cd/a.exe"),
        ("/srv/c/Tools/a.exe", Platform.LINUX, "/srv/c/Tools/a.exe"),
    ],
)
def test_a_file_below_a_mapped_folder_is_judged_by_its_place_on_the_drive(
    path: str, platform: Platform, judged: str
) -> None:
    assert UnsafeStatedIdentity(SYSTEM, Platform.WINDOWS, DRIVES).judged_path(path, platform) == judged
    assert SYSTEM.judged_path(path, platform) == path
