"""A link with a delay: `python -m tests.integration.slow_link PORT HOST:PORT SECONDS` passes on all bytes late.

tc's netem would do it in the kernel, but not every kernel has that module.
"""

import asyncio
import sys


async def pass_on(port: int, host: str, target: int, delay_s: float) -> None:
    """Accepts connections at a port of loopback and connects each to the target."""

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        try:
            while data := await reader.read(65536):
                loop.call_later(delay_s, writer.write, data)
        finally:
            loop.call_later(delay_s, writer.close)

    async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(host, target)
        await asyncio.gather(carry(reader, far_writer), carry(far_reader, writer), return_exceptions=True)

    server = await asyncio.start_server(connect, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    HOST, _, TARGET = sys.argv[2].rpartition(":")
    asyncio.run(pass_on(int(sys.argv[1]), HOST, int(TARGET), float(sys.argv[3])))
