"""What the probe tries from inside a sandbox, and what has to become of it. `docs/attacks.md` is made of this."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Attack:
    """One attempt of the probe, in words, and what the sandbox sees."""

    name: str
    what: str
    outcome: str


CUT = "cut"
ATTACKS: dict[str, tuple[Attack, ...]] = {
    "Around the proxy": (
        Attack("ipv4_literal", "TCP to a public IPv4 address", CUT),
        Attack("ipv4_private", "TCP to a private address", CUT),
        Attack("ipv4_host_gateway", "TCP to the gateway of a container network", CUT),
        Attack("metadata", "TCP to the cloud's metadata address", CUT),
        Attack("ipv4_literal_http", "HTTP to an address", "403 literal"),
        Attack("ipv4_hex", "HTTPS to an address written in hexadecimal", "tls alert"),
        Attack("ipv4_decimal", "HTTPS to an address written as one number", "tls alert"),
        Attack("ipv4_octal", "HTTPS to an address written in octal", "tls alert"),
        Attack("ipv4_short", "HTTPS to an address of two parts", "tls alert"),
        Attack("ipv6_literal", "TCP to an IPv6 address", CUT),
        Attack("ipv6_mapped", "TCP to an IPv4-mapped IPv6 address", CUT),
        Attack("literal_host_header", "an address in the Host header", "403 literal"),
        Attack("odd_port", "another port of an allowed host", CUT),
        Attack("udp_other", "UDP to the internet", "forbidden"),
        Attack("quic", "QUIC", "forbidden"),
        Attack("tcp_dns_public", "DNS over TCP to a public resolver", CUT),
        Attack("icmp", "a raw ICMP socket", "no such call"),
        Attack("vsock", "a VSOCK socket to the hypervisor", "no such call"),
        Attack("interfaces", "other network interfaces than loopback", "lo"),
    ),
    "DNS": (
        Attack(
            "dns_address", "a name, asked of a public resolver: answered by us", "code 0, 1 answers 198.18"
        ),
        Attack("dns_text", "data in a TXT question", "code 0, 0 answers"),
        Attack(
            "dns_https",
            "an HTTPS record, which would carry keys for Encrypted Client Hello",
            "code 0, 0 answers",
        ),
        Attack("dns_any", "a question of type ANY", "code 4, 0 answers"),
        Attack("dns_ipv6", "an IPv6 address", "code 0, 0 answers"),
        Attack(
            "dns_long_labels",
            "data in long labels: answered by us, forwarded nowhere",
            "code 0, 1 answers 198.18",
        ),
        Attack("dns_thousand_names", "data in a thousand names", "throttled"),
        *(
            Attack(f"rebind_{kind}", f"an allowed name that leads to {where}", "403 upstream-refused")
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
    ),
    "No HTTP": (
        Attack("raw_tcp_allowed_name", "SSH to an allowed host", CUT),
        Attack("raw_bytes_on_443", "other bytes on port 443", CUT),
        Attack("raw_bytes_on_80", "other bytes on port 80", "400"),
        Attack("tls_without_http", "other bytes inside TLS", "400"),
        Attack("tls_on_80", "TLS on port 80", "400"),
        Attack("foreign_alpn", "TLS for another protocol", "tls alert"),
    ),
    "The allowlist": (
        Attack("denied_host", "a host that is not named", "403 host"),
        Attack("denied_path", "a path that is not named", "403 path"),
        Attack("denied_method", "a method that is not named", "403 method"),
        Attack("method_override", "a method hidden in X-HTTP-Method-Override", "403 method"),
        Attack("redirect", "a redirect to a host that is not named", "403 host"),
        Attack("trailing_dot", "a host that is not named, with a trailing dot", "403 host"),
        Attack("user_info", "a name before an @", "421 mismatch"),
        Attack("nul_in_host", "a name before a NUL", "400"),
        *(
            Attack(f"path_{kind}", f"a path with {what}", "403 ambiguous-path")
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
        Attack("graphql_denied_field", "a GraphQL operation that is not named", "403 graphql"),
        Attack("bomb_in_an_inspected_body", "a compressed body where bodies are judged", "403 graphql"),
    ),
    "Names that disagree": (
        Attack("host_is_not_sni", "Host is not the TLS server name", "421 mismatch"),
        Attack("sni_is_not_host", "the TLS server name is not the address that was dialled", "tls alert"),
        Attack("no_sni", "no TLS server name", "tls alert"),
        Attack("sni_is_an_address", "an address for a TLS server name", "tls alert"),
        Attack("absolute_form", "another host in an absolute URL", "421 mismatch"),
        Attack("absolute_form_other_host", "another Host beside an absolute URL", "421 mismatch"),
        Attack("two_hosts", "two Host headers", "400"),
        Attack("no_host", "no Host header", "421 mismatch"),
        Attack("foreign_host_plain", "another Host on plain HTTP", "421 mismatch"),
        Attack("h2_authority_is_not_sni", "HTTP/2: :authority is not the TLS server name", "h2 mismatch"),
        Attack("h2_host_is_not_authority", "HTTP/2: host beside another :authority", "h2 stream refused"),
        Attack("h2_second_stream", "HTTP/2: another name on the second stream", "h2 mismatch"),
    ),
    "Tunnels and upgrades": (
        Attack("connect", "CONNECT on port 80", "403 protocol"),
        Attack("connect_in_tls", "CONNECT inside TLS", "403 protocol"),
        Attack("connect_to_the_allowed", "CONNECT to an allowed host", "403 protocol"),
        Attack("h2c_upgrade", "an upgrade to h2c", "403 protocol"),
        Attack("h2c_prior_knowledge", "HTTP/2 without TLS", "400"),
        Attack("upgrade_to_anything", "an upgrade to another protocol", "403 protocol"),
        Attack("websocket_denied_path", "a WebSocket to a path that is not named", "403 path"),
        Attack("websocket_denied_host", "a WebSocket to a host that is not named", "403 host"),
        Attack("h2_connect", "HTTP/2: CONNECT", "h2 stream refused"),
        Attack("h2_extended_connect", "HTTP/2: extended CONNECT", "h2 stream refused"),
    ),
    "Requests that are read in two ways": (
        Attack("h2_denied_path", "HTTP/2: a path that is not named", "h2 path"),
        Attack("h2_line_break_in_path", "HTTP/2: a line break in :path", "h2 stream refused"),
        Attack("h2_line_break_in_value", "HTTP/2: a line break in a value", "h2 stream refused"),
        Attack("h2_pseudo_twice", "HTTP/2: :authority twice", "h2 stream refused"),
        Attack("h2_pseudo_after_fields", "HTTP/2: :authority after other fields", "h2 stream refused"),
        Attack("h2_connection_header", "HTTP/2: a connection header", "h2 stream refused"),
        Attack("h2_scheme", "HTTP/2: another scheme", "h2 protocol"),
        Attack("h2_continuation_flood", "HTTP/2: CONTINUATION without end", CUT),
        Attack("smuggle_cl_te", "Content-Length and Transfer-Encoding", "400"),
        Attack("smuggle_te_te", "two Transfer-Encodings", "400"),
        Attack("smuggle_te_odd", "an unknown Transfer-Encoding", "400"),
        Attack("smuggle_te_space", "a space before the colon of Transfer-Encoding", "400"),
        Attack("smuggle_two_lengths", "two lengths", "400"),
        Attack("smuggle_length_sign", "a length with a sign", "400 protocol"),
        Attack("smuggle_folded_line", "a folded line", "400"),
        Attack("smuggle_nul_in_value", "a NUL in a value", "400"),
        Attack("smuggle_bare_cr_in_value", "a bare CR in a value", "400"),
        Attack("smuggle_bare_lf_in_value", "a bare LF in a value", "400"),
        Attack("smuggle_space_before_colon", "a space before the colon of Host", "400"),
        Attack("bare_lf_head", "lines that end in LF alone", "400"),
    ),
    "Credentials": (
        Attack("credential_to_another_host", "a surrogate sent to another host", "403 credential"),
        Attack("credential_hidden_in_basic", "the same, inside Basic", "403 credential"),
        Attack("credential_in_a_cookie", "the same, in a cookie", "403 credential"),
        Attack("credential_over_plain_http", "a surrogate over plain HTTP", "403 credential"),
        Attack("credential_in_a_denied_request", "a surrogate sent to a host that is not named", "403 host"),
    ),
    "Floods": (
        Attack("huge_header", "a header of 200 KB", "400"),
        Attack("many_headers", "a thousand headers", "400"),
        Attack("ten_gigabytes", "a body of 10 GB to a host that is not named: not read", "403 host"),
        Attack("many_connections", "600 connections at once: 256 stay open", "capped"),
        Attack("slow_head", "a head that never ends", CUT),
    ),
    "The host": (
        Attack("service_nats", "the message bus on the host's loopback", "unreachable"),
        Attack("service_smtp", "the mail gateway on the host's loopback", "unreachable"),
        Attack("service_dashboard", "the dashboard on the host's loopback", "unreachable"),
        Attack("our_own_listener", "the proxy's own port in the sandbox", CUT),
        Attack("sockets_in_files", "Unix sockets of the host", "none"),
    ),
}
"""By topic."""

ROWS = {
    "Around the proxy": "1–3, 5–7, 10",
    "DNS": "4, 7, 8",
    "No HTTP": "19",
    "The allowlist": "12–14, 18, 20",
    "Names that disagree": "11, 12",
    "Tunnels and upgrades": "16, 17",
    "Requests that are read in two ways": "15, 16",
    "Credentials": "23, 25, 28",
    "Floods": "35",
    "The host": "7, 9, 38",
}
"""By topic: the rows of the field notes that tests name."""


def document() -> str:
    """`docs/attacks.md`."""
    lines = [
        "# Attacks",
        "",
        "Each of these is tried from inside a real container of a real installation, by `tests/integration/test_attacks.py`, and has to end as the table says:",
        "a status of ours with its [obstacle](network-sandbox.md#what-a-refusal-looks-like), `cut` (reset or closed without a word), or what else a client sees.",
        "Made from `tests/integration/attacks.py`.",
    ]
    for topic, attacks in ATTACKS.items():
        lines += [
            "",
            f"## {topic}",
            "",
            f"Field notes {ROWS[topic]}.",
            "",
            "| tried | outcome |",
            "|---|---|",
        ]
        lines += [f"| {attack.what} | {attack.outcome} |" for attack in attacks]
    lines += [
        "",
        "What needs no container to be shown is tested beside the code: trailers, rapid reset and windows of HTTP/2, answers that carry credentials back, bombs,",
        "an address that changes between check and connect, a fault in every hook, and policies that change under open connections (`libs/airut-egress/tests`).",
    ]
    return "\n".join(lines) + "\n"
