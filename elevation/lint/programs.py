"""Programs that do whatever they are told: with their rights, anybody has them all.

Known by their names without extension and version: `python3.12` is `python`.
"""

import re
from collections.abc import Mapping
from functools import lru_cache

from elevation.model import Detection, Platform
from elevation.paths import extension
from elevation.wildcards import Pattern, has_wildcard, literals

FEW_LITERALS = 3
"""Literal characters that a name with wildcards needs in order not to take nearly everything."""

_VERSION = re.compile(r"(?<=[^\W\d_])[-_.]?[0-9][0-9.*?]*\Z|(?<=[^\W\d_])[-_.]?[.*?][0-9.*?]*\Z")
_EXECUTABLE = frozenset({"exe", "com", "app"})
_INSTALLER = re.compile(r"setup|install|\bupdater?\b|bootstrapper|\Aunins", re.IGNORECASE)

_SHELL, _INTERPRETER, _SCRIPT_HOST = "a shell", "an interpreter", "a script host"
_RUNNER = "a program that is known to run other programs"
_EDITOR, _PACKAGES, _BROWSER = "an editor or a pager that opens a shell", "a package manager", "a browser"
_DIALOGS = "a program whose dialogs open and save any file"

_ANYWHERE = {
    _SHELL: """
        powershell pwsh bash sh dash zsh fish busybox nu elvish xonsh alacritty wezterm kitty""",
    _INTERPRETER: """
        python py pypy ipython bpython jupyter perl ruby irb node nodejs deno bun php php-cgi lua luajit tclsh wish
        java jshell groovy scala kotlin julia r rscript octave gawk awk gdb lldb erl elixir iex ghci runghc dotnet mono
        swift go cargo sqlite sqlite3 mysql psql""",
    _RUNNER: """
        git make cmake ninja gcc g++ cc ssh scp sftp socat nc ncat netcat telnet curl wget docker podman kubectl helm
        sshpass openssl ansible ansible-playbook vagrant terraform nmap tcpdump tar xargs rsync env""",
    _EDITOR: """
        vi vim vim.basic vim.tiny gvim nvim emacs emacsclient nano micro hx less atom code codium sublime_text mc far""",
    _PACKAGES: "pip pipx uv conda npm npx pnpm yarn gem bundle composer cpan nuget",
    _BROWSER: """
        chrome google-chrome google-chrome-stable chromium chromium-browser msedge microsoft-edge firefox firefox-esr
        opera brave brave-browser vivaldi waterfox librewolf""",
}
_WINDOWS = {
    _SHELL: "cmd command powershell_ise wsl wslhost ubuntu debian kali git-bash git-cmd conhost openconsole wt runas",
    _INTERPRETER: "pythonw pyw wperl rubyw javaw csi fsi jrunscript",
    _SCRIPT_HOST: "wscript cscript mshta scrcons hh msdt",
    _RUNNER: """
        rundll32 regsvr32 msiexec installutil regasm regsvcs msbuild csc vbc jsc cmstp odbcconf certutil bitsadmin wmic
        forfiles pcalua mavinject msxsl presentationhost ieexec schtasks at sc reg regedit regedt32 mmc eventvwr
        computerdefaults fodhelper dfsvc control explorer infdefaultinstall syncappvpublishingserver scriptrunner
        winrs wmiprvse appvlp bginfo cdb windbg ntsd kd dnx rcsi tracker xwizard verclsid register-cimprovider
        diskshadow esentutl extexport ftp gpscript ie4uinit pnputil runscripthelper ttdinject tttracer vsjitdebugger wab
        wsreset mpcmdrun desktopimgdownldr dnscmd ntdsutil psexec psexec64 paexec procdump taskmgr net net1 netsh takeown
        icacls cacls xcopy robocopy replace extrac32 expand setx subst sdbinst fsutil bcdedit vssadmin wbadmin secedit
        dism odbcad32 perfmon resmon iscsicpl""",
    _DIALOGS: "notepad notepad++ wordpad write mspaint charmap",
    _PACKAGES: "choco scoop winget",
    _BROWSER: "iexplore msedgewebview2",
}
_UNIX = {
    _SHELL: """
        ash ksh mksh csh tcsh rbash toybox screen tmux byobu script expect xterm gnome-terminal konsole terminator su
        sudo doas pkexec runuser setpriv sg newgrp pexec rlwrap openvt chroot nsenter unshare ld.so ld-linux.so
        ld-linux-x86-64.so ld-linux-aarch64.so ld-linux-armhf.so ld-musl-x86_64.so ld-musl-aarch64.so""",
    _INTERPRETER: "mawk nawk guile",
    _RUNNER: """
        find nice nohup timeout setsid stdbuf time ionice taskset strace ltrace watch flock parallel run-parts
        start-stop-daemon systemd-run zip dd cp mv install tee sed ed ld nerdctl ctr lxc lxd crontab at batch systemctl
        service journalctl dmesg capsh chmod chown chgrp setfacl chattr mount umount visudo vipw vigr passwd chpasswd
        usermod useradd groupadd groupmod gpasswd insmod modprobe kexec sysctl ldconfig update-alternatives ln link
        truncate dd_rescue logrotate logsave cpio pax ar unzip 7z arj sash aria2c busctl loginctl timedatectl
        choom cpulimit setarch aa-exec softlimit multitime unbuffer cgexec numactl debugfs dmsetup losetup fusermount
        bpftrace perf valgrind gcore openvpn lftp tftp rlogin rsh tdbtool tshark wireshark dumpcap hping3 mtr nft
        iptables iptables-save ip tc apache2 apache2ctl nginx httpd puppet chef-client salt-call rake rpmbuild
        easy_install certbot restic rclone gimp scanmem slsh sqlmap run-mailcap runscript wall xdotool socket""",
    _EDITOR: """
        view vimdiff ex rvim rview pico ne joe jed kak more most pg man info gedit kate mousepad ranger top htop atop
        bat batcat dialog whiptail aspell w3m lynx links elinks mutt mail mailx minicom""",
    _PACKAGES: "apt apt-get aptitude dpkg dnf yum rpm zypper pacman snap flatpak apk emerge nix nix-env brew port",
    _BROWSER: "epiphany konqueror",
}
_MACOS = {
    _SHELL: "terminal iterm iterm2",
    _INTERPRETER: "osascript",
    _RUNNER: "launchctl defaults dscl open automator",
    _EDITOR: "textedit",
    _PACKAGES: "installer softwareupdate",
    _BROWSER: "safari",
}


