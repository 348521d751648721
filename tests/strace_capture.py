"""Where a program's bytes go: every call by which it could put some anywhere, as strace saw it."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from dataclasses import dataclass
from functools import cache

import numpy as np
import pytest

LONG = 300.0
# All by which bytes leave a process: the kernel has no others that are in use.
_CALLS = (
    *("write", "writev", "pwrite64", "pwritev", "pwritev2", "sendto", "sendmsg", "sendmmsg"),
    *("sendfile", "splice", "vmsplice", "tee", "copy_file_range", "process_vm_writev"),
    *("open", "openat", "openat2", "creat", "mmap", "memfd_create", "io_uring_setup"),
    *("shmget", "shmat", "shmctl", "mq_open", "msgsnd", "socket", "connect", "ptrace"),
    *("mkdir", "mkdirat", "mknod", "mknodat", "rename", "renameat", "renameat2", "setxattr"),
    *("link", "linkat", "symlink", "symlinkat", "fsetxattr", "lsetxattr", "add_key", "keyctl"),
)
_WRITES = ("write", "writev", "pwrite64", "pwritev", "pwritev2", "sendto", "sendmsg", "sendmmsg")
_LINE = re.compile(r"\d+ +(\w+)\((.*)")
_TARGET = re.compile(r"-?\d+<(.*?)>(?=[,)]| <unfinished)")
_STRING = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')
# With what files of pictures begin.
_SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG\r\n", b"GIF8", b"WEBP", b"RIFF", b"ftypheic", b"P6\n")


@cache
def why_not():
    """Why nothing can be traced here; empty if it can."""
    if not shutil.which("strace"):
        return "no strace here"
    tried = subprocess.run(["strace", "-D", "true"], capture_output=True, check=False, text=True)
    return "" if "+++ exited with 0 +++" in tried.stderr else "tracing is not allowed here"


needs_strace = pytest.mark.skipif(bool(why_not()), reason=why_not())


def under_strace(path):
    """What to put before a command; it keeps its process id, and its signals."""
    calls = ",".join(f"?{name}" for name in _CALLS)
    options = ["-D", "-f", "--seccomp-bpf", "-yy", "-xx", "-s", "100000", "-o", str(path)]
    return ["strace", *options, "-e", "signal=none", "-e", f"trace={calls}"]


@dataclass(frozen=True)
class Call:
    """One call: what it is, into what, with which arguments and bytes."""

    name: str
    target: str
    arguments: str

    @property
    def data(self):
        found = _STRING.findall(self.arguments)
        return b"".join(bytes.fromhex(each.replace("\\x", "")) for each in found)


def _plain(text):
    """Return text with what strace wrote as hexadecimal numbers as it is."""
    whole = re.compile(r"(?:\\x[0-9a-f]{2})+")
    return whole.sub(lambda each: bytes.fromhex(each[0].replace("\\x", "")).decode(), text)


def calls(path, pid):
    """Return the calls of a process and all it started; waits for its end."""
    deadline = time.monotonic() + LONG
    while not re.search(rf"^{pid} +\+\+\+", path.read_text(), re.MULTILINE):
        assert time.monotonic() < deadline, path.read_text()[-500:]
        time.sleep(0.1)
    found = []
    for line in path.read_text().splitlines():
        if match := _LINE.match(line):
            name, arguments = match.groups()
            target = _TARGET.match(arguments)
            found.append(Call(name, _plain(target[1]) if target else "", arguments))
    assert any(each.name in _WRITES for each in found)
    return found


def suspicious(found, files, sockets):
    """Return the calls by which anything could get anywhere but into known files and sockets.

    Parameters
    ----------
    found
        Of `calls`.
    files
        Patterns of files that may be written.
    sockets
        Patterns of what may be connected to.
    """
    kept = re.compile("|".join(files))
    met = re.compile("|".join(sockets))
    return [each for each in found if not _harmless(each, kept, met)] + _left_behind(found)


def _harmless(call, kept, met):
    text = call.arguments
    if call.name in ("open", "openat", "creat"):
        if call.name != "creat" and not re.search(r"O_WRONLY|O_RDWR|O_CREAT|O_TMPFILE", text):
            return True
        return bool(kept.fullmatch(call.data.decode())) and "O_TMPFILE" not in text
    if call.name.startswith(("mkdir", "rename")):
        return all(kept.fullmatch(_plain(name)) for name in _STRING.findall(text))
    if call.name == "mmap":
        # Private pages of a file are memory, and memory shared with nobody's file too.
        where = re.search(r"MAP_SHARED\w*[^,]*, \d+<(.*?)>(?=,)", text)
        writable = "PROT_WRITE" in text and where is not None
        return not writable or bool(re.fullmatch(rf"/memfd:.*|{kept.pattern}", _plain(where[1])))
    if call.name == "socket":
        return text.startswith(("AF_UNIX", "AF_INET,", "AF_INET6,"))
    if call.name == "connect":
        return bool(met.fullmatch(call.data.strip(b"\0").decode()))
    if call.name in _WRITES:
        return _may_be_written(call, kept)
    return call.name in ("memfd_create", "shmget", "shmat", "shmctl")


def _may_be_written(call, kept):
    target = call.target.partition("<")[0]
    if target.startswith(("pipe:", "UNIX-STREAM:", "UNIX-DGRAM:", "UNIX:", "anon_inode:")):
        return True
    if target.startswith("TCP"):
        ends = re.findall(r"[\[>](\S+?):\d+(?=->|\])", target.partition(":")[2])
        return bool(ends) and all(end in ("127.0.0.1", "[::1]", "::1") for end in ends)
    return bool(kept.fullmatch(target))


def _left_behind(found):
    """Return what attaches memory that would outlive the process."""
    removed = {each.arguments.partition(",")[0] for each in found if "IPC_RMID" in each.arguments}
    attached = [each for each in found if each.name == "shmat"]
    return [each for each in attached if each.arguments.partition(",")[0] not in removed]


def to_files(found):
    """Return the bytes that went into files, by file, in order."""
    written = {}
    for each in found:
        if each.name in _WRITES and each.target.startswith("/"):
            written[each.target] = written.get(each.target, b"") + each.data
    return written


def looks_like_pictures(data):
    """Tell whether bytes hold the beginning of a picture's file."""
    return any(signature in data for signature in _SIGNATURES)


