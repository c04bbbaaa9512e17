import pytest

from jobs.sentinel import parse_address


def test_an_address_names_sentinels_their_primary_and_both_logins() -> None:
    address = parse_address("sentinel://me:a%40b@s1:26380,s2,[::1]:1/main?db=3&sentinel_password=c%26d")
    assert address.hosts == [("s1", 26380), ("s2", 26379), ("::1", 1)]
    assert address.name == "main"
    assert address.redis == {"db": 3, "username": "me", "password": "a@b"}
    assert address.sentinel == {"password": "c&d"}


def test_logins_and_database_may_be_absent() -> None:
    address = parse_address("sentinel://s1:1/main")
    assert (address.redis, address.sentinel) == ({"db": 0, "username": None, "password": None}, {})


@pytest.mark.parametrize("rest", ["s1:1", "/main", "s1:x/main", "s1,/main", "s1/main?x=1", "s1/main?db=x"])
def test_other_urls_are_refused(rest: str) -> None:
    with pytest.raises(ValueError):
        parse_address(f"sentinel://{rest}")
