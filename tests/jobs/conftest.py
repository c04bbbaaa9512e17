import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from jobs.store.client import connect
from jobs.store.jobs import JobStore
from tests.stack import Stack


@pytest.fixture
def store(valkey: Stack) -> JobStore:
    """Job store on an empty Valkey."""
    valkey.redis.flushdb()
    return valkey.jobs


def with_settings(store: JobStore, **changed: Any) -> JobStore:
    """Returns the same store with other settings, which may be shorter than the allowed ones."""
    return JobStore(store.client, store.settings.model_copy(update=changed))


class Wire:
    """A TCP connection to Valkey that can lose a response: the command runs, then the connection is cut."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self.lost = 0
        self._lose = False
        threading.Thread(target=self._accept, daemon=True).start()

    def lose_next_answer(self) -> None:
        """Cuts the connection instead of sending the next response."""
        self._lose = True

    def close(self) -> None:
        """Accepts no more connections."""
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            far = socket.create_connection(("127.0.0.1", self._target))
            threading.Thread(target=self._carry, args=(near, far, False), daemon=True).start()
            threading.Thread(target=self._carry, args=(far, near, True), daemon=True).start()

    def _carry(self, source: socket.socket, sink: socket.socket, answers: bool) -> None:
        try:
            while data := source.recv(65536):
                if answers and self._lose:
                    self._lose = False
                    self.lost += 1
                    break
                sink.sendall(data)
        except OSError:
            pass  # the other direction was cut first
        for end in (source, sink):
            shut(end)


def shut(end: socket.socket) -> None:
    """Closes both directions of a socket, which wakes a thread that reads it."""
    try:
        end.shutdown(socket.SHUT_RDWR)
    except OSError:
        return


@pytest.fixture
def wire(valkey: Stack) -> Iterator[Wire]:
    """A wire to the Valkey of this module."""
    made = Wire(valkey.redis_port)
    yield made
    made.close()


@pytest.fixture
def far_store(store: JobStore, wire: Wire) -> JobStore:
    """Job store that connects through the wire, with several attempts."""
    settings = store.settings.model_copy(update={"redis_url": f"redis://127.0.0.1:{wire.port}/0"})
    return JobStore(connect(settings, attempts=5), settings)
