"""What the probe tries from inside a sandbox, and what has to become of it. `docs/attacks.md` is made of this."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Attack:
    """One attempt of the probe, in words, and what the sandbox sees."""

    name: str
    what: str
    outcome: str
    rows: str
    """Of the field notes that tests name."""


CUT = "cut"
ATTACKS: dict[str, tuple[Attack, ...]] = {
    "Around the proxy": (
        Attack("ipv4_literal", "TCP to a public IPv4 address", CUT, "1, 2"),
        Attack("ipv4_private", "TCP to a private address", CUT, "1, 7"),
        Attack("ipv4_host_gateway", "TCP to the gateway of a container network", CUT, "1, 7"),
        Attack("metadata", "TCP to the cloud's metadata address", CUT, "1, 7"),
        Attack("ipv4_literal_http", "HTTP to an address", "403 literal", "2"),
        Attack("ipv4_hex", "HTTPS to an address written in hexadecimal", CUT, "2"),
        Attack("ipv4_decimal", "HTTPS to an address written as one number", CUT, "2"),
        Attack("ipv4_octal", "HTTPS to an address written in octal", CUT, "2"),
        Attack("ipv4_short", "HTTPS to an address of two parts", CUT, "2"),
        Attack("ipv6_literal", "TCP to an IPv6 address", CUT, "2, 6"),
        Attack("ipv6_mapped", "TCP to an IPv4-mapped IPv6 address", CUT, "2, 6"),
        Attack("literal_host_header", "an address in the Host header", "403 literal", "2, 11"),
        Attack("odd_port", "another port of an allowed host", CUT, "3"),
        Attack("udp_other", "UDP to the internet", "forbidden", "5"),
        Attack("quic", "QUIC", "forbidden", "5"),
        Attack("tcp_dns_public", "DNS over TCP to a public resolver", CUT, "4"),
        Attack("icmp", "a raw ICMP socket", "no such call", "5"),
        Attack("vsock", "a VSOCK socket to the hypervisor", "no such call", "10"),
        Attack("interfaces", "other network interfaces than loopback", "lo", "1"),
    ),
    "DNS": (
        Attack(
            "dns_address",
            "a name, asked of a public resolver: answered by us",
            "code 0, 1 answers 198.18",
            "4",
        ),
        Attack("dns_text", "data in a TXT question", "code 0, 0 answers", "4"),
        Attack(
            "dns_https",
            "an HTTPS record, which would carry keys for Encrypted Client Hello",
            "code 0, 0 answers",
            "4",
        ),
        Attack("dns_any", "a question of type ANY", "code 4, 0 answers", "4"),
        Attack("dns_ipv6", "an IPv6 address", "code 0, 0 answers", "4, 6"),
        Attack(
            "dns_long_labels",
            "data in long labels: answered by us, forwarded nowhere",
            "code 0, 1 answers 198.18",
            "4",
        ),
        Attack("dns_thousand_names", "data in a thousand names", "throttled", "4"),
        *(
            Attack(f"rebind_{kind}", f"an allowed name that leads to {where}", "403 upstream-refused", "7, 8")
            for kind, where in {
                "loopback": "the host's loopback",
                "private": "a private address",
                "link-local": "a link-local address",
                "metadata": "the metadata address",
                "cgnat": "a carrier's address",
                "mapped": "loopback as IPv4-mapped IPv6",
                "ula": "a unique local IPv6 address",
                "mixed": "a public and a private address",
            }.items()
        ),
        *(
            Attack(f"rebind_{kind}", f"an allowed name that leads to {where}", outcome, "8")
            for kind, where, outcome in (
                (
                    "into-loopback",
                    "a public address, and with the next answer to loopback",
                    "502, then 403 upstream-refused",
                ),
                (
                    "into-metadata",
                    "a public address, and with the next answer to metadata",
                    "502, then 403 upstream-refused",
                ),
                (
                    "out-of-loopback",
                    "loopback, and with the next answer to a public address",
                    "403 upstream-refused, then 502",
                ),
            )
        ),
    ),
    "No HTTP": (
        Attack("raw_tcp_allowed_name", "SSH to an allowed host", CUT, "3, 19"),
        Attack("raw_bytes_on_443", "other bytes on port 443", CUT, "19"),
        Attack("raw_bytes_on_80", "other bytes on port 80", "400", "19"),
        Attack("tls_without_http", "other bytes inside TLS", "400", "19"),
        Attack("tls_on_80", "TLS on port 80", "400", "19"),
        Attack(
            "ech_outer_allowed", "Encrypted Client Hello, an allowed name outside", "as the outer name", "19"
        ),
        Attack("ech_outer_denied", "Encrypted Client Hello, another name outside", "tls alert", "11, 19"),
        Attack("foreign_alpn", "TLS for another protocol", "tls alert", "19"),
    ),
    "The allowlist": (
        Attack("denied_host", "a host that is not named", "403 host", "1"),
        Attack("denied_path", "a path that is not named", "403 path", "13"),
        Attack("denied_method", "a method that is not named", "403 method", "14"),
        Attack("method_override", "a method hidden in X-HTTP-Method-Override", "403 method", "14"),
        Attack("redirect", "a redirect to a host that is not named", "403 host", "18"),
        Attack("trailing_dot", "a host that is not named, with a trailing dot", "403 host", "12"),
        Attack("user_info", "a name before an @", "421 mismatch", "12"),
        Attack("nul_in_host", "a name before a NUL", "400", "12"),
        *(
            Attack(f"path_{kind}", f"a path with {what}", "403 ambiguous-path", "13")
            for kind, what in {
                "dots": "dot segments",
                "encoded_dots": "encoded dot segments",
                "encoded_slash": "encoded slashes",
                "double_encoding": "double encoding",
                "backslash": "a backslash",
                "empty_segment": "an empty segment",
                "parameters": "dots before parameters",
                "encoded_nul": "an encoded NUL",
                "bad_utf8": "invalid UTF-8",
            }.items()
        ),
        Attack("graphql_denied_field", "a GraphQL operation that is not named", "403 graphql", "14, 20"),
        Attack(
            "chunked_above_the_limit",
            "a judged body above an upload limit, its length not told",
            "413 budget",
            "20, 22",
        ),
        Attack(
            "bomb_in_an_inspected_body",
            "64 MiB of zeros, compressed, where bodies are judged",
            "403 graphql",
            "20, 35",
        ),
    ),
    "Names that disagree": (
        Attack("host_is_not_sni", "Host is not the TLS server name", "421 mismatch", "11"),
        Attack(
            "sni_is_not_host", "the TLS server name is not the address that was dialled", "tls alert", "11"
        ),
        Attack("no_sni", "no TLS server name", "tls alert", "19"),
        Attack("sni_is_an_address", "an address for a TLS server name", "tls alert", "2, 11"),
        Attack("absolute_form", "another host in an absolute URL", "421 mismatch", "11"),
        Attack("absolute_form_other_host", "another Host beside an absolute URL", "421 mismatch", "11"),
        Attack("two_hosts", "two Host headers", "400", "11, 15"),
        Attack("no_host", "no Host header", "421 mismatch", "11"),
        Attack("foreign_host_plain", "another Host on plain HTTP", "421 mismatch", "11"),
        Attack(
            "h2_authority_is_not_sni",
            "HTTP/2: :authority is not the TLS server name",
            "h2 mismatch",
            "11, 16",
        ),
        Attack(
            "h2_host_is_not_authority",
            "HTTP/2: host beside another :authority",
            "h2 stream refused",
            "11, 16",
        ),
        Attack("h2_second_stream", "HTTP/2: another name on the second stream", "h2 mismatch", "11, 16"),
    ),
    "Tunnels and upgrades": (
        Attack("connect", "CONNECT on port 80", "403 protocol", "17"),
        Attack("connect_in_tls", "CONNECT inside TLS", "403 protocol", "17"),
        Attack("connect_to_the_allowed", "CONNECT to an allowed host", "403 protocol", "17"),
        Attack("h2c_upgrade", "an upgrade to h2c", "403 protocol", "17"),
        Attack("h2c_prior_knowledge", "HTTP/2 without TLS", "400", "17"),
        Attack("upgrade_to_anything", "an upgrade to another protocol", "403 protocol", "17"),
        Attack("websocket_denied_path", "a WebSocket to a path that is not named", "403 path", "17"),
        Attack("websocket_denied_host", "a WebSocket to a host that is not named", "403 host", "17"),
        Attack("h2_connect", "HTTP/2: CONNECT", "h2 stream refused", "16, 17"),
        Attack("h2_extended_connect", "HTTP/2: extended CONNECT", "h2 stream refused", "16"),
    ),
    "Requests that are read in two ways": (
        Attack("h2_denied_path", "HTTP/2: a path that is not named", "h2 path", "13, 16"),
        Attack("h2_line_break_in_path", "HTTP/2: a line break in :path", "h2 stream refused", "15, 16"),
        Attack("h2_line_break_in_value", "HTTP/2: a line break in a value", "h2 stream refused", "15, 16"),
        Attack("h2_pseudo_twice", "HTTP/2: :authority twice", "h2 stream refused", "16"),
        Attack("h2_pseudo_after_fields", "HTTP/2: :authority after other fields", "h2 stream refused", "16"),
        Attack("h2_connection_header", "HTTP/2: a connection header", "h2 stream refused", "16"),
        Attack("h2_scheme", "HTTP/2: another scheme", "h2 protocol", "16"),
        Attack("h2_continuation_flood", "HTTP/2: CONTINUATION without end", CUT, "16"),
        Attack("smuggle_cl_te", "Content-Length and Transfer-Encoding", "400", "15"),
        Attack("smuggle_te_te", "two Transfer-Encodings", "400", "15"),
        Attack("smuggle_te_odd", "an unknown Transfer-Encoding", "400", "15"),
        Attack("smuggle_te_space", "a space before the colon of Transfer-Encoding", "400", "15"),
        Attack("smuggle_two_lengths", "two lengths", "400", "15"),
        Attack("smuggle_length_sign", "a length with a sign", "400 protocol", "15"),
        Attack("smuggle_folded_line", "a folded line", "400", "15"),
        Attack("smuggle_nul_in_value", "a NUL in a value", "400", "15"),
        Attack("smuggle_bare_cr_in_value", "a bare CR in a value", "400", "15"),
        Attack("smuggle_bare_lf_in_value", "a bare LF in a value", "400", "15"),
        Attack("smuggle_space_before_colon", "a space before the colon of Host", "400", "15"),
        Attack("bare_lf_head", "lines that end in LF alone", "400", "15"),
    ),
    "Credentials": (
        Attack("credential_to_another_host", "a surrogate sent to another host", "403 credential", "23"),
        Attack("credential_hidden_in_basic", "the same, inside Basic", "403 credential", "23, 25"),
        Attack("credential_in_a_cookie", "the same, in a cookie", "403 credential", "23"),
        Attack("credential_over_plain_http", "a surrogate over plain HTTP", "403 credential", "28, 59"),
        Attack(
            "trailers_http1",
            "a surrogate and a foreign credential in trailers of a chunked body: left behind",
            "200",
            "21, 23",
        ),
        Attack("trailers_http2", "HTTP/2: the same in trailers", "h2 answered", "21, 23"),
        Attack(
            "credential_in_a_denied_request", "a surrogate sent to a host that is not named", "403 host", "23"
        ),
    ),
    "Floods": (
        Attack("huge_header", "a header of 200 KB", "400", "35"),
        Attack("many_headers", "a thousand headers", "400", "35"),
        Attack("ten_gigabytes", "a body of 10 GB to a host that is not named: not read", "403 host", "35"),
        Attack("slow_head", "a head that never ends", CUT, "35"),
    ),
    "The host": (
        Attack("service_nats", "the message bus on the host's loopback", "unreachable", "7, 38"),
        Attack("service_smtp", "the mail gateway on the host's loopback", "unreachable", "7"),
        Attack("service_dashboard", "the dashboard on the host's loopback", "unreachable", "7"),
        Attack(
            "socket_attach",
            "the socket at which sandboxes are attached to the proxy, by its path",
            "no such file",
            "9, 32",
        ),
        Attack("socket_podman", "Podman's socket, by its path", "no such file", "9"),
        Attack("socket_docker", "Docker's socket, by its path", "no such file", "9"),
        Attack(
            "listeners", "ports that somebody listens on: the proxy's own in this sandbox", "15001", "7, 32"
        ),
        Attack("abstract_sockets", "Unix sockets without a file", "none", "9"),
        Attack("our_own_listener", "the proxy's own port in the sandbox", CUT, "7, 32"),
        Attack("sockets_in_files", "Unix sockets of the host", "none", "9"),
    ),
}
"""By topic."""
NEIGHBOURS = (
    Attack(
        "ten_thousand_connections",
        "10,000 connections: idle ones, half a ClientHello, bodies that hardly come",
        "256 at most stay open",
        "35",
    ),
    Attack(
        "ten_thousand_events", "the same, to hide something among their events", "events and counts", "37"
    ),
    Attack("beside_connections", "the same, to keep another sandbox from working", "it works", "35"),
    Attack(
        "beside_a_flood",
        "200 busy connections, for the same: downloads, uploads, requests, bodies that are judged",
        "it works",
        "35",
    ),
    Attack("memory", "both, to fill the proxy's memory", "bounded", "35"),
    Attack("ten_gigabytes_known", "a body of 10 GB to an allowed host with an upload limit", "413", "22, 35"),
    Attack("ten_gigabytes_chunked", "the same without a length", CUT, "22, 35"),
    Attack("borrowed_key", "another sandbox's surrogate of an API key, sent to its host", "401", "23, 32"),
    Attack("borrowed_token", "another sandbox's surrogate of a git token, sent to its host", "401", "23, 32"),
    Attack("borrowed_note", "another sandbox's surrogate in a text: stays what it is", "200", "25, 26, 32"),
    Attack("borrowed_address", "an address that stands for a name in another sandbox", "403 host", "32"),
)
"""Beside another sandbox, which is in league with this one or has to suffer from it."""


def document() -> str:
    """`docs/attacks.md`."""
    lines = [
        "# Attacks",
        "",
        "Each of these is tried from inside a real container of a real installation, by `tests/integration/test_attacks.py` and `test_neighbours.py`, and has to end as the table says:",
        "a status of ours with its [obstacle](network-sandbox.md#what-a-refusal-looks-like), `cut` (reset or closed without a word), or what else a client sees.",
        "Rows are those of the field notes that tests name. Made from `tests/integration/attacks.py`.",
    ]
    for topic, attacks in (ATTACKS | {"Beside another sandbox": NEIGHBOURS}).items():
        lines += [
            "",
            f"## {topic}",
            "",
            "| tried | outcome | rows |",
            "|---|---|---|",
        ]
        lines += [f"| {attack.what} | {attack.outcome} | {attack.rows} |" for attack in attacks]
    lines += [
        "",
        "What needs no container to be shown is tested beside the code: rapid reset and windows of HTTP/2, answers that carry credentials back, bombs in them,",
        "a fault in every hook, and policies that change under open connections (`libs/airut-egress/tests`).",
    ]
    return "\n".join(lines) + "\n"
