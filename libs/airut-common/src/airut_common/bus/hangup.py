"""The end of a connection, whatever state it is in."""

from nats.aio.client import Client


async def hang_up(client: Client) -> None:
    """Close a connection. What is not sent and has nobody to go to is dropped."""
    if client._flush_queue is None:
        # It never came as far as dialling (a URL or a seed that cannot be read), and nats-py 2.16 asserts that it did.
        return
    if not client.is_connected:
        # nats-py 2.16 would write it into a transport that is no longer there, and fail with a TypeError.
        client._pending.clear()
        client._pending_data_size = 0
    await client.close()
