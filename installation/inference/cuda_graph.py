"""CUDA graphs, which pycuda does not offer: work recorded once and replayed with one call.

See "CUDA Graphs" in NVIDIA's CUDA C++ programming guide.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

# CU_STREAM_CAPTURE_MODE_THREAD_LOCAL: other threads may allocate memory during the capture.
_THREAD_LOCAL = 1


class NoGraphError(Exception):
    """The work cannot be captured with this driver; the message names the step that failed."""


class CudaGraph:
    """Captured work of one stream.

    Parameters
    ----------
    driver
        The driver library.
    stream
        An idle pycuda stream.
    work
        Enqueues the work on that stream. Memory it uses must stay at the same addresses.

    Raises
    ------
    NoGraphError
        The work cannot be captured; the stream is unchanged.
    """

    def __init__(self, driver: ctypes.CDLL, stream: Any, work: Callable[[], None]) -> None:
        self._driver = driver
        self._stream = ctypes.c_void_p(stream.handle)
        self._graph = ctypes.c_void_p()
        self._executable = ctypes.c_void_p()
        self._check("cuStreamBeginCapture_v2", self._stream, _THREAD_LOCAL)
        try:
            work()
        except Exception as error:
            self._abort_capture()
            raise NoGraphError(str(error)) from error
        self._check("cuStreamEndCapture", self._stream, ctypes.byref(self._graph))
        try:
            self._check(
                "cuGraphInstantiateWithFlags",
                ctypes.byref(self._executable),
                self._graph,
                ctypes.c_ulonglong(0),
            )
        except NoGraphError:
            self.free()
            raise

    def _abort_capture(self) -> None:
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
        """Enqueue the work again and return the driver's error code, 0 for success."""
        return int(self._driver.cuGraphLaunch(self._executable, self._stream))

    def free(self) -> None:
        """Destroy the graph."""
        if self._executable:
            self._driver.cuGraphExecDestroy(self._executable)
        if self._graph:
            self._driver.cuGraphDestroy(self._graph)
        self._executable = self._graph = ctypes.c_void_p()
