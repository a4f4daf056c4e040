"""An upstream in a process of its own, so that what it has to do slows nobody down who is being measured.

`GET /small` a few bytes; `GET /big` more than anybody reads; `POST /upload` takes everything in; `GET /signal/NAME` and
`GET /wait/NAME` let two sandboxes, which know nothing of each other, take steps in order; a signal may bring a word,
`/signal/NAME/WORD`, that those who wait for it are told.

Usage: bulk_origin.py CERTIFICATE KEY; prints `TLS_PORT PLAIN_PORT`, and runs until its standard input ends.
"""

import asyncio
import collections
import contextlib
import ssl
import sys

BIG = b"x" * 65536
WAIT_SECONDS = 45
signals: collections.defaultdict[str, asyncio.Event] = collections.defaultdict(asyncio.Event)
words: dict[str, bytes] = {}


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while head := await reader.readuntil(b"\r\n\r\n"):
            target = head.split(b" ")[1].decode()
            await answer(target, head.lower(), reader, writer)
    except (OSError, asyncio.IncompleteReadError):
        pass
    finally:
        writer.transport.abort()


async def answer(
    target: str, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    if target.startswith("/big"):
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n")
        while True:
            writer.write(BIG)
            await writer.drain()
    if b"\r\ntransfer-encoding:" in head or b"\r\ncontent-length:" in head:
        while await reader.read(262144):
            pass
        return
    status, word = b"200 OK", b"ok"
    _, what, name, said = f"{target}///".split("/")[:4]
    if what == "signal":
        words[name] = said.encode()
        signals[name].set()
    elif what == "wait":
        try:
            await asyncio.wait_for(signals[name].wait(), WAIT_SECONDS)
            word = words[name]
        except TimeoutError:
            status = b"504 Nobody came"
    writer.write(b"HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n%s" % (status, len(word), word))
    await writer.drain()


async def main() -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(sys.argv[1], sys.argv[2])
    tls = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context, backlog=1024)
    plain = await asyncio.start_server(serve, "127.0.0.1", 0, backlog=1024)
    print(*(server.sockets[0].getsockname()[1] for server in (tls, plain)), flush=True)
    await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt, TimeoutError):
        asyncio.run(asyncio.wait_for(main(), 3600))
