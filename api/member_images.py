"""Images of members: where requests name one, and where it is downloaded."""

from typing import Any

from api.service import Service
from jobs.errors import NotFound
from jobs.members import IMAGE, THUMBNAIL, MembersTable
from jobs.requests.facts import version_of
from jobs.store.registry import Version


def open_members(service: Service, collection_id: str, number: int | None) -> tuple[Version, MembersTable]:
    """A version of a collection, or its newest, and its table; raises `NotFound`, `BadInput` and `Conflict`."""
    version = version_of(service.jobs.collections.get(collection_id), number)
    return version, service.tables.get(version)


def check_member(table: MembersTable, collection_id: str, version: int, row: int, file: int) -> None:
    """Raises `NotFound` for an id that no member has, and for a member without an image."""
    details: dict[str, Any] = {"collection": collection_id, "version": version, "member": row}
    if row >= len(table):
        message = f"Version {version} of the collection has no member {row}; it has members 0 to {len(table) - 1}."
        raise NotFound("member_not_found", message, **details)
    if not table.has_file(row, file):
        raise NotFound("member_without_image", f"Member {row} has no image: only its vector is known.", **details)


def stored_upload(service: Service, name: str) -> str | None:
    """The `img_…` id that a member is named by, if that upload is still stored."""
    if not name.startswith("img_"):
        return None
    try:
        service.jobs.images.get(name.removeprefix("img_"))
    except NotFound:
        return None
    return name


def member_image(service: Service, version: Version, table: MembersTable, row: int) -> bytes:
    """The file of the square that was encoded, or the thumbnail of a member that an earlier release encoded."""
    return service.tables.file(version, row, IMAGE if table.has_file(row, IMAGE) else THUMBNAIL)


def referenced(service: Service, reference: str) -> str | bytes:
    """The member that `col_…/17` names: the id of its upload while it is stored, else its file.

    Raises `NotFound`, and `Conflict` for a collection without a version.
    """
    collection_id, _, member = reference.partition("/")
    version, table = open_members(service, collection_id, None)
    row = int(member)
    check_member(table, collection_id, version.number, row, THUMBNAIL)
    return stored_upload(service, table.name(row)) or member_image(service, version, table, row)
