"""Which addresses only the machine itself can reach. In: a host as text. Out: whether it is one of them."""

from ipaddress import IPv6Address, ip_address


def is_loopback(host: str) -> bool:
    """`localhost`, 127.0.0.0/8, ::1, and the former mapped into IPv6 (::ffff:127.0.0.1). Other names are not looked
    up."""
    if host == "localhost":
        return True
    try:
        address = ip_address(host)
    except ValueError:
        return False
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped.is_loopback
    return address.is_loopback
