"""Redact URLs: those of network cameras may contain a password in any part."""

from __future__ import annotations

import hmac
import re
import secrets
from functools import cache
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from pathlib import Path

_MACHINE_ID = Path("/etc/machine-id")
# Separates this use of the machine id from all others, as machine-id(5) requires.
_PURPOSE = b"installation: tags of URLs"
_TAG_DIGITS = 3
_MAX_PORT = 65535

# No scheme is longer. Without a bound, searching a long word would take quadratic time.
_SCHEME = r"[A-Za-z][A-Za-z0-9+.-]{0,31}"
_URL = re.compile(rf"({_SCHEME})://([^/?#]*)(.*)", re.DOTALL)
_BROKEN_URL = re.compile(rf"({_SCHEME}):/")
# Characters that a URL does not contain: it ends before them, or is not a plain URL.
_INVALID = re.compile(r"[\s\x00-\x1f\x7f\"<>\\^`{|}\ud800-\udfff]")
_HOST_NAME = re.compile(r"(?=.*[A-Za-z])[A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?")
# PORT is written in messages of this program.
_PORT = re.compile(r"[0-9]{1,5}|PORT")
_PLACEHOLDER = "..."
_UNREADABLE = "unreadable URL"
_TAGGED = re.compile(rf"/{re.escape(_PLACEHOLDER)}#[0-9a-f]{{{_TAG_DIGITS}}}")
_PLAIN_FILE = re.compile(r"/[^?#@&=\x00-\x1f]*")

# Recognised as URLs even if a slash is missing, which `pathlib` removes.
_NETWORK = r"(?:rtsp|rtmp|http|mms|s?ftp|s?rtp|srt|udp|tcp|tls|rist|wss?|onvif)[a-z]{0,2}"
_IN_TEXT = re.compile(rf"{_SCHEME}://|(?<![A-Za-z0-9]){_NETWORK}:/", re.IGNORECASE)
# A password may contain a space, so a URL extends to the last @ of its line.
_REST_OF_URL = re.compile(r"(?:[^\n]*@)?\S*")
_TRAILING_PUNCTUATION = ",;:.!?)]}>'\"…"
_SCHEME_MISSING = re.compile(
    rf"""(?!\.{{0,2}}/[^/])\s*(?:
        # rtsp:/camera, rtsp//camera
        {_NETWORK}(?::|//)
        # user:password@camera
        | (?:[^\s/:@]+:|//)[^/]*@
        # camera:554/live, 192.0.2.7/live, but not a network such as 192.0.2.0/24
        | (?:[\w.-]+:\d+|\d+(?:\.\d+){{3}})/(?!\d{{1,3}}$).
        # camera/user=me&password=x
        | .*(?:pass|pwd|pw|secret|token|auth|key)(?:word|wd|phrase)?=
    )""",
    re.IGNORECASE | re.VERBOSE,
)


def redact_url(url: str) -> str:
    """Return a URL as scheme, host, port, and a tag that replaces the rest.

    The tag distinguishes the cameras of one host. It is the same in all processes on this machine,
    and depends on path, query and fragment only, not on user and password. As path and query may
    contain a password too, the tag is an HMAC with a key derived from the machine id: without the
    id, passwords cannot be tried against a tag from a log. It has only 12 bits, so that even with
    the id, one in 4,096 wrong passwords matches.

    If user or password contain an unescaped ``/``, ``?`` or ``#``, it is uncertain where they end.
    If host and port could be part of them, only the scheme is shown.

    Parameters
    ----------
    url
        A text meant as a URL, well-formed or not.

    Returns
    -------
    str
        The redacted URL; unchanged if it has nothing to hide. Redacting it again changes nothing.

    Examples
    --------
    >>> redact_url("rtsp://admin:secret@192.0.2.7:554/")
    'rtsp://192.0.2.7:554/'
    >>> redact_url("rtsp://admin:s/e@cret@camera/1")
    'rtsp://...'
    """
    url = url.strip()
    parts = _URL.fullmatch(url)
    if parts is None:
        broken = _BROKEN_URL.match(url)
        return f"{broken[1].lower()}://{_PLACEHOLDER}" if broken else _UNREADABLE
    scheme, authority, rest = parts[1].lower(), parts[2], parts[3]
    if not authority and not rest:
        return f"{scheme}://"
    if scheme == "file" and not authority and _PLAIN_FILE.fullmatch(rest):
        return url
    _, at, host_port = authority.rpartition("@")
    if _INVALID.search(url) or not _is_host_port(host_port, bool(at), rest):
        return f"{scheme}://{_PLACEHOLDER}"
    shown = f"{scheme}://{host_port}"
    if rest in ("", "/") or (_TAGGED.fullmatch(rest) and not at):
        return shown + rest
    return f"{shown}/{_PLACEHOLDER}#{_tag(shown + rest)}"


