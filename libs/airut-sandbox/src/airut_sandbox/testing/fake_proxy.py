"""What stands in for the egress-proxy: takes the listeners of a sandbox, answers DNS and HTTP, notes who asked what."""

import array
import contextlib
import json
import socket
import struct
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

SO_ORIGINAL_DST = 80  # include/uapi/linux/netfilter_ipv4.h
SYNTHETIC = "198.18.0.7"
_ACCEPTED = b'{"ok":true}\n'


@dataclass
class FakeProxy:
    """Everything it saw. Connections are answered with the address that they were made to."""

    path: Path
    answer: bytes | None = _ACCEPTED
    """What an attachment is told; None closes without a word."""
    messages: list[dict[str, object]] = field(default_factory=list)
    connections: list[tuple[str, int]] = field(default_factory=list)
    questions: list[bytes] = field(default_factory=list)
    _held: list[socket.socket] = field(default_factory=list)

    def serve(self, listener: socket.socket) -> None:
        """Take attachments until the socket is closed."""
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with connection:
                    self._attach(connection)

    def _attach(self, connection: socket.socket) -> None:
        message, descriptors = _receive(connection)
        self.messages.append(json.loads(message))
        tcp, udp, *tcp6 = (socket.socket(fileno=descriptor) for descriptor in descriptors)
        if self.answer != _ACCEPTED:
            for each in (tcp, udp, *tcp6):
                each.close()
        else:
            self._held += [tcp, udp, *tcp6]
            for work, listener in (
                (self._answer_connections, tcp),
                (self._answer_questions, udp),
                *((self._note_connections_6, each) for each in tcp6),
            ):
                threading.Thread(target=work, args=(listener,), daemon=True).start()
        if self.answer is not None:
            connection.sendall(self.answer)

    def _answer_connections(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with connection:
                    port, address = struct.unpack(
                        "!2xH4s8x", connection.getsockopt(socket.SOL_IP, SO_ORIGINAL_DST, 16)
                    )
                    target = (socket.inet_ntoa(address), port)
                    self.connections.append(target)
                    connection.recv(65536)
                    body = f"{target[0]}:{target[1]}\n".encode()
                    head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
                    connection.sendall(head.encode() + body)

    def _note_connections_6(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with connection:
                    raw = connection.getsockopt(socket.IPPROTO_IPV6, SO_ORIGINAL_DST, 28)
                    port, address = struct.unpack("!2xH4x16s4x", raw)
                    self.connections.append((socket.inet_ntop(socket.AF_INET6, address), port))

    def _answer_questions(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                query, client = listener.recvfrom(4096)
                if not query:  # woken by shutdown
                    return
                self.questions.append(query)
                listener.sendto(_dns_answer(query), client)

    def die(self) -> None:
        """Let go of every listener, as a killed process does."""
        for held in self._held:
            # A thread that waits in accept() holds a closed socket open; shutdown wakes it.
            with contextlib.suppress(OSError):
                held.shutdown(socket.SHUT_RDWR)
            held.close()
        self._held.clear()


def _receive(connection: socket.socket) -> tuple[bytes, list[int]]:
    message, ancillary, _, _ = connection.recvmsg(65536, socket.CMSG_SPACE(16))
    descriptors = array.array("i")
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            descriptors.frombytes(data)
    return message, list(descriptors)


def _dns_answer(query: bytes) -> bytes:
    """One A record for a question for A, and nothing for any other."""
    end = query.index(b"\0", 12) + 5
    is_a = query[end - 4 : end - 2] == b"\0\x01"
    head = query[:2] + b"\x81\x80\0\x01" + (b"\0\x01" if is_a else b"\0\0") + b"\0\0\0\0"
    record = b"\xc0\x0c\0\x01\0\x01\0\0\0\x3c\0\x04" + socket.inet_aton(SYNTHETIC)
    return head + query[12:end] + (record if is_a else b"")


@contextlib.contextmanager
def fake_proxy(folder: Path) -> Iterator[FakeProxy]:
    """One that listens in `folder`; gone afterwards."""
    proxy = FakeProxy(folder / "attach.sock")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(proxy.path))
        listener.listen()
        threading.Thread(target=proxy.serve, args=(listener,), daemon=True).start()
        try:
            yield proxy
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            proxy.die()
