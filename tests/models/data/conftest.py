from pathlib import Path

import pytest

from tests.models.data.packed import Pack, zipped


@pytest.fixture(params=["folder", "zip"])
def pack(request: pytest.FixtureRequest, tmp_path: Path) -> Pack:
    """Writes files by name, as a folder or as a zip file, and gives its path."""

    def as_folder(files: dict[str, bytes]) -> Path:
        for name, data in files.items():
            path = tmp_path / "set" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        return tmp_path / "set"

    return as_folder if request.param == "folder" else lambda files: zipped(tmp_path, files)
