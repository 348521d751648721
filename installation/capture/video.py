"""Video files, through FFmpeg's libraries (PyAV).

PyAV rather than OpenCV: it gives each frame's presentation time and the shape of its pixels, and
tells the end of a file from a decoding error. OpenCV computes times from an average rate and knows
the end only from the frame count that the container promises, which many sound files miss.
"""

from __future__ import annotations

import heapq
import logging
import stat
from collections.abc import Generator
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray

from installation.capture.source import CaptureError
from installation.capture.truncation import is_truncated

log = logging.getLogger(__name__)

# Frames per second where the file states none, or none that can be true.
_DEFAULT_FPS = 25.0
_MIN_FPS, _MAX_FPS = 1.0, 240.0
# A frame that stays longer is delivered again, this often, seconds: without new frames the camera
# would count as lost.
_REPEAT_S = 0.5
# A file ends in damage if fewer packets than this were decoded after the last error: decoders
# deliver a few frames late.
_INTACT_PACKETS = 3
# A longer gap in a transport stream is a new time base, not a still picture, seconds.
_MAX_GAP_S = 10.0
# Pixels that are further from square than this are an error in the file.
_MAX_PIXEL_ASPECT = 4.0


# Presentation time, and pixels.
_Frames = Generator[tuple[float, NDArray[np.uint8]], None, None]


class TruncatedError(CaptureError):
    """A video file ends before its time; the frames up to there are sound."""


def decode(path: Path) -> _Frames:
    """Decode a video file frame by frame.

    Parameters
    ----------
    path
        The file, in any format that FFmpeg knows. Where it holds several videos, FFmpeg's choice of
        the best is taken; cover art only if there is nothing else.

    Yields
    ------
    time_s : float
        Presentation time, seconds since the beginning of the file; never decreases.
    pixels : ndarray
        uint8 (height, width, 3), BGR, upright and with square pixels.

    Raises
    ------
    TruncatedError
        After the last frame: the file is cut short or damaged at its end.
    CaptureError
        It cannot be read, or holds no frame that can be decoded.
    """
    _check_regular_file(path)
    try:
        # With the prefix, a colon in the name does not make it another protocol's address.
        container = av.open(f"file:{path}", metadata_errors="replace")
    except av.FFmpegError as error:
        if isinstance(error, OSError):
            raise CaptureError(f"{path}: cannot be read: {error.strerror}") from error
        raise CaptureError(
            f"{path}: cannot be read as a video; is it one, and complete?"
        ) from error
    with container:
        stream = _video_stream(container)
        if stream is None:
            raise CaptureError(f"{path}: there is no video in it")
        clock = _Clock(container, stream)
        count, time_s, intact, damaged = 0, 0.0, _INTACT_PACKETS, 0
        packets = container.demux(stream)
        while True:
            try:
                packet = next(packets)
            except StopIteration:
                break
            except av.FFmpegError as error:
                reason = error.strerror
                raise CaptureError(
                    f"{path}: reading stopped after {count} frames: {reason}"
                ) from error
            try:
                clock.add(packet.dts)
                frames = packet.decode()
            except av.FFmpegError:
                intact, damaged = 0, damaged + 1
                continue
            if packet.size:
                intact = 0 if packet.is_corrupt else intact + 1
            for frame in frames:
                assert isinstance(frame, VideoFrame)
                if frame.is_corrupt:
                    intact = 0
                count, time_s = count + 1, clock.time_of(frame)
                try:
                    pixels = _upright(frame, stream)
                except (av.FFmpegError, ValueError, MemoryError) as error:
                    shape = f"{frame.width} x {frame.height} {frame.format.name}"
                    raise CaptureError(f"{path}: a frame of {shape} cannot be shown") from error
                yield time_s, pixels
    if count == 0:
        raise CaptureError(f"{path}: no frame in it can be decoded; is it a video?")
    if intact < _INTACT_PACKETS or is_truncated(path):
        raise TruncatedError(
            f"{path}: breaks off after {count} frames ({time_s:.1f} s); "
            "the file is cut short or damaged"
        )
    if damaged:
        log.warning("%s: %d frames are damaged and were left out", path, damaged)


