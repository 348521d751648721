"""Record work on a CUDA stream once, replay it with one call; pycuda has no words for that.

See "CUDA Graphs" in NVIDIA's CUDA C++ programming guide.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

# CU_STREAM_CAPTURE_MODE_THREAD_LOCAL: what other threads allocate meanwhile is no concern of ours.
_THREAD_LOCAL = 1


class NoGraphError(Exception):
    """The driver or the work does not allow recording; the text says at which step."""


class CudaGraph:
    """Recorded work.

    Parameters
    ----------
    driver
        The driver's library.
    stream
        pycuda's; idle.
    work
        Puts the work on that stream, with addresses that stay.

    Raises
    ------
    NoGraphError
        It cannot be recorded; the stream is as before.
    """

    def __init__(self, driver: ctypes.CDLL, stream: Any, work: Callable[[], None]) -> None:
        self._driver = driver
        self._stream = ctypes.c_void_p(stream.handle)
        self._graph = ctypes.c_void_p()
        self._ready = ctypes.c_void_p()
        self._check("cuStreamBeginCapture_v2", self._stream, _THREAD_LOCAL)
        try:
            work()
        except Exception as error:
            self._end()
            raise NoGraphError(str(error)) from error
        self._check("cuStreamEndCapture", self._stream, ctypes.byref(self._graph))
        try:
            self._check(
                "cuGraphInstantiateWithFlags",
                ctypes.byref(self._ready),
                self._graph,
                ctypes.c_ulonglong(0),
            )
        except NoGraphError:
            self.free()
            raise

    def _end(self) -> None:
        driver = self._driver
        driver.cuStreamEndCapture(self._stream, ctypes.byref(self._graph))
        self.free()

    def _check(self, function: str, *arguments: object) -> None:
        try:
            code = getattr(self._driver, function)(*arguments)
        except AttributeError as error:
            raise NoGraphError(f"this driver has no {function}") from error
        if code:
            raise NoGraphError(f"{function} failed with error {code}")

    def launch(self) -> int:
        """Put the work on the stream again; returns the driver's error, 0 for none."""
        return int(self._driver.cuGraphLaunch(self._ready, self._stream))

    def free(self) -> None:
        """Give the graph back."""
        if self._ready:
            self._driver.cuGraphExecDestroy(self._ready)
        if self._graph:
            self._driver.cuGraphDestroy(self._graph)
        self._ready = self._graph = ctypes.c_void_p()
