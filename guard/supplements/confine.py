"""Shuts the child in, before it runs anybody else's code: it may compute, and talk over the network. That is all.

As root it becomes nobody. Under systemd it stays the guard's own user, who may read the state and the secret and
write to the control socket; so the kernel takes that from it: Landlock (Linux 5.13) leaves it the files that programs
are made of, to read, and a seccomp filter leaves it no unix socket, no signal to others and no other ways around. The
parent has emptied its ambient set before, so no capability comes along.
"""

from __future__ import annotations

import ctypes
import os
import platform
import pwd
import resource
import signal
import struct
import sys
from contextlib import suppress
from pathlib import Path

MEMORY_LIMIT = 1 << 30
"""Bytes of address space."""
FILES_LIMIT = 256

_PR_SET_PDEATHSIG, _PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS, _PR_CAP_AMBIENT = 1, 22, 38, 47
_PR_CAP_AMBIENT_CLEAR_ALL, _SECCOMP_MODE_FILTER = 4, 2

_READABLE = (
    *("/usr", "/lib", "/lib64", "/bin", "/etc/ssl", "/etc/ca-certificates", "/etc/resolv.conf", "/etc/hosts"),
    *("/etc/nsswitch.conf", "/etc/gai.conf", "/etc/host.conf", "/etc/services", "/etc/ld.so.cache", "/etc/localtime"),
    *("/run/systemd/resolve", "/run/resolvconf", "/dev/null", "/dev/urandom"),
)

# Landlock, include/uapi/linux/landlock.h: the numbers are the same on all machines.
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1, 2, 4, 8
_RIGHTS = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1}

# Seccomp, by the machine: its name for audit, and the calls that are refused or looked at.
_MACHINES = {
    "x86_64": (0xC000003E, {
        "socket": 41, "kill": 62, "tkill": 200, "tgkill": 234, "rt_sigqueueinfo": 129, "rt_tgsigqueueinfo": 297,
        "fcntl": 72, "ioctl": 16, "ptrace": 101, "prlimit64": 302,
    }),
    "aarch64": (0xC00000B7, {
        "socket": 198, "kill": 129, "tkill": 130, "tgkill": 131, "rt_sigqueueinfo": 138, "rt_tgsigqueueinfo": 240,
        "fcntl": 25, "ioctl": 29, "ptrace": 117, "prlimit64": 261,
    }),
}  # fmt: skip
_OWNING = {"fcntl": (8, 10, 15), "ioctl": (0x8901, 0x8902)}
"""Says whom the kernel signals for a descriptor, and how: F_SETOWN, F_SETSIG, F_SETOWN_EX; FIOSETOWN, SIOCSPGRP."""
_REFUSED = {"io_uring_setup": 425, "pidfd_open": 434, "pidfd_send_signal": 424, "process_madvise": 440}
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050000 | 13  # EACCES

_libc = ctypes.CDLL(None, use_errno=True)


def drop_ambient() -> None:
    """Let no capability of this process go to programs that it starts."""
    _libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)


def become_nobody() -> None:
    """Be no longer root, if this is root."""
    if os.geteuid() == 0:
        nobody = pwd.getpwnam("nobody")
        os.setgroups([])
        os.setresgid(nobody.pw_gid, nobody.pw_gid, nobody.pw_gid)
        os.setresuid(nobody.pw_uid, nobody.pw_uid, nobody.pw_uid)


