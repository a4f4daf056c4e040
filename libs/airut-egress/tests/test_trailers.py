"""Field notes 21: what comes after a body has not been judged, so it does not go out."""

import h2.config
import h2.connection
import h2.events
import pytest

from airut_egress.testing.origin import Origin
from airut_egress.testing.world import World

HOST = "api.example.test"
FIELDS = [(":method", "POST"), (":scheme", "https"), (":authority", HOST), (":path", "/")]
TRAILERS = [("authorization", "Bearer the-agents-own"), ("x-checksum", "1")]


@pytest.mark.parametrize("upstream", ["h2", "http/1.1"])
async def test_trailers_of_a_request_stay_here(world: World, origin: Origin, upstream: str) -> None:
    tls = world.engine._means.upstream_tls
    make = tls.connection
    tls.connection = lambda host, _: make(host, [upstream.encode()])
    sandbox = await world.sandbox()
    reader, writer = await sandbox.open(HOST, 443, alpn=("h2",))
    client = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
    client.initiate_connection()
    client.send_headers(1, FIELDS)
    client.send_data(1, b"body")
    client.send_headers(1, TRAILERS, end_stream=True)
    writer.write(client.data_to_send())
    answer = b""
    ended = False
    while not ended:
        for event in client.receive_data(await reader.read(65536)):
            if isinstance(event, h2.events.DataReceived):
                answer += event.data
            ended = ended or isinstance(event, h2.events.StreamEnded)
        writer.write(client.data_to_send())
    assert answer == b"hello from upstream"
    assert origin.seen[0].body == b"body"
    assert b"agents-own" not in origin.raw
    assert b"agents-own" not in repr(origin.seen).encode()
    writer.transport.abort()
