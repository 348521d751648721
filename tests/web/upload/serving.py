"""The web extension as visitors meet it: a process of its own, asked over real sockets."""

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
from dataclasses import dataclass
from pathlib import Path

import cv2

from tests.paths import ROOT

# Far beyond what anything here takes, on the slowest of machines.
LONG = 600.0


def with_timing(timing):
    """Return code for `Serving` that serves with another `WebTiming`, given its arguments."""
    return (
        "from installation.web.upload import command\n"
        "serve = command.serve\n"
        f"command.serve = lambda file: serve(file, command.WebTiming({timing}))\n"
    )


# For `Serving`: however slow the machine, all that waits is recorded at the end, ...
RECORDED = """
import functools, installation.web.upload.image_service as service
import installation.runtime.signals
from installation.record.writer import RecordWriter, WriterTiming
service.RecordWriter = functools.partial(RecordWriter, timing=WriterTiming(close_timeout_s=300.0))
installation.runtime.signals._END_S = 900.0
""" + with_timing("shutdown_timeout_s=300")
# ... whoever is here at the end is answered, ...
ANSWERED = """
import installation.runtime.signals
installation.runtime.signals._END_S = 900.0
""" + with_timing("drain_timeout_s=300")
# ... who sends a picture slowly is waited for, ...
RECEIVED = """
import installation.web.upload.request_body as receiving
receiving._GRACE_S = 600.0
"""
# ... and so is an inference server.
AWAITED = """
from functools import partial
import installation.vision.pipeline as pipeline
from installation.inference.server_timings import ServerTimings
timings = ServerTimings(batch_deadline_s=100.0, open_wait_s=100.0, max_overload_s=600.0)
pipeline.open_engines = partial(pipeline.open_engines, server_timings=timings)
"""


def nothing_may_be_written():
    """Let the process write to no file, whatever it may be (`preexec_fn`); pipes are none."""
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
    """``installation web`` at work.

    Parameters
    ----------
    folder
        Receives its config.
    built
        The engines.
    web
        Keys of the config's section of that name, as YAML.
    more
        More of the config.
    arguments
        Of the command.
    inference
        Keys of the config's section of that name, as YAML.
    patch
        Python to run in that process before the command.
    options
        For the process.
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
        self._about = f"inference: {{engines: {built}, {inference}}}\n", web
        self.write(more)
        self.lines = []
        self._line = queue.Queue()
        environment = {"PYTHONPATH": str(ROOT), **options.pop("env", {})}
        door = "import sys\nfrom installation.__main__ import start\nsys.exit(start())"
        command = ["-c", f"{patch}\n{door}"] if patch else ["-m", "installation"]
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
            told = self.wait_to_log("serving the web extension")
        except BaseException:
            self.close()
            raise
        found = re.search(r"http://(.+):(\d+)/", told)
        self.url = found[0]
        self.port = int(found[2])

    def write(self, more):
        """Write the config, with something else in it."""
        inference, web = self._about
        self.config.write_text(f"{inference}web: {{port: 0{', ' if web else ''}{web}}}\n{more}\n")

    def _listen(self):
        for line in self.process.stderr:
            self.lines.append(line)
            self._line.put(line)
        self._line.put("")

    def wait_to_log(self, what):
        """Wait until it logs a line that contains something; return it."""
        deadline = time.monotonic() + LONG
        while True:
            line = self._line.get(timeout=max(deadline - time.monotonic(), 0.01))
            assert line, "".join(self.lines)
            if what in line:
                return line

    def ask(self, method="GET", path="/", body=None, headers=None, source=None):
        """Ask for something; ``source`` is the loopback address to come from."""
        connection = http.client.HTTPConnection(
            "127.0.0.1", self.port, timeout=LONG, source_address=(source, 0) if source else None
        )
        try:
            connection.request(method, path, body, headers or {})
            response = connection.getresponse()
            return Response(response.status, response.headers, response.read())
        finally:
            connection.close()

    def send(self, picture, kind="image/jpeg", path="/api/classify", source=None):
        """Send a picture by itself."""
        return self.ask("POST", path, picture, {"Content-Type": kind}, source)

    def submit(self, picture, name="me.jpg", path="/", source=None):
        """Send a picture as browsers do."""
        body, kind = form({"picture": (name, picture)})
        return self.ask("POST", path, body, {"Content-Type": kind}, source)

    def connect(self, source="127.0.0.1"):
        """Open a bare connection."""
        return socket.create_connection(("127.0.0.1", self.port), LONG, (source, 0))

    @property
    def metrics(self):
        """What it tells Prometheus, by name and labels."""
        lines = self.ask(path="/metrics").text.splitlines()
        pairs = (line.rpartition(" ") for line in lines if not line.startswith("#"))
        return {name: float(value) for name, _, value in pairs}

    @property
    def fallback(self):
        """Whether it does the work of a server that is gone."""
        return self.metrics["installation_inference_fallback"] == 1

    @property
    def held(self):
        """How many places are taken."""
        return self.metrics["installation_web_in_flight"]

    def wait_to_hold(self, places):
        """Wait until so many places are taken."""
        deadline = time.monotonic() + LONG
        while self.held != places:
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def wait_to_let_in(self, pictures):
        """Wait until so many pictures are here or have been answered, from the start."""
        deadline, let_in = time.monotonic() + LONG, 0
        while let_in < pictures:
            assert time.monotonic() < deadline
            told = self.metrics
            answered = told["installation_web_images_classified_total"]
            let_in = answered + told["installation_web_in_flight"]
            time.sleep(0.02)

    def wait_to_answer(self, pictures):
        """Wait until so many pictures have been answered, from the start."""
        deadline = time.monotonic() + LONG
        while self.metrics["installation_web_images_classified_total"] < pictures:
            assert time.monotonic() < deadline
            time.sleep(0.02)

    @property
    def memory(self):
        """Megabytes it holds."""
        return int(re.search(r"VmRSS:\s+(\d+)", self._status)[1]) / 1024

    @property
    def memory_at_most(self):
        """Megabytes it ever held."""
        return int(re.search(r"VmHWM:\s+(\d+)", self._status)[1]) / 1024

    @property
    def processor_seconds(self):
        """How long it has kept processors busy."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    @property
    def _status(self):
        return Path(f"/proc/{self.process.pid}/status").read_text()

    def end(self, number=signal.SIGTERM):
        """End it; return its exit status."""
        self.process.send_signal(number)
        return self.process.wait(LONG)

    def close(self):
        """Leave nothing behind."""
        self.process.kill()
        self.process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def form(files):
    """Return a form's body and content type; files are pairs of name and bytes by field."""
    mark = "gallery-0123456789"
    parts = [
        f'--{mark}\r\nContent-Disposition: form-data; name="{field}"; filename="{name}"\r\n'
        "Content-Type: application/octet-stream\r\n\r\n".encode()
        + data
        + b"\r\n"
        for field, (name, data) in files.items()
    ]
    return b"".join([*parts, f"--{mark}--\r\n".encode()]), f"multipart/form-data; boundary={mark}"


def encoded(picture, suffix=".jpg"):
    """Return a picture as a file's bytes."""
    return cv2.imencode(suffix, picture)[1].tobytes()
