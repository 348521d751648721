"""Who counts as one client: an IPv4 address or an IPv6 network, whatever a socket calls it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)

# The part of an IPv6 address that identifies a household or a phone, ...
_CLIENT_PREFIX_BITS = 64
# ... and the part that identifies a site, whose owner can use each of its 65,536 networks.
_NETWORK_PREFIX_BITS = 48
# IPv4 addresses as an IPv6 socket sees them, ::ffff:0:0/96.
_MAPPED_PREFIX_BITS = 96
_MAPPED = int(IPv6Address("::ffff:0:0"))


def unmapped(address: str) -> str:
    """Return the IPv4 address in an IPv4-mapped IPv6 address; any other text as it is.

    Examples
    --------
    >>> unmapped("::ffff:192.0.2.7"), unmapped("2001:db8::7"), unmapped("")
    ('192.0.2.7', '2001:db8::7', '')
    """
    try:
        return str(getattr(ip_address(address), "ipv4_mapped", None) or address)
    except ValueError:
        return address


def client_key(address: str | None) -> str:
    """Return what identifies a client: its IPv4 address, or its IPv6 /64; "" if unknown.

    Examples
    --------
    >>> client_key("192.0.2.7"), client_key("2001:db8::7"), client_key("::ffff:192.0.2.7")
    ('192.0.2.7', '2001:db8::/64', '192.0.2.7')
    """
    try:
        parsed = ip_address(unmapped(address or ""))
    except ValueError:
        return ""
    return str(parsed) if parsed.version == 4 else _prefix(parsed, _CLIENT_PREFIX_BITS)


def network_key(client: str) -> str:
    """Return what identifies the network of a client, given its key: an IPv6 /48, else the key.

    Examples
    --------
    >>> network_key("192.0.2.7"), network_key("2001:db8:1:2::/64")
    ('192.0.2.7', '2001:db8:1::/48')
    """
    address, _, prefix = client.partition("/")
    return _prefix(ip_address(address), _NETWORK_PREFIX_BITS) if prefix else client


def both_forms(networks: Iterable[str]) -> Iterator[IPv4Network | IPv6Network]:
    """Yield each network; one of IPv4, in either form, both as IPv4 and IPv4-mapped.

    Examples
    --------
    >>> forms = [ip_network("10.0.0.0/8"), ip_network("::ffff:10.0.0.0/104")]
    >>> list(both_forms(["10.0.0.0/8"])) == list(both_forms(["::ffff:10.0.0.0/104"])) == forms
    True
    >>> [str(each) for each in both_forms(["::1"])]
    ['::1/128']
    """
    for network in map(ip_network, networks):
        if network.version == 4:
            yield network
            yield IPv6Network(
                (_MAPPED + int(network.network_address), _MAPPED_PREFIX_BITS + network.prefixlen)
            )
        elif network.network_address.ipv4_mapped and network.prefixlen >= _MAPPED_PREFIX_BITS:
            bits = network.prefixlen - _MAPPED_PREFIX_BITS
            yield IPv4Network((int(network.network_address.ipv4_mapped), bits))
            yield network
        else:
            yield network


def _prefix(address: IPv4Address | IPv6Address, bits: int) -> str:
    return str(IPv6Network((int(address), bits), strict=False))
