"""The web extension as a process of its own, reached over real sockets."""

from __future__ import annotations

import http.client
import json
import os
import queue
import re
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import cv2

from tests.paths import ROOT

# Far longer than anything takes on the slowest machine, seconds.
LONG = 600.0


def with_timing(timing):
    """Return code for `Serving` that serves with another `WebTiming`, given its arguments."""
    return (
        "from installation.config.watch import WatchTiming\n"
        "from installation.record.writer import WriterTiming\n"
        "from installation.web.upload import command\n"
        "from installation.web.upload.timing import WebTiming\n"
        "serve = command.serve\n"
        f"command.serve = lambda file: serve(file, WebTiming({timing}))\n"
    )


# For `Serving`: however slow the machine, all that waits is recorded at the end, ...
RECORDED = with_timing(
    "shutdown_timeout_s=300, forced_end_s=900, writer=WriterTiming(close_timeout_s=300)"
)
# ... whoever is here at the end is answered, ...
ANSWERED = with_timing("drain_timeout_s=300, forced_end_s=900")
# ... who sends a picture slowly is waited for, ...
RECEIVED = with_timing("upload_grace_s=600")
# ... and so is an inference server.
AWAITED = """
from functools import partial
import installation.vision.pipeline as pipeline
from installation.inference.server_timing import ServerTiming
timing = ServerTiming(batch_deadline_s=100.0, open_wait_s=100.0, max_overload_s=600.0)
pipeline.open_engines = partial(pipeline.open_engines, server_timing=timing)
"""

# Images are classified once there is a file named gate; each classification is counted.
GATE = """
import time
from pathlib import Path
from installation.vision.still_classifier import ImageClassifier
look = ImageClassifier.classify
def looked(reader, picture):
    with open("looks", "a") as looks:
        looks.write(".")
    while not Path("gate").exists():
        time.sleep(0.01)
    return look(reader, picture)
ImageClassifier.classify = looked
""" + with_timing("drain_timeout_s=3")


