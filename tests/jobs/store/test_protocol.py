import re
import struct
from collections.abc import Iterator

import pytest

from jobs.store.jobs import JobStore
from jobs.store.protocol import SCRIPTS, SOURCE

REDIS = {"redis", "cjson", "ARGV", "math", "string", "table"}
LUA = {"ipairs", "pairs", "next", "tonumber", "tostring", "unpack"}
GET_GLOBAL, SET_GLOBAL = 5, 7  # lopcodes.h of Lua 5.1


class Bytecode:
    """Reads what Lua 5.1's `string.dump` returns, as 64-bit machines write it (lundump.c)."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 12  # after the header

    def _take(self, form: str) -> int:
        [value] = struct.unpack_from(f"<{form}", self._data, self._at)
        self._at += struct.calcsize(f"<{form}")
        return int(value)

    def _text(self) -> str:
        size = self._take("q")
        self._at += size
        return self._data[self._at - size : self._at - 1].decode() if size else ""

    def _constant(self) -> str:
        kind = self._take("B")
        if kind == 4:
            return self._text()
        self._at += {0: 0, 1: 1, 3: 8}[kind]  # nil, a boolean, a number
        return ""

    def globals(self) -> Iterator[str]:
        """Each global variable that a function and those inside it read or write."""
        self._text()
        self._at += 4 + 4 + 4  # its lines; numbers of upvalues, parameters and registers
        code = [self._take("I") for _ in range(self._take("i"))]
        constants = [self._constant() for _ in range(self._take("i"))]
        yield from (constants[word >> 14] for word in code if word & 63 in (GET_GLOBAL, SET_GLOBAL))
        for _ in range(self._take("i")):
            yield from self.globals()
        for _ in range(self._take("i")):  # lines
            self._at += 4
        for _ in range(self._take("i")):  # names of local variables
            self._text()
            self._at += 8
        for _ in range(self._take("i")):  # names of upvalues
            self._text()


def compiled(store: JobStore, script: str) -> Bytecode:
    """The bytecode of a script by the server's own compiler."""
    hexadecimal = "function(c) return string.format('%02x', c:byte()) end"
    dump = f"return (string.dump(assert(loadstring(ARGV[1]))):gsub('.', {hexadecimal}))"
    return Bytecode(bytes.fromhex(str(store.client.eval(dump, 0, script))))


def test_a_script_that_needs_what_it_does_not_define_is_found(store: JobStore) -> None:
    script = "local function f(a) return a and missing(a.b) end\nlocal x = {1.5, true, nil}\nother = f(x)"
    assert sorted(compiled(store, script).globals()) == ["missing", "other"]


@pytest.mark.parametrize("command", SCRIPTS)
def test_each_command_needs_only_what_its_script_defines(store: JobStore, command: str) -> None:
    assert set(compiled(store, SCRIPTS[command]).globals()) <= REDIS | LUA
    used = set(re.findall(r"\b(?:commands|owners|queues)\.\w+", SCRIPTS[command]))
    assert used <= set(re.findall(r"^function ([\w.]+)", SCRIPTS[command], re.M))


def test_every_command_has_a_script_and_no_script_holds_all() -> None:
    assert sorted(SCRIPTS) == sorted(re.findall(r"^function commands\.(\w+)", SOURCE, re.M))
    assert max(map(len, SCRIPTS.values())) < len(SOURCE) / 3
    assert "function commands.renew(a)" in SCRIPTS["renew"]
    assert "function commands.claim(a)" not in SCRIPTS["renew"]


def test_a_script_that_redis_lost_is_loaded_again(store: JobStore) -> None:
    store.sweep()
    store.client.script_flush()
    assert store.depths()["fast"] == 0
    store.sweep()
