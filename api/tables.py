"""The tables of members that an API process has read, by the sha256 of their objects, up to a bound of bytes."""

from collections import OrderedDict
from threading import Lock

from jobs.errors import Conflict
from jobs.members import IMAGES, TABLE, MembersTable
from jobs.objects import Objects
from jobs.store.registry import Version

MAX_BYTES = 128 << 20  # of the arrays of all tables together; a larger table is cached alone


class Tables:
    """Reads tables of members; the least recently used are evicted first."""

    def __init__(self, objects: Objects, max_bytes: int = MAX_BYTES) -> None:
        self._objects = objects
        self._max_bytes = max_bytes
        self._tables: OrderedDict[str, MembersTable] = OrderedDict()
        self._lock = Lock()  # one is read at a time, so that memory is bounded

    def get(self, version: Version) -> MembersTable:
        """The table of a version; raises `Conflict` for one of an earlier release, `NotFound` and `Unavailable`."""
        sha = side_file(version, TABLE)
        with self._lock:
            if sha not in self._tables:
                self._tables[sha] = MembersTable.load(self._objects.get(sha))
            self._tables.move_to_end(sha)
            while len(self._tables) > 1 and sum(table.n_bytes for table in self._tables.values()) > self._max_bytes:
                self._tables.popitem(last=False)
            return self._tables[sha]

    def file(self, version: Version, row: int, kind: int) -> bytes:
        """The thumbnail or the image of a member that has one; raises as `get` and `Damaged`."""
        segment, start, end, checksum = self.get(version).place(row, kind)
        images = [each["sha256"] for each in version.side_files if each["name"] == IMAGES]
        return self._objects.get_part(images[segment], start, end, checksum)


def side_file(version: Version, name: str) -> str:
    """The sha256 of a side file; raises `Conflict` for a version of an earlier release."""
    shas = [each["sha256"] for each in version.side_files if each["name"] == name]
    if not shas:
        message = f"Version {version.number} was built by an earlier release, without files of its members; add images."
        raise Conflict("members_not_listed", message, version=version.number)
    return str(shas[0])
