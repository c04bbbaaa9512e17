"""URLs, and the addresses that their names resolve to."""

from typing import Any

import pytest

from jobs.errors import AtelierError
from jobs.intake.outbound import Resolve, fetch

PUBLIC = "93.184.216.34"

OTHER_PUBLIC = "2606:2800:220:1:248:1893:25c8:1946"

REFUSED = {
    "code": "url_not_allowed",
    "message": "The URL could not be fetched: it must be a public https URL that responds in time.",
    "details": {},
}


def resolving(*addresses: str) -> Resolve:
    """Returns a resolver that gives every host these addresses."""
    return lambda host, port, **options: [(0, 0, 0, "", (address, port)) for address in addresses]


def never(*_: Any, **__: Any) -> Any:
    pytest.fail("must not be called")


def error_of(url: str, **options: Any) -> dict[str, Any]:
    with pytest.raises(AtelierError) as error:
        fetch(url, **{"max_bytes": 100_000, "timeout_s": 5.0, "connect": never, **options})
    assert error.value.status in (413, 422)
    return error.value.as_dict()
