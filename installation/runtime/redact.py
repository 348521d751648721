"""Showing URLs without their secrets: network cameras take a password in any part of a URL."""

from __future__ import annotations

import hmac
import re
import secrets
from functools import cache
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from pathlib import Path

_MACHINE_ID = Path("/etc/machine-id")
# Keeps this use of the machine's id apart from all others, as machine-id(5) asks for.
_PURPOSE = b"installation: tags of URLs"
_TAG_DIGITS = 3
_MOST_PORT = 65535

# None is longer; without a bound, searching a long word for one would take time by its square.
_SCHEME = r"[A-Za-z][A-Za-z0-9+.-]{0,31}"
_URL = re.compile(rf"({_SCHEME})://([^/?#]*)(.*)", re.DOTALL)
_BROKEN_URL = re.compile(rf"({_SCHEME}):/")
# No URL contains these as they are: it ends before them, or is written in another notation.
_FOREIGN = re.compile(r"[\s\x00-\x1f\x7f\"<>\\^`{|}\ud800-\udfff]")
_HOST_NAME = re.compile(r"(?=.*[A-Za-z])[A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?")
# PORT as the messages of this program write it.
_PORT = re.compile(r"[0-9]{1,5}|PORT")
_HIDDEN = "..."
_UNREADABLE = "unreadable URL"
_TAGGED = re.compile(rf"/{re.escape(_HIDDEN)}#[0-9a-f]{{{_TAG_DIGITS}}}")
_PLAIN_FILE = re.compile(r"/[^?#@&=\x00-\x1f]*")

# Known to be URLs even where a slash is missing, which `pathlib` leaves out.
_NETWORK = r"(?:rtsp|rtmp|http|mms|s?ftp|s?rtp|srt|udp|tcp|tls|rist|wss?|onvif)[a-z]{0,2}"
_IN_TEXT = re.compile(rf"{_SCHEME}://|(?<![A-Za-z0-9]){_NETWORK}:/", re.IGNORECASE)
# A raw space may stand in a password, so a URL goes on to the last @ of its line.
_TO_ITS_END = re.compile(r"(?:[^\n]*@)?\S*")
_SENTENCE_ENDS = ",;:.!?)]}>'\"…"
_SCHEME_MISSING = re.compile(
    rf"""(?!\.{{0,2}}/[^/])\s*(?:
        # rtsp:/camera, rtsp//camera
        {_NETWORK}(?::|//)
        # user:password@camera
        | (?:[^\s/:@]+:|//)[^/]*@
        # camera:554/live, 192.0.2.7/live, but no network such as 192.0.2.0/24
        | (?:[\w.-]+:\d+|\d+(?:\.\d+){{3}})/(?!\d{{1,3}}$).
        # camera/user=me&password=x
        | .*(?:pass|pwd|pw|secret|token|auth|key)(?:word|wd|phrase)?=
    )""",
    re.IGNORECASE | re.VERBOSE,
)