def _kinds(*tables: Mapping[str, str]) -> dict[str, str]:
    """Give the kind of every name; the first table that has it says."""
    return {name: kind for table in reversed(tables) for kind, names in table.items() for name in names.split()}


_KIND_OF = {
    Platform.WINDOWS: _kinds(_ANYWHERE, _WINDOWS),
    Platform.LINUX: _kinds(_ANYWHERE, _UNIX),
    Platform.MACOS: _kinds(_ANYWHERE, _UNIX, _MACOS),
}


def risky_kind(detection: Detection, platform: Platform) -> str:
    """Say what kind of risky program a rule is for, by its name or internal name; blank for none that is known."""
    return _kind(detection.file_name, platform) or (
        _kind(detection.internal_name, platform) if detection.internal_name else ""
    )


def is_installer(file_name: str) -> bool:
    """Tell whether a file is an installer, by its extension or name."""
    return extension(file_name).casefold() == "msi" or _INSTALLER.search(file_name) is not None


def takes_nearly_all(file_name: str) -> bool:
    """Tell whether a name has a wildcard, and hardly anything beside it."""
    if not has_wildcard(file_name):
        return False
    last = extension(file_name)
    stem = file_name.removesuffix(f".{last}") if last else file_name
    return len("".join(literals(stem))) < FEW_LITERALS


@lru_cache(maxsize=8192)
def _kind(file_name: str, platform: Platform) -> str:
    stem = _stem(file_name if platform is Platform.LINUX else file_name.casefold())
    plain = _VERSION.sub("", stem)
    known = _KIND_OF[platform]
    for name in (stem, plain):
        if name in known:
            return known[name]
    if not has_wildcard(stem) or takes_nearly_all(file_name):
        return ""
    longest = max(literals(stem), key=len)  # asked before the pattern is compiled, which takes far longer
    candidates = [name for name in known if longest in name]
    if not candidates:
        return ""
    pattern = Pattern(stem, "/", folds=False)
    return next((known[name] for name in candidates if pattern.matches(name)), "")


def _stem(file_name: str) -> str:
    last = extension(file_name)
    return file_name.removesuffix(f".{last}") if last.casefold() in _EXECUTABLE else file_name