class Pixels:
    """Finds parts of pictures among bytes: 64 bytes of any row, in any of the usual orders.

    Parameters
    ----------
    pictures
        uint8 (height, width, 3), BGR.
    """

    _WINDOW, _STEP = 16, 48

    def __init__(self, pictures):
        keys = []
        for picture in pictures:
            for each in (picture, picture[..., ::-1], picture[:, ::-1], picture[..., 1]):
                rows = np.ascontiguousarray(each).reshape(len(each), -1)
                windows = rows[:, : rows.shape[1] // self._STEP * self._STEP]
                windows = windows.reshape(-1, self._STEP)[:, : self._WINDOW]
                # An even wall tells nobody, and a row of zeros may be anything.
                different = (np.diff(np.sort(windows, 1), axis=1) > 0).sum(1)
                keys.append(_keys(windows[different >= 9]))
        self._keys = np.unique(np.concatenate(keys))

    def are_in(self, data):
        """Tell whether any are there."""
        data = np.frombuffer(data, np.uint8)
        if len(data) < self._WINDOW:
            return False
        windows = np.lib.stride_tricks.sliding_window_view(data, self._WINDOW)
        wanted = np.unique(_keys(np.ascontiguousarray(windows)))
        places = np.searchsorted(self._keys, wanted).clip(max=len(self._keys) - 1)
        return bool((self._keys[places] == wanted).any())


def _keys(windows):
    """Return a number for each row of 16 bytes; two that differ have different ones, mostly."""
    halves = np.ascontiguousarray(windows).view(np.uint64)
    return halves[:, 0] * np.uint64(0x9E3779B97F4A7C15) ^ halves[:, 1]