def _check_regular_file(path: Path) -> None:
    try:
        # Before it is opened: a pipe would block until somebody writes to it.
        regular = stat.S_ISREG(path.stat().st_mode)
        if regular:
            path.open("rb").close()
    except FileNotFoundError:
        raise CaptureError(f"{path}: no such file") from None
    except OSError as error:
        raise CaptureError(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise CaptureError(f"{str(path)!r}: cannot be read: {error}") from error
    if not regular:
        raise CaptureError(f"{path}: not a file")


def _video_stream(container: InputContainer) -> VideoStream | None:
    """Choose FFmpeg's best video stream; cover art only where there is nothing else."""
    streams = container.streams
    if not streams.video:
        return None
    best = streams.best("video")
    chosen = best if isinstance(best, VideoStream) else streams.video[0]
    if _is_cover(chosen):
        chosen = next((each for each in streams.video if not _is_cover(each)), chosen)
    return chosen


def _is_cover(stream: VideoStream) -> bool:
    return bool(stream.disposition & av.stream.Disposition.attached_pic)


def _fps(stream: VideoStream) -> float:
    """Return the stream's nominal frame rate."""
    rate = stream.guessed_rate
    fps = float(rate) if rate else _DEFAULT_FPS
    return fps if _MIN_FPS <= fps <= _MAX_FPS else _DEFAULT_FPS


class _Clock:
    """Presentation times of one stream, from 0 and never backwards."""

    def __init__(self, container: InputContainer, stream: VideoStream) -> None:
        self._time_base = float(stream.time_base or 0)
        # Sound may begin a few milliseconds before 0, to be left out by its decoder.
        self._origin_s = max(container.start_time or 0, 0) / av.time_base
        self._frame_s = 1 / _fps(stream)
        # AVI stores when frames are decoded, not when they are shown: the n-th frame shown takes
        # the n-th time.
        self._decode_order = container.format.name == "avi"
        self._pending: list[int] = []
        # Transport streams that were recorded one after the other jump in time.
        self._may_jump = container.format.name in ("mpegts", "mpeg")
        self._last_s: float | None = None

    def add(self, dts: int | None) -> None:
        """Take note of a packet's decoding time, in the stream's time base."""
        if self._decode_order and dts is not None:
            heapq.heappush(self._pending, dts)

    def time_of(self, frame: VideoFrame) -> float:
        """Return a frame's presentation time, seconds; to be called once for each, in order."""
        pts = frame.pts
        if self._decode_order:
            pts = heapq.heappop(self._pending) if self._pending else None
        if self._last_s is None:
            self._last_s = 0.0 if pts is None else max(pts * self._time_base - self._origin_s, 0.0)
            return self._last_s
        next_s = self._last_s + self._frame_s
        time_s = next_s if pts is None else pts * self._time_base - self._origin_s
        if time_s < self._last_s or (self._may_jump and time_s - self._last_s > _MAX_GAP_S):
            self._origin_s += time_s - next_s
            time_s = next_s
        self._last_s = time_s
        return time_s


def _upright(frame: VideoFrame, stream: VideoStream) -> NDArray[np.uint8]:
    """Convert a frame to BGR with square pixels, turned as the file says."""
    width, height = frame.width, frame.height
    aspect = float(stream.sample_aspect_ratio or 1)
    if 1 <= aspect <= _MAX_PIXEL_ASPECT:
        width = round(width * aspect)
    elif 1 / _MAX_PIXEL_ASPECT <= aspect < 1:
        height = round(height / aspect)
    pixels = frame.to_ndarray(format="bgr24", width=width, height=height)
    return np.ascontiguousarray(np.rot90(pixels, round(frame.rotation / 90)), np.uint8)


class VideoFile:
    """A video file as a source: its frames in their own time.

    Parameters
    ----------
    path
        The file; see `decode`.
    loop
        Start again at its end. A damaged end is reported once, and then is an end like any other.
    """

    def __init__(self, path: Path, loop: bool) -> None:
        self.name = str(path)
        self.interval_s: float | None = 1 / _DEFAULT_FPS
        self._path = path
        self._loop = loop
        self._frames: _Frames | None = None
        # The frame to deliver next, and its time.
        self._next: tuple[float, NDArray[np.uint8]] | None = None
        # The frame delivered last, and the time reached.
        self._current: NDArray[np.uint8] | None = None
        self._time_s = 0.0
        self._count = 0
        self._reported = False

    def open(self) -> None:
        """See `Source.open`; decodes the first frame."""
        self.close()
        self._frames = decode(self._path)
        self._next = next(self._frames)
        self._time_s = self._next[0]
        self._count = 0

    def read(self) -> NDArray[np.uint8] | None:
        """See `Source.read`; a frame that stays long is delivered again meanwhile."""
        if self._next is None:
            if not self._loop:
                return None
            if self._count == 1:
                # Cover art, say: nothing would change by decoding it again.
                self.interval_s = _REPEAT_S
                return self._current
            self.open()
            assert self._next is not None
        time_s, pixels = self._next
        wait_s = time_s - self._time_s
        if self._current is not None and wait_s > _REPEAT_S:
            self._time_s += _REPEAT_S
            self.interval_s = _REPEAT_S
            return self._current
        if self._count:
            self.interval_s = wait_s
        self._time_s, self._current = time_s, pixels
        self._count += 1
        self._advance()
        return pixels

    def _advance(self) -> None:
        assert self._frames is not None
        try:
            self._next = next(self._frames, None)
        except TruncatedError as error:
            self._next = None
            if not self._reported:
                self._reported = True
                log.warning("%s", error)

    def close(self) -> None:
        """See `Source.close`."""
        if self._frames is not None:
            self._frames.close()
        self._frames = self._next = self._current = None
