"""strace's lines read back: halves joined, only the workload's calls, and nothing that a name can forge."""

import os

import pytest

from fleetbox.hostside import strace
from fleetbox.hostside.strace import Failure

START = """\
10 execve("/usr/local/bin/fleetbox-run", ["fleetbox-run"], 0x7 /* 3 vars */) = 0
10 openat(AT_FDCWD</w>, "/launcher", O_RDONLY) = -1 EACCES (Permission denied)
12 execve("/proc/self/fd/4", ["/proc/self/fd/4", "--inner", "--filter-fd", "5"...], 0x7) = 0
12 openat(AT_FDCWD</>, "/inner", O_RDONLY) = -1 EACCES (Permission denied)
13 openat(AT_FDCWD</>, "/before", O_RDONLY) = -1 EACCES (Permission denied)
13 execve("/bin/sh", ["sh", "-c", "secret"...], 0x7 /* 3 vars */) = 0
"""


def failures(*lines: str) -> list[Failure]:
    return list(strace.failures([*START.splitlines(), *lines], "/w"))


def test_what_comes_before_the_workload_is_not_its_own() -> None:
    assert failures() == []
    assert failures('12 openat(AT_FDCWD</>, "/x", O_RDONLY) = -1 EACCES (Permission denied)') == []


def test_a_workload_that_cannot_be_executed_is_a_failure() -> None:
    lines = [
        *START.splitlines()[:3],
        '13 execve("/bin/x", ["x", "--token=s"...], 0x7) = -1 EACCES (Permission denied)',
    ]
    assert list(strace.failures(lines, "/w")) == [Failure("execve", "EACCES", ("/bin/x",))]


@pytest.mark.parametrize(
    ("line", "failure"),
    [
        ('openat(AT_FDCWD</w/sub>, "../f", O_RDONLY) = -1 EROFS (R)', Failure("openat", "EROFS", ("/w/f",))),
        ('openat(3</d>, "f", O_RDONLY) = -1 EROFS (R)', Failure("openat", "EROFS", ("/d/f",))),
        ('openat(AT_FDCWD, "old", O_RDONLY) = -1 EROFS (R)', Failure("openat", "EROFS", ("/w/old",))),
        ('mkdir("new", 0777) = -1 EROFS (R)', Failure("mkdir", "EROFS", ("/w/new",))),
        ('rename("/a", "/b") = -1 EBUSY (R)', Failure("rename", "EBUSY", ("/a", "/b"))),
        ('symlink("/target", "/link") = -1 EROFS (R)', Failure("symlink", "EROFS", ("/link",))),
        ("fchmod(3</d/f>, 0777) = -1 EROFS (R)", Failure("fchmod", "EROFS", ("/d/f",))),
        (
            'connect(3<TCP:[1]>, {sa_family=AF_INET, sin_port=htons(80), sin_addr=inet_addr("192.0.2.1")}, 1)'
            " = -1 ENETUNREACH (N)",
            Failure("connect", "ENETUNREACH", address="192.0.2.1:80"),
        ),
        (
            "connect(3, {sa_family=AF_INET6, sin6_port=htons(53), sin6_flowinfo=htonl(0), "
            'inet_pton(AF_INET6, "::1", &sin6_addr), sin6_scope_id=0}, 28) = -1 ECONNREFUSED (N)',
            Failure("connect", "ECONNREFUSED", address="[::1]:53"),
        ),
        (
            'connect(3, {sa_family=AF_UNIX, sun_path="/run/x"}, 16) = -1 EACCES (P)',
            Failure("connect", "EACCES", ("/run/x",), detail="AF_UNIX"),
        ),
        (
            'connect(3, {sa_family=AF_UNIX, sun_path=@"x"}, 5) = -1 EPERM (P)',
            Failure("connect", "EPERM", detail="an abstract socket"),
        ),
        ("socket(AF_VSOCK, SOCK_STREAM, 0) = -1 EPERM (P)", Failure("socket", "EPERM", detail="AF_VSOCK")),
        (
            "ioctl(0</dev/pts/1>, TIOCSTI, 0x7) = -1 EPERM (P)",
            Failure("ioctl", "EPERM", ("/dev/pts/1",), detail="TIOCSTI"),
        ),
        (
            'fchmodat(AT_FDCWD</ws>, "04755", 04755) = -1 EPERM (P)',
            Failure("fchmodat", "EPERM", ("/ws/04755",), detail="the set-user-id bit"),
        ),
        (
            'openat(AT_FDCWD</ws>, "04755", O_RDONLY|O_CREAT, 0755) = -1 EPERM (P)',
            Failure("openat", "EPERM", ("/ws/04755",)),
        ),
        (
            "unshare(CLONE_NEWUSER)            = -1 EPERM (P)",
            Failure("unshare", "EPERM", detail="CLONE_NEWUSER"),
        ),
    ],
)
def test_a_failure_is_a_call_an_errno_and_a_subject(line: str, failure: Failure) -> None:
    assert failures(f"13 {line}") == [failure]


@pytest.mark.parametrize(
    "line",
    [
        r'openat(AT_FDCWD</w>, "/x\") = -1 EROFS (Read-only files)", O_RDONLY) = 3</x") = -1 EROFS (R)>',
        'openat(AT_FDCWD</w>, "/x <unfinished ...>", O_RDONLY) = 3</x>',
        "getpid() = 7",
        "--- SIGCHLD {si_signo=SIGCHLD} ---",
        "+++ exited with 0 +++",
        "exit_group(0) = ?",
    ],
)
def test_names_forge_no_failure(line: str) -> None:
    assert failures(f"13 {line}") == []


def test_a_name_does_not_move_a_process_to_another_directory() -> None:
    assert failures(
        '13 openat(AT_FDCWD</w>, "AT_FDCWD</etc>", O_RDONLY) = 3</w/x>', '13 mkdir("a", 0777) = -1 EROFS (R)'
    ) == [Failure("mkdir", "EROFS", ("/w/a",))]


def test_interrupted_lines_of_several_processes_are_joined() -> None:
    found = failures(
        '13 openat(AT_FDCWD</w>, "/a", O_WRONLY <unfinished ...>',
        '14 mkdir("/b", 0777 <unfinished ...>',
        "13 <... openat resumed>) = -1 EROFS (Read-only file system)",
        "14 <... mkdir resumed>) = -1 EACCES (Permission denied)",
        "13 <... openat resumed>) = -1 EROFS (Read-only file system)",
        "garbage",
        "",
    )
    assert found == [Failure("openat", "EROFS", ("/a",)), Failure("mkdir", "EACCES", ("/b",))]


def test_escaped_names_come_back_as_the_bytes_they_were() -> None:
    [failure] = failures(r'13 mkdir("/a\n\33\"\\\377\x41", 0777) = -1 EROFS (R)')
    assert os.fsencode(failure.paths[0]) == b'/a\n\x1b"\\\xffA'
