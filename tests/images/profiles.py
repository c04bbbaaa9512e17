"""ICC profiles made by hand, of which what they do can be worked out on paper."""

import struct

_D50 = (0.9642, 1.0, 0.8249)


def _s15(*values: float) -> bytes:
    return b"".join(struct.pack(">i", round(value * 65536)) for value in values)


def _xyz(values: tuple[float, ...]) -> bytes:
    return b"XYZ \0\0\0\0" + _s15(*values)


def _gamma(gamma: float) -> bytes:
    return b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256)) + b"\0\0"


def _profile(kind: bytes, space: bytes, connection: bytes, tags: dict[bytes, bytes]) -> bytes:
    text = b"desc\0\0\0\0" + struct.pack(">I", 2) + b"x\0" + bytes(8 + 3 + 67)
    tags = {b"desc": text, b"cprt": b"text\0\0\0\0x\0\0\0", b"wtpt": _xyz(_D50), **tags}
    table, body = b"", b""
    for name, value in tags.items():
        padded = value + bytes(-len(value) % 4)
        table += name + struct.pack(">II", 132 + 12 * len(tags) + len(body), len(value))
        body += padded
    size = 132 + len(table) + len(body)
    date = struct.pack(">6H", 2026, 1, 1, 0, 0, 0)
    head = struct.pack(">I4sI4s4s4s", size, b"none", 0x02400000, kind, space, connection) + date + b"acsp"
    return head + bytes(28) + _s15(*_D50) + bytes(48) + struct.pack(">I", len(tags)) + table + body


def rgb(red: tuple[float, ...], green: tuple[float, ...], blue: tuple[float, ...], gamma: float = 2.2) -> bytes:
    """A display of these primaries, as XYZ adapted to D50, and one gamma."""
    primaries = {b"rXYZ": _xyz(red), b"gXYZ": _xyz(green), b"bXYZ": _xyz(blue)}
    return _profile(
        b"mntr", b"RGB ", b"XYZ ", primaries | {name: _gamma(gamma) for name in (b"rTRC", b"gTRC", b"bTRC")}
    )


DISPLAY_P3 = rgb((0.51512, 0.24120, -0.00105), (0.29198, 0.69225, 0.04189), (0.15710, 0.06657, 0.78407))
LINEAR_GRAY = _profile(b"mntr", b"GRAY", b"XYZ ", {b"kTRC": _gamma(1.0)})


def press() -> bytes:
    """A printing press whose paper is white, and whose inks print (L, a, b) = (50, 0, 0), (60, 0, 0) and so on.

    The table has its two grid points for each ink: 100 - 50 c - 40 m - 30 y - 100 k, cut at 0, is the lightness.
    """
    grid = [(c, m, y, k) for c in (0, 1) for m in (0, 1) for y in (0, 1) for k in (0, 1)]
    light = [max(0, 100 - 50 * c - 40 * m - 30 * y - 100 * k) for c, m, y, k in grid]
    nodes = b"".join(bytes((round(lightness * 2.55), 128, 128)) for lightness in light)
    ramp = bytes(range(256))
    table = b"mft1\0\0\0\0" + bytes((4, 3, 2, 0)) + _s15(1, 0, 0, 0, 1, 0, 0, 0, 1) + ramp * 4 + nodes + ramp * 3
    return _profile(b"prtr", b"CMYK", b"Lab ", {b"A2B0": table})
