"""Video files, with FFmpeg's libraries (PyAV).

Unlike OpenCV, PyAV returns each frame's presentation time and pixel aspect ratio, and distinguishes
the end of a file from a decoding error. OpenCV derives times from an average rate and the end from
the container's frame count, which is wrong in many intact files.
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

# Frame rate if the file states none or an implausible one.
_DEFAULT_FPS = 25.0
_MIN_FPS, _MAX_FPS = 1.0, 240.0
# A frame that is shown for longer is delivered repeatedly at this interval; otherwise the source
# would seem to hang.
_REPEAT_S = 0.5
# A file is damaged at its end if fewer packets than this follow the last error, because decoders
# return frames with a delay of a few packets.
_INTACT_PACKETS = 3
# A longer gap in a transport stream is a jump of its clock, not a long frame.
_MAX_GAP_S = 10.0
# A more extreme pixel aspect ratio is an error in the file.
_MAX_PIXEL_ASPECT = 4.0


# Presentation time in seconds, and pixels.
_Frames = Generator[tuple[float, NDArray[np.uint8]], None, None]


class TruncatedError(CaptureError):
    """A video file is truncated; the frames before that point are valid."""


def decode(path: Path) -> _Frames:
    """Decode a video file frame by frame.

    Parameters
    ----------
    path
        Video file in any format that FFmpeg supports. Of several video streams FFmpeg's choice is
        decoded; cover art only if there is nothing else.

    Yields
    ------
    time_s : float
        Presentation time, seconds since the beginning of the file; never decreases.
    pixels : ndarray
        uint8 (height, width, 3), BGR, upright and with square pixels.

    Raises
    ------
    TruncatedError
        After the last frame: the file is truncated or damaged at its end.
    CaptureError
        The file cannot be read, or contains no frame that can be decoded.
    """
    _check_regular_file(path)
    try:
        # The prefix keeps FFmpeg from taking a colon in the name for a protocol.
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
            raise CaptureError(f"{path}: it contains no video")
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
                    raise CaptureError(f"{path}: a frame of {shape} cannot be converted") from error
                yield time_s, pixels
    if count == 0:
        raise CaptureError(f"{path}: no frame in it can be decoded; is it a video?")
    if intact < _INTACT_PACKETS or is_truncated(path):
        raise TruncatedError(
            f"{path}: ends prematurely after {count} frames ({time_s:.1f} s); "
            "the file is truncated or damaged"
        )
    if damaged:
        log.warning("%s: %d damaged frames were skipped", path, damaged)


def _check_regular_file(path: Path) -> None:
    try:
        # Checked before opening, because opening a pipe blocks until somebody writes to it.
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
    """Return FFmpeg's choice of video stream; cover art only if there is nothing else."""
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
    """Presentation times of one stream, starting at 0 and never decreasing."""

    def __init__(self, container: InputContainer, stream: VideoStream) -> None:
        self._time_base = float(stream.time_base or 0)
        # Sound may start a few milliseconds before 0, which its decoder drops.
        self._origin_s = max(container.start_time or 0, 0) / av.time_base
        self._frame_s = 1 / _fps(stream)
        # AVI has decoding times only: the n-th frame shown gets the n-th of them.
        self._decode_order = container.format.name == "avi"
        self._pending: list[int] = []
        # The clock jumps in concatenated transport streams.
        self._may_jump = container.format.name in ("mpegts", "mpeg")
        self._last_s: float | None = None

    def add(self, dts: int | None) -> None:
        """Record a packet's decoding time, in the stream's time base."""
        if self._decode_order and dts is not None:
            heapq.heappush(self._pending, dts)

    def time_of(self, frame: VideoFrame) -> float:
        """Return a frame's presentation time, seconds. Call it once for each frame, in order."""
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
    """Convert a frame to BGR with square pixels, rotated as the file specifies."""
    width, height = frame.width, frame.height
    aspect = float(stream.sample_aspect_ratio or 1)
    if 1 <= aspect <= _MAX_PIXEL_ASPECT:
        width = round(width * aspect)
    elif 1 / _MAX_PIXEL_ASPECT <= aspect < 1:
        height = round(height / aspect)
    pixels = frame.to_ndarray(format="bgr24", width=width, height=height)
    return np.ascontiguousarray(np.rot90(pixels, round(frame.rotation / 90)), np.uint8)


class VideoFile:
    """A video file as a source, at its own pace.

    Parameters
    ----------
    path
        The file; see `decode`.
    loop
        Whether to start again at the end. A damaged end is logged once.
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
        """See `Source.read`; a frame that is shown for long is delivered repeatedly."""
        if self._next is None:
            if not self._loop:
                return None
            if self._count == 1:
                # Such as cover art: there is no need to decode it again.
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
