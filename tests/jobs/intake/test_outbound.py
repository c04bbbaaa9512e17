"""URLs given by users reach public addresses only: what is refused before any connection."""

import time

import pytest

from jobs.intake.outbound import is_public
from tests.jobs.intake.outbound import OTHER_PUBLIC, PUBLIC, REFUSED, error_of, never, resolving

# URLs that are refused before any connection

NOT_PUBLIC = """
    127.0.0.1 127.8.9.10 0.0.0.0 0.1.2.3 10.0.0.1 10.255.255.255 172.16.0.1 172.31.255.255 192.168.1.1 169.254.0.1
    169.254.169.254 100.64.0.1 100.100.100.200 192.0.0.1 192.0.0.192 192.0.2.1 198.51.100.7 203.0.113.9 198.18.0.1
    192.88.99.1 224.0.0.1 239.255.255.250 240.0.0.1 255.255.255.255
    :: ::1 fc00::1 fd00:ec2::254 fe80::1 fec0::1 ff02::1 2001:db8::1 3fff::1 100::1 ::127.0.0.1
    ::ffff:127.0.0.1 ::ffff:10.0.0.1 ::ffff:169.254.169.254 ::ffff:93.184.216.34
    64:ff9b::7f00:1 64:ff9b::5db8:d822 64:ff9b:1::1 2002:7f00:1:: 2002:5db8:d822:: 2001:0:5db8:d822::1 fe80::1%1
"""


@pytest.mark.parametrize("address", NOT_PUBLIC.split())
def test_addresses_refused(address: str) -> None:
    assert not is_public(address)
    print(f"S2: {address} refused, and names that resolve to it")
    assert error_of("https://images.example/", resolve=resolving(address)) == REFUSED
    assert error_of("https://images.example/", resolve=resolving(PUBLIC, address)) == REFUSED
    assert error_of("https://images.example/", resolve=resolving(address, PUBLIC)) == REFUSED


@pytest.mark.parametrize("address", [PUBLIC, OTHER_PUBLIC, "8.8.8.8", "172.32.0.1", "100.128.0.1", "2a00:1450:4001::1"])
def test_addresses_allowed(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "2130706433",
        "0177.0.0.1",
        "017700000001",
        "0x7f.0.0.1",
        "0x7f000001",
        "127.1",
        "0",
        "127.0.1",
        "0xa9fea9fe",
        "2852039166",
        "169.254.43518",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[fe80::1]",
        "[64:ff9b::7f00:1]",
        "[::]",
        "0.0.0.0",
        "localhost",
        "10.0.0.1",
    ],
)
def test_hosts_refused_by_the_real_resolver(host: str) -> None:
    """The system's resolver understands every notation of an address, without a network."""
    assert error_of(f"https://{host}/") == REFUSED
    print(f"S2: {host} refused")


@pytest.mark.parametrize(
    "url",
    [
        "http://images.example/",
        "ftp://images.example/",
        "file:///etc/passwd",
        "gopher://images.example/",
        "//x",
        "",
        "x",
        "https://",
        "https:///path",
        "https://user@images.example/",
        "https://user:pw@images.example/",
        "https://images.example@127.0.0.1/",
        "https://@images.example/",
        "https://images.example:25/",
        "https://images.example:0/",
        "https://images.example:22/",
        "https://images.example:80/",
        "https://images.example:99999/",
        "https://images.example:-1/",
        "https://images.example:x/",
        "https://[::1/",
        "https://images.example\\@127.0.0.1/",
        "https://images.example/ x",
        "https://images.example/\r\nX: y",
        "https://images.example/\t",
        " https://images.example/",
        "https://ｉmages.example/",
        "https://images.example/é",
        "https://images.example/" + "x" * 2048,
        "HTTPS:images.example",
        "https://images.example\x00.evil/",
    ],
)
def test_urls_refused(url: str) -> None:
    assert error_of(url, resolve=never) == REFUSED


def test_a_slow_name_service_is_cut_off() -> None:
    started = time.monotonic()
    assert error_of("https://images.example/", resolve=lambda *_, **__: time.sleep(1), timeout_s=0.2) == REFUSED
    assert time.monotonic() - started < 0.6
