import json
import random
import struct
from dataclasses import asdict

import pytest

from engines.checksummed_file import CorruptFileError, read_checksummed, write_checksummed
from engines.plan_cache import Target

DESCRIPTION = {"network": "ab" * 32, "precision": "fp16"} | asdict(
    Target("tensorrt", "10.3.0", 86, "NVIDIA RTX", "550.54.14, CUDA 12.4")
)


@pytest.fixture
def sealed(tmp_path):
    path = tmp_path / "a.plan"
    write_checksummed(path, DESCRIPTION, b"\x00plan\xff" * 40)
    return path


def test_what_was_written_is_read_back(sealed):
    assert read_checksummed(sealed) == (DESCRIPTION, b"\x00plan\xff" * 40)
    assert [path.name for path in sealed.parent.iterdir()] == [sealed.name]


def mutate(data, rng):
    """Damage bytes as disks, editors and half-finished copies do; never back to what they were."""
    way = rng.randrange(6)
    at = rng.randrange(len(data))
    if way == 0:
        return data[:at]
    if way == 1:
        return data[:at] + bytes([data[at] ^ (1 << rng.randrange(8))]) + data[at + 1 :]
    if way == 2:
        return data[:at] + rng.randbytes(rng.randrange(1, 9)) + data[at:]
    if way == 3:
        return data[:at] + data[at + rng.randrange(1, 9) :]
    if way == 4:
        end = min(at + rng.randrange(1, 65), len(data))
        return data[:at] + bytes(byte ^ 0x5A for byte in data[at:end]) + data[end:]
    return rng.randbytes(rng.randrange(200))


def test_ten_thousand_damaged_files_are_rejected(sealed):
    whole = sealed.read_bytes()
    rng = random.Random(2019)
    for number in range(10_000):
        mutant = mutate(whole, rng)
        sealed.write_bytes(mutant)
        with pytest.raises(CorruptFileError):
            pytest.fail(f"mutant {number} passed: {read_checksummed(sealed)}")


def reseal(body):
    import hashlib

    return b"MIRROR\x00\x01" + hashlib.sha256(body).digest() + body


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\x01",
        struct.pack("<I", 0),
        struct.pack("<I", 4) + b"{}",
        struct.pack("<I", 0xFFFFFFFF) + b"{}",
        struct.pack("<I", 2) + b"[]" + b"plan",
        struct.pack("<I", 4) + b"\xff\xfe\xfd\xfc" + b"plan",
        struct.pack("<I", 5) + b"{nope" + b"plan",
    ],
)
def test_a_valid_checksum_around_invalid_content_is_rejected(sealed, body):
    sealed.write_bytes(reseal(body))
    with pytest.raises(CorruptFileError, match="damaged"):
        read_checksummed(sealed)


def test_a_deeply_nested_description_is_rejected(sealed):
    told = ("[" * 100_000 + "]" * 100_000).encode()
    sealed.write_bytes(reseal(struct.pack("<I", len(told)) + told))
    with pytest.raises(CorruptFileError):
        read_checksummed(sealed)


def test_a_foreign_file_is_rejected(sealed):
    sealed.write_bytes(b"ftrt" + bytes(400))
    with pytest.raises(CorruptFileError, match="not a file of this program"):
        read_checksummed(sealed)


def test_a_folder_in_its_place_is_rejected(sealed):
    sealed.unlink()
    sealed.mkdir()
    with pytest.raises(CorruptFileError, match="cannot be read"):
        read_checksummed(sealed)


def test_a_failed_write_leaves_the_old_file_and_nothing_else(sealed):
    before = sealed.read_bytes()
    with pytest.raises(TypeError):
        write_checksummed(sealed, {"what": object()}, b"")
    with pytest.raises(TypeError):
        write_checksummed(sealed, {}, None)
    assert sealed.read_bytes() == before
    assert [path.name for path in sealed.parent.iterdir()] == [sealed.name]
    assert json.dumps(read_checksummed(sealed)[0])
