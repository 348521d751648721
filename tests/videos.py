"""Video files made for tests: any container, any times, and the faults that files have."""

from fractions import Fraction

import av
import numpy as np

WIDTH, HEIGHT = 320, 240
_NOISE = np.random.default_rng(0).integers(0, 255, (HEIGHT // 8, WIDTH // 8, 3), np.uint8)
_NOISE = np.kron(_NOISE, np.ones((8, 8, 1), np.uint8))


def write_video(
    path,
    times_s,
    codec="mpeg4",
    *,
    start_s=0.0,
    audio_s=0.0,
    pixel_aspect=Fraction(1),
    options=None,
):
    """Write frames at these times; those before ``start_s`` are hidden by an edit list."""
    with av.open(str(path), "w", options=options or {}) as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height = WIDTH, HEIGHT
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        base = stream.codec_context.time_base = Fraction(1, 25)
        stream.codec_context.sample_aspect_ratio = pixel_aspect
        stream.codec_context.gop_size = 12
        sound = container.add_stream(_sound_codec(path), rate=48000) if audio_s else None
        packets = []
        for index, time_s in enumerate(times_s):
            frame = av.VideoFrame.from_ndarray(np.roll(_NOISE, index, axis=1), format="bgr24")
            frame.pts, frame.time_base = round(time_s / base), base
            packets += stream.encode(frame)
        packets += stream.encode(None)
        cut = round(start_s / base)
        for packet in packets:
            packet.pts, packet.dts = packet.pts - cut, packet.dts - cut
            container.mux(packet)
        if sound is not None:
            _write_sound(container, sound, audio_s)
    return path


def _sound_codec(path):
    return "libopus" if path.suffix == ".webm" else "aac"


def _write_sound(container, stream, seconds):
    samples = 960
    for index in range(round(seconds * 48000 / samples)):
        frame = av.AudioFrame.from_ndarray(
            np.zeros((2, samples), np.float32), format="fltp", layout="stereo"
        )
        frame.sample_rate, frame.pts = 48000, index * samples
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))


def write_song(path, cover):
    """Write an MP3 file of three seconds with cover art, a JPEG file's bytes (ID3v2.3)."""
    with av.open(str(path), "w", format="mp3", options={"id3v2_version": "0"}) as container:
        _write_sound(container, container.add_stream("libmp3lame", rate=48000), 3)
    picture = b"\0image/jpeg\0\x03\0" + cover
    frame = b"APIC" + len(picture).to_bytes(4, "big") + b"\0\0" + picture
    size = bytes(len(frame) >> shift & 0x7F for shift in (21, 14, 7, 0))
    path.write_bytes(b"ID3\x03\0\0" + size + frame + path.read_bytes())
    return path


def turn(path, degrees):
    """Have an MP4 file's players turn it clockwise, by the matrix in its track header."""
    one, minus = 0x10000, -0x10000
    a, b, c, d = {90: (0, one, minus, 0), 180: (minus, 0, 0, minus), 270: (0, minus, one, 0)}[
        degrees
    ]
    data = bytearray(path.read_bytes())
    # 40 bytes of a version 0 header stand before the matrix (ISO/IEC 14496-12, 8.3.2).
    at = data.index(b"tkhd") + 4 + 40
    matrix = (a, b, 0, c, d, 0, 0, 0, 0x40000000)
    data[at : at + 36] = b"".join(each.to_bytes(4, "big", signed=True) for each in matrix)
    path.write_bytes(data)
    return path


def cut(path, share):
    """Cut a file short."""
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    return path
