"""Proxies in front of workers, configured as docs/web.md says."""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import shutil
import subprocess
import textwrap
import time

from tests.ports import free_port
from tests.web.upload.serving import LONG, ROOT

NGINX = """
daemon off;
master_process off;
pid {folder}/nginx.pid;
events {{ worker_connections 4096; }}
http {{
    client_body_temp_path {folder}/bodies;
    proxy_temp_path {folder}/answers;
    fastcgi_temp_path {folder}/unused;
    uwsgi_temp_path {folder}/unused;
    scgi_temp_path {folder}/unused;
{text}
}}
"""


def available(kind):
    """Return whether a proxy is installed."""
    return shutil.which(kind, path=os.environ["PATH"] + ":/usr/sbin") is not None


def documented(first_line):
    """Return the example in the documentation that starts with a line."""
    lines = (ROOT / "docs/web.md").read_text().splitlines()
    block = []
    for line in lines[lines.index(f"    {first_line}") :]:
        if line and not line.startswith("    "):
            break
        block.append(line)
    return textwrap.dedent("\n".join(block))


class Balanced:
    """Workers behind a proxy, nginx or haproxy."""

    def __init__(self, kind, folder, workers):
        self.kind = kind
        self.workers = workers
        self.port = free_port()
        self.folder = folder
        for name in ("bodies", "answers"):
            (folder / name).mkdir()
        config = folder / kind
        if kind == "nginx":
            text = documented("upstream mirror {")
            text = re.sub(r"listen 443 ssl", f"listen 127.0.0.1:{self.port}", text)
            text = re.sub(r" *ssl_certificate.*\n", "", text)
            text = NGINX.format(folder=folder, text=text)
            command = ["nginx", "-p", str(folder), "-e", str(folder / "log"), "-c", str(config)]
        else:
            text = documented("frontend mirror")
            text = re.sub(r"bind .*", f"bind 127.0.0.1:{self.port}", text)
            command = ["haproxy", "-db", "-q", "-f", str(config)]
        for number, worker in enumerate(workers, 1):
            text = text.replace(f"127.0.0.1:808{number}", f"127.0.0.1:{worker.port}")
        config.write_text(text + "\n")
        environment = {"PATH": f"{os.environ['PATH']}:/usr/sbin"}
        with (folder / "stderr").open("w") as stderr:
            self.process = subprocess.Popen(command, cwd=folder, env=environment, stderr=stderr)
        deadline = time.monotonic() + LONG
        while True:
            with contextlib.suppress(OSError):
                if self.get("/healthz") == 200:
                    return
            assert self.process.poll() is None, (folder / "stderr").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.1)

    def get(self, path, source="127.0.0.1"):
        return self.ask("GET", path, source)

    def ask(self, method, path, source, body=None):
        connection = http.client.HTTPConnection(
            "127.0.0.1", self.port, timeout=LONG, source_address=(source, 0)
        )
        try:
            connection.request(method, path, body, {"Content-Type": "image/jpeg"} if body else {})
            response = connection.getresponse()
            response.read()
            return response.status
        finally:
            connection.close()

    def send(self, image, number):
        """Send an image from one of many addresses; return the status, 0 without a response."""
        try:
            return self.ask("POST", "/api/classify", f"127.0.7.{number % 250 + 1}", image)
        except (OSError, http.client.HTTPException):
            return 0

    def close(self):
        self.process.kill()
        self.process.wait()
