"""Engines opened one by one, which only tests do."""

from engines.manifest import load_manifest
from installation.inference.cpu import CpuEngine


def on_cpu(folder):
    return CpuEngine(folder, load_manifest(folder))
