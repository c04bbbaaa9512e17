"""A file server with TLS on loopback, which continues downloads, and a network that finds it at any public name."""

import hashlib
import http.server
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpcore
import trustme

from jobs.intake.downloads import Network

HOST = "files.example"


@dataclass
class Files:
    """What is served, by path; `cut` is sent by half once, `slow` a part at a time, `linked` as the hub does."""

    served: dict[str, bytes]
    port: int = 0
    authority: trustme.CA = field(default_factory=trustme.CA)
    cut: set[str] = field(default_factory=set)
    slow: set[str] = field(default_factory=set)
    linked: set[str] = field(default_factory=set)
    untagged: bool = False
    asked: list[str] = field(default_factory=list)

    def url(self, path: str) -> str:
        return f"https://{HOST}/{path}"

    def network(self, timeout_s: float = 5) -> Network:
        context = ssl.create_default_context()
        self.authority.configure_trust(context)
        return network(self.port, context, timeout_s)


def network(port: int, context: ssl.SSLContext, timeout_s: float = 5) -> Network:
    """A network whose every name has a public address, at which the server on a port of loopback answers."""

    def dial(address: str, there: int, timeout: float) -> httpcore.NetworkStream:
        return httpcore.SyncBackend().connect_tcp("127.0.0.1", port, timeout)

    return Network(timeout_s, lambda *_, **__: [(2, 1, 6, "", ("93.184.216.34", 443))], dial, context)


def handler(files: Files) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *args: object) -> None: ...

        def answer(self, status: int, body: bytes, **headers: str) -> None:
            self.send_response(status)
            for name, value in {"content_length": str(len(body)), **headers}.items():
                self.send_header(name.replace("_", "-"), value)
            self.end_headers()
            if self.command == "GET":
                self.send(body)

        def send(self, body: bytes) -> None:
            path = self.path[1:]
            if path in files.cut:
                files.cut.remove(path)
                self.wfile.write(body[: len(body) // 2])
                self.close_connection = True
                return
            part = max(1, len(body) // 40) if path in files.slow else len(body) or 1
            for start in range(0, len(body), part):
                self.wfile.write(body[start : start + part])
                time.sleep(0.05 if path in files.slow else 0)

        def do_GET(self) -> None:
            path, data = self.path[1:], files.served.get(self.path[1:])
            if data is None:
                return self.answer(404, b"")
            sha = hashlib.sha256(data).hexdigest()
            if path in files.linked:
                moved = f"https://{HOST}/{path}?large"
                files.served[f"{path}?large"] = data
                more = {"x_linked_etag": f'"{sha}"', "x_linked_size": str(len(data)), "location": moved}
                return self.answer(302, b"", **more)
            tag = {} if files.untagged else {"etag": f'"{sha}"'}
            start = int(self.headers.get("range", "bytes=0-")[6:].split("-")[0])
            if self.headers.get("if-range") != tag.get("etag"):
                start = 0
            if self.command == "GET":
                files.asked.append(f"{path} from {start}")
            span = {"content_range": f"bytes {start}-{len(data) - 1}/{len(data)}"} if start else {}
            return self.answer(206 if start else 200, data[start:], **tag, **span)

        do_HEAD = do_GET

    return Handler


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignores clients that hang up, as the tests do on purpose."""


@contextmanager
def serving(served: dict[str, bytes]) -> Iterator[Files]:
    """Serves files on a free port."""
    files = Files(served)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    files.authority.issue_cert(HOST, "huggingface.co").configure_cert(context)
    server = Server(("127.0.0.1", 0), handler(files))
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    files.port = server.server_address[1]
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield files
    server.shutdown()
    server.server_close()