def nothing_may_be_written():
    """Keep the process from writing to files (as `preexec_fn`); pipes still work."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)


@dataclass
class Response:
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def text(self):
        return self.body.decode()

    @property
    def json(self):
        return json.loads(self.body)


class Serving:
    """A running ``installation web``.

    Parameters
    ----------
    folder
        Where its config is written.
    built
        The engines.
    web
        Keys of the config section ``web``, as YAML.
    more
        More config sections, as YAML.
    arguments
        More arguments of the command.
    inference
        Keys of the config section ``inference``, as YAML.
    patch
        Python code to run in the process before the command.
    options
        More arguments of `subprocess.Popen`.
    """

    def __init__(
        self,
        folder,
        built,
        web="",
        more="record: {file: null}",
        arguments=(),
        inference="device: cpu",
        patch="",
        **options,
    ):
        self.folder = folder
        self.config = folder / "config.yaml"
        self._sections = f"inference: {{engines: {built}, {inference}}}\n", web
        self.write(more)
        self.lines = []
        self._line = queue.Queue()
        environment = {"PYTHONPATH": str(ROOT), **options.pop("env", {})}
        main = "import sys\nfrom installation.__main__ import start\nsys.exit(start())"
        command = ["-c", f"{patch}\n{main}"] if patch else ["-m", "installation"]
        self.process = subprocess.Popen(
            [sys.executable, *command, "web", "--config", str(self.config), *arguments],
            cwd=folder,
            env={**os.environ, **environment},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            **options,
        )
        threading.Thread(target=self._listen, daemon=True).start()
        try:
            line = self.wait_to_log("serving the web extension")
        except BaseException:
            self.close()
            raise
        found = re.search(r"http://(.+):(\d+)/", line)
        self.url = found[0]
        self.port = int(found[2])

    def write(self, more):
        """Write the config with these sections in addition to the fixed ones."""
        inference, web = self._sections
        self.config.write_text(f"{inference}web: {{port: 0{', ' if web else ''}{web}}}\n{more}\n")

    def _listen(self):
        for line in self.process.stderr:
            self.lines.append(line)
            self._line.put(line)
        self._line.put("")

    def wait_to_log(self, text):
        """Wait until it logs a line that contains a text; return the line."""
        deadline = time.monotonic() + LONG
        while True:
            line = self._line.get(timeout=max(deadline - time.monotonic(), 0.01))
            assert line, "".join(self.lines)
            if text in line:
                return line

    def ask(self, method="GET", path="/", body=None, headers=None, source=None):
        """Send a request, from a loopback address of choice; return the response."""
        connection = http.client.HTTPConnection(
            "127.0.0.1", self.port, timeout=LONG, source_address=(source, 0) if source else None
        )
        try:
            connection.request(method, path, body, headers or {})
            response = connection.getresponse()
            return Response(response.status, response.headers, response.read())
        finally:
            connection.close()

    def send(self, image, kind="image/jpeg", path="/api/classify", source=None):
        """Send an image to the API."""
        return self.ask("POST", path, image, {"Content-Type": kind}, source)

    def submit(self, image, name="me.jpg", path="/", source=None):
        """Send an image as browsers do."""
        body, kind = form({"picture": (name, image)})
        return self.ask("POST", path, body, {"Content-Type": kind}, source)

    def connect(self, source="127.0.0.1"):
        """Open a socket."""
        return socket.create_connection(("127.0.0.1", self.port), LONG, (source, 0))

    @property
    def metrics(self):
        """Its metrics, by name and labels."""
        lines = self.ask(path="/metrics").text.splitlines()
        pairs = (line.rpartition(" ") for line in lines if not line.startswith("#"))
        return {name: float(value) for name, _, value in pairs}

    @property
    def fallback(self):
        """Whether it has fallen back from an inference server to its CPU."""
        return self.metrics["installation_inference_fallback"] == 1

    @property
    def in_flight(self):
        """Number of images in flight."""
        return self.metrics["installation_web_in_flight"]

    def wait_for_in_flight(self, images):
        """Wait until so many images are in flight."""
        deadline = time.monotonic() + LONG
        while self.in_flight != images:
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def wait_for_receiving(self, images):
        """Wait until so many images are being received."""
        deadline = time.monotonic() + LONG
        while self.metrics["installation_web_receiving"] != images:
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def wait_for_admitted(self, images):
        """Wait until so many images since the start are in flight or classified."""
        deadline, admitted = time.monotonic() + LONG, 0
        while admitted < images:
            assert time.monotonic() < deadline
            metrics = self.metrics
            classified = metrics["installation_web_images_classified_total"]
            admitted = classified + metrics["installation_web_in_flight"]
            time.sleep(0.02)

    def wait_for_classified(self, images):
        """Wait until so many images since the start are classified."""
        deadline = time.monotonic() + LONG
        while self.metrics["installation_web_images_classified_total"] < images:
            assert time.monotonic() < deadline
            time.sleep(0.02)

    @property
    def decoders(self):
        """Process ids of the decoders."""
        tasks = Path(f"/proc/{self.process.pid}/task").iterdir()
        return [int(pid) for task in tasks for pid in (task / "children").read_text().split()]

    @property
    def memory(self):
        """Resident memory, with that of the decoders, megabytes."""
        return self._memory("VmRSS")

    @property
    def memory_at_most(self):
        """Sum of the peaks of resident memory of the server and its decoders, megabytes."""
        return self._memory("VmHWM")

    def _memory(self, line):
        total = 0.0
        for pid in (self.process.pid, *self.decoders):
            # One that has just been replaced has no status.
            with suppress(OSError, TypeError):
                status = Path(f"/proc/{pid}/status").read_text()
                total += int(re.search(rf"{line}:\s+(\d+)", status)[1]) / 1024
        return total

    @property
    def processor_seconds(self):
        """Processor time used, seconds."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def end(self, number=signal.SIGTERM):
        """Send a signal and wait for the exit status."""
        self.process.send_signal(number)
        return self.process.wait(LONG)

    def close(self):
        """Kill it."""
        self.process.kill()
        self.process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def form(files):
    """Return body and content type of a form; ``files`` maps fields to (name, bytes)."""
    mark = "gallery-0123456789"
    parts = [
        f'--{mark}\r\nContent-Disposition: form-data; name="{field}"; filename="{name}"\r\n'
        "Content-Type: application/octet-stream\r\n\r\n".encode()
        + data
        + b"\r\n"
        for field, (name, data) in files.items()
    ]
    return b"".join([*parts, f"--{mark}--\r\n".encode()]), f"multipart/form-data; boundary={mark}"


def encoded(image, suffix=".jpg"):
    """Return an image as the bytes of a file."""
    return cv2.imencode(suffix, image)[1].tobytes()