def redact_url(url: str) -> str:
    """Return a URL as it may be shown: scheme, host, port, and a tag that stands for the rest.

    The tag tells two cameras of one host apart. It is the same in every process on this machine
    and depends on path, query and fragment only, not on user and password. As these may hold a
    password all the same, it is an HMAC whose key is made from the machine's id: without that,
    passwords cannot be tried against a tag that was seen in a log. It has 12 bits only: whoever
    knows the id and tries a list of passwords finds one in 4,096 of the wrong ones to fit as well.

    Where user and password end is uncertain if they contain an unescaped ``/``, ``?`` or ``#``;
    wherever host and port could be a part of them, the scheme alone is shown.

    Parameters
    ----------
    url
        What somebody wrote as a URL, well-formed or not.

    Returns
    -------
    str
        The URL itself where it has nothing to hide. Redacting it again changes nothing.

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
        return f"{broken[1].lower()}://{_HIDDEN}" if broken else _UNREADABLE
    scheme, authority, rest = parts[1].lower(), parts[2], parts[3]
    if not authority and not rest:
        return f"{scheme}://"
    if scheme == "file" and not authority and _PLAIN_FILE.fullmatch(rest):
        return url
    _, at, place = authority.rpartition("@")
    if _FOREIGN.search(url) or not _is_certain(place, bool(at), rest):
        return f"{scheme}://{_HIDDEN}"
    shown = f"{scheme}://{place}"
    if rest in ("", "/") or (_TAGGED.fullmatch(rest) and not at):
        return shown + rest
    return f"{shown}/{_HIDDEN}#{_tag(shown + rest)}"


def redact_text(text: str) -> str:
    """Return a text with every URL in it redacted; see `redact_url`."""
    pieces: list[str] = []
    done = 0
    while found := _IN_TEXT.search(text, done):
        end = _end(text, found.start(), found.end())
        pieces += text[done : found.start()], redact_url(text[found.start() : end])
        done = end
    return "".join((*pieces, text[done:]))


def is_address(text: str) -> bool:
    """Tell whether a text is, or was probably meant to be, a URL, and so may hold a password."""
    return "://" in text or lacks_scheme(text)


def lacks_scheme(text: str) -> bool:
    """Tell whether a text is no URL, but was probably meant to be one."""
    return "://" not in text and _SCHEME_MISSING.match(text) is not None


def _is_certain(place: str, follows_user: bool, rest: str) -> bool:
    """Tell whether ``place`` is host and port, whatever ``rest`` may be."""
    if place.startswith("["):
        host, _, port = place[1:].partition("]")
        if port and not port.startswith(":"):
            return False
        has_port, port = bool(port), port[1:]
        is_address = _is_address(host, IPv6Address)
        is_host = is_address
    else:
        host, colon, port = place.partition(":")
        has_port = bool(colon)
        is_address = _is_address(host, IPv4Address)
        is_host = is_address or bool(_HOST_NAME.fullmatch(host)) or (not host and has_port)
    if not is_host or (has_port and not _is_port(port)):
        return False
    if "@" not in rest or is_address:
        return True
    # Of "a:1/b@c", all before the @ may be user and password.
    return not (follows_user or has_port or rest[0] != "/" or ":" in rest.rpartition("@")[0])


def _is_address(host: str, kind: type[IPv4Address | IPv6Address]) -> bool:
    try:
        kind(host)
    except AddressValueError:
        return False
    return True


def _is_port(port: str) -> bool:
    return bool(_PORT.fullmatch(port)) and (port == "PORT" or int(port) <= _MOST_PORT)


def _end(text: str, start: int, after_scheme: int) -> int:
    """Return where a URL in a text ends: at its closing quote, or after its last word."""
    quote = text[start - 1 : start]
    if quote in ("'", '"'):
        # One inside a word is an apostrophe.
        closing = re.compile(rf"(?:\\.|[^\\{quote}]|{quote}(?=\w))*").match(text, after_scheme)
        if closing is not None and text[closing.end() : closing.end() + 1] == quote:
            return closing.end()
    word = _without_sentence_end(text, after_scheme, re.compile(r"\S*"))
    if text[after_scheme:word].endswith(_HIDDEN) or _TAGGED.search(text[after_scheme:word]):
        return word
    return _without_sentence_end(text, after_scheme, _TO_ITS_END)


def _without_sentence_end(text: str, start: int, pattern: re.Pattern[str]) -> int:
    found = pattern.match(text, start)
    assert found is not None  # Both match nothing at all, too.
    return start + len(found[0].rstrip(_SENTENCE_ENDS))


def _tag(text: str) -> str:
    digest = hmac.new(_key(), text.encode("utf-8", "surrogatepass"), "sha256")
    return digest.hexdigest()[:_TAG_DIGITS]


@cache
def _key() -> bytes:
    try:
        machine = _MACHINE_ID.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        machine = ""
    # Without an id, as in some containers, tags last as long as the process.
    known = machine.encode() if re.fullmatch(r"[0-9a-f]{32}", machine) else secrets.token_bytes(16)
    return hmac.new(known, _PURPOSE, "sha256").digest()
