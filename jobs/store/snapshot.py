"""Reads every record of Redis as of one moment, and writes them to an empty Redis.

A row is `[key, type, ttl_ms, value]`: the key without its prefix, Redis's name of the type, the rest of its life (-1:
unlimited) and the value as the reading command returns it, such as a flat list of members and scores. Each type is
written by its own command, and not by RESTORE, so that a snapshot fits every version of Redis and Valkey.
"""

import math
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, cast

import redis

from jobs.store.protocol import PREFIX

Row = tuple[str, str, int, Any]

# Commands that change something wait while records are read, and a client waits 10 s for an answer (client.py).
PAUSE_S = 8.0
# While it exists, clean-up deletes no object (`condemn` in lua/objects.lua).
BACKUP = f"{PREFIX}backup"
BACKUP_S = 600
RESTORING = f"{PREFIX}restoring"  # exists from the first step of a restore to its last
STEP = 500  # keys by one round trip
PART = 5000  # members by one command
ENDS = ("deliveries-done", "done", "objects")  # zsets whose scores are ends of life, as those of each refs:<sha> are

READ = """
local read = {
  string = function(key) return redis.call('GET', key) end,
  hash = function(key) return redis.call('HGETALL', key) end,
  list = function(key) return redis.call('LRANGE', key, 0, -1) end,
  set = function(key) return redis.call('SMEMBERS', key) end,
  zset = function(key) return redis.call('ZRANGE', key, 0, -1, 'WITHSCORES') end,
  stream = function(key) return redis.call('XRANGE', key, '-', '+') end,
}
local rows = {}
for i, key in ipairs(KEYS) do
  local type = redis.call('TYPE', key).ok
  rows[i] = {key, type, redis.call('PTTL', key), read[type](key)}
end
return rows
"""
ADD = {"hash": "HSET", "list": "RPUSH", "set": "SADD", "zset": "ZADD"}


class SlowError(Exception):
    """Redis holds more records than can be read while writes wait."""


def suspend_clean_up(client: redis.Redis) -> None:
    """Keeps clean-up from deleting objects for `BACKUP_S` seconds from now."""
    client.set(BACKUP, 1, ex=BACKUP_S)


def read_all(client: redis.Redis) -> tuple[int, list[Row]]:
    """Returns the time (Unix ms) and all records at that time; writes wait meanwhile. Raises `SlowError`."""
    started = time.monotonic()
    client.client_pause(int(PAUSE_S * 1000), all=False)  # keys do not expire either
    try:
        now = _now(client)
        keys = [key for key in _keys(client) if key != BACKUP]
        rows = [row for part in _parts(keys, STEP) for row in cast(list[Any], client.eval_ro(READ, len(part), *part))]
        took_s = time.monotonic() - started
    finally:
        client.client_unpause()
    if took_s >= PAUSE_S:
        raise SlowError(f"Redis holds more records than can be read in {PAUSE_S:g} s.")
    return now, [(key.removeprefix(PREFIX), *rest) for key, *rest in rows]


def named_objects(rows: Iterable[Row], taken_at: int) -> dict[str, bool]:
    """The sha256 of each object that something refers to, and whether a record names it, so that it must be stored.

    The others are only held: they may be in transfer.
    """
    named = {}
    for key, _, _, value in rows:
        if key.startswith("refs:"):
            holders = dict(zip(value[::2], map(float, value[1::2]), strict=True))
            uploaded = any(end > taken_at for who, end in holders.items() if who.endswith(("image", "archive")))
            named[key.removeprefix("refs:")] = uploaded or math.inf in holders.values()
    return named


def begin_restore(client: redis.Redis) -> bool:
    """Marks that a restore has begun, and removes what an interrupted one left; False if Redis holds other records."""
    left = [key for key in _keys(client) if key != RESTORING]
    if left and not client.exists(RESTORING):
        return False
    client.set(RESTORING, 1)
    for part in _parts(left, STEP):
        client.unlink(*part)
    return True


def write_all(client: redis.Redis, taken_at: int, rows: Sequence[Row]) -> None:
    """Writes all records, and ends the restore.

    What lives for a limited time lives as long as it had left at `taken_at`.
    """
    age = _now(client) - taken_at
    for part in _parts(rows, STEP):
        pipe: Any = client.pipeline(transaction=False)
        for key, sort, ttl, value in part:
            if key in ENDS or key.startswith("refs:"):
                value = [each if i % 2 == 0 else float(each) + age for i, each in enumerate(value)]
            pipe.unlink(f"{PREFIX}{key}")
            for command in _writes(f"{PREFIX}{key}", sort, value):
                pipe.execute_command(*command)
            if ttl >= 0:
                pipe.pexpire(f"{PREFIX}{key}", ttl)
        pipe.execute()
    client.unlink(RESTORING)


def _writes(key: str, sort: str, value: Any) -> Iterator[Sequence[Any]]:
    """The commands that write the value of a key."""
    if sort == "string":
        yield "SET", key, value
    elif sort == "stream":
        yield from (("XADD", key, entry_id, *fields) for entry_id, fields in value)
    else:
        members = value[::-1] if sort == "zset" else value  # ZADD takes each score before its member
        yield from ((ADD[sort], key, *part) for part in _parts(members, 2 * PART))


def _now(client: redis.Redis) -> int:
    seconds, micros = cast(tuple[int, int], client.time())
    return seconds * 1000 + micros // 1000


def _keys(client: redis.Redis) -> list[str]:
    return sorted(set(client.scan_iter(f"{PREFIX}*", count=1000)))


def _parts(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    return (items[start : start + size] for start in range(0, len(items), size))