def redact_text(text: str) -> str:
    """Return a text with every URL in it redacted; see `redact_url`."""
    pieces: list[str] = []
    done = 0
    while found := _IN_TEXT.search(text, done):
        end = _end_of_url(text, found.start(), found.end())
        pieces += text[done : found.start()], redact_url(text[found.start() : end])
        done = end
    return "".join((*pieces, text[done:]))


def is_address(text: str) -> bool:
    """Return whether a text is, or was probably meant as, a URL, and so may contain a password."""
    return "://" in text or lacks_scheme(text)


def lacks_scheme(text: str) -> bool:
    """Return whether a text is not a URL, but was probably meant as one."""
    return "://" not in text and _SCHEME_MISSING.match(text) is not None


def _is_host_port(host_port: str, follows_user: bool, rest: str) -> bool:
    """Return whether ``host_port`` certainly is host and port, given the rest of the URL."""
    if host_port.startswith("["):
        host, _, port = host_port[1:].partition("]")
        if port and not port.startswith(":"):
            return False
        has_port, port = bool(port), port[1:]
        is_address = _is_address(host, IPv6Address)
        is_host = is_address
    else:
        host, colon, port = host_port.partition(":")
        has_port = bool(colon)
        is_address = _is_address(host, IPv4Address)
        is_host = is_address or bool(_HOST_NAME.fullmatch(host)) or (not host and has_port)
    if not is_host or (has_port and not _is_port(port)):
        return False
    if "@" not in rest or is_address:
        return True
    # In "a:1/b@c", everything before the @ may be user and password.
    return not (follows_user or has_port or rest[0] != "/" or ":" in rest.rpartition("@")[0])


def _is_address(host: str, kind: type[IPv4Address | IPv6Address]) -> bool:
    try:
        kind(host)
    except AddressValueError:
        return False
    return True


def _is_port(port: str) -> bool:
    return bool(_PORT.fullmatch(port)) and (port == "PORT" or int(port) <= _MAX_PORT)


def _end_of_url(text: str, start: int, after_scheme: int) -> int:
    """Return where a URL in a text ends: at its closing quote, or after its last word."""
    quote = text[start - 1 : start]
    if quote in ("'", '"'):
        # A quote inside a word is an apostrophe.
        closing = re.compile(rf"(?:\\.|[^\\{quote}]|{quote}(?=\w))*").match(text, after_scheme)
        if closing is not None and text[closing.end() : closing.end() + 1] == quote:
            return closing.end()
    word = _end_of_match(text, after_scheme, re.compile(r"\S*"))
    if text[after_scheme:word].endswith(_PLACEHOLDER) or _TAGGED.search(text[after_scheme:word]):
        return word
    return _end_of_match(text, after_scheme, _REST_OF_URL)


def _end_of_match(text: str, start: int, pattern: re.Pattern[str]) -> int:
    found = pattern.match(text, start)
    assert found is not None  # Both patterns match the empty text.
    return start + len(found[0].rstrip(_TRAILING_PUNCTUATION))


def _tag(text: str) -> str:
    digest = hmac.new(_key(), text.encode("utf-8", "surrogatepass"), "sha256")
    return digest.hexdigest()[:_TAG_DIGITS]


@cache
def _key() -> bytes:
    try:
        machine = _MACHINE_ID.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        machine = ""
    # Without an id, as in some containers, tags are valid for this process only.
    secret = machine.encode() if re.fullmatch(r"[0-9a-f]{32}", machine) else secrets.token_bytes(16)
    return hmac.new(secret, _PURPOSE, "sha256").digest()