def die_with(parent: int) -> None:
    """Have the kernel end this process when its parent ends, which a change of user undoes; end if that is over."""
    _check(_libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != parent:
        sys.exit("the guard is gone")


def be_small() -> None:
    """Take no more than a supplement needs, and stand behind everybody else."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (FILES_LIMIT, FILES_LIMIT))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT, MEMORY_LIMIT))
    with suppress(OSError):  # the unit's filter has no such call
        os.nice(10)
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("800", "ascii")


def shut_in() -> list[str]:
    """Take files, unix sockets and signals away; return what this kernel or machine cannot take."""
    _check(_libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "prctl(PR_SET_NO_NEW_PRIVS)")
    return [what for what, done in (("files", _landlock()), ("unix sockets", _seccomp())) if not done]


def capabilities() -> int:
    """Return the capabilities that are in force or could be."""
    lines = dict(line.split(":\t") for line in Path("/proc/self/status").read_text("ascii").splitlines())
    return int(lines["CapEff"], 16) | int(lines["CapPrm"], 16)


def _landlock() -> bool:
    version = _libc.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), 1)
    if version < 1:
        return False
    rights = _RIGHTS[min(version, 3)]
    handled = ctypes.create_string_buffer(struct.pack("=Q", rights), 8)
    ruleset = _libc.syscall(_CREATE_RULESET, handled, ctypes.c_size_t(8), 0)
    if ruleset < 0:
        return False
    for path in {*_READABLE, *sys.path, sys.prefix, sys.base_prefix} - {"", "/"}:
        writes = _WRITE_FILE if path == "/dev/null" else 0
        with suppress(OSError):  # what is not there needs no rule
            _let_read(ruleset, path, writes)
    done = bool(_libc.syscall(_RESTRICT_SELF, ruleset, 0) == 0)
    os.close(ruleset)
    return done


def _let_read(ruleset: int, path: str, more: int) -> None:
    descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        rights = _READ_FILE | _EXECUTE | more | (_READ_DIR if Path(path).is_dir() else 0)
        rule = ctypes.create_string_buffer(struct.pack("=Qi", rights, descriptor), 12)
        _libc.syscall(_ADD_RULE, ruleset, 1, rule, 0)
    finally:
        os.close(descriptor)


def _seccomp() -> bool:
    if platform.machine() not in _MACHINES or struct.calcsize("P") != 8:
        return False
    code = _filter(*_MACHINES[platform.machine()], os.getpid())
    program = ctypes.create_string_buffer(code, len(code))
    header = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(code) // 8, ctypes.addressof(program)))
    return bool(_libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, header, 0, 0) == 0)


def _filter(machine: int, calls: dict[str, int], pid: int) -> bytes:
    """Write the filter, classic BPF on struct seccomp_data: number at 0, machine at 4, arguments from 16 on."""
    load, equal, above, end = 0x20, 0x15, 0x35, 0x06
    code = [
        (load, 0, 0, 4), (equal, 1, 0, machine), (end, 0, 0, _REFUSE),
        (load, 0, 0, 0), (above, 0, 1, 0x40000000), (end, 0, 0, _REFUSE),
    ]  # fmt: skip
    for number in (
        *_REFUSED.values(),
        *(calls[name] for name in ("tkill", "rt_sigqueueinfo", "rt_tgsigqueueinfo", "ptrace")),
    ):
        code += [(equal, 0, 1, number), (end, 0, 0, _REFUSE)]
    for name, commands in _OWNING.items():
        code += [(equal, 0, 2 * len(commands) + 2, calls[name]), (load, 0, 0, 24)]
        for command in commands:
            code += [(equal, 0, 1, command), (end, 0, 0, _REFUSE)]
        code.append((end, 0, 0, _ALLOW))
    code += [
        (equal, 0, 4, calls["socket"]),
        (load, 0, 0, 16),
        (equal, 0, 1, 1),
        (end, 0, 0, _REFUSE),
        (end, 0, 0, _ALLOW),
    ]
    for name in ("kill", "tgkill", "prlimit64"):  # of itself it may: abort() does
        own = 0 if name == "prlimit64" else pid
        code += [
            (equal, 0, 5, calls[name]), (load, 0, 0, 16), (equal, 2, 0, pid), (equal, 1, 0, own),
            (end, 0, 0, _REFUSE), (end, 0, 0, _ALLOW),
        ]  # fmt: skip
    code.append((end, 0, 0, _ALLOW))
    return b"".join(struct.pack("=HBBI", *step) for step in code)


def _check(result: int, what: str) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), f"{what}: {os.strerror(ctypes.get_errno())}")
