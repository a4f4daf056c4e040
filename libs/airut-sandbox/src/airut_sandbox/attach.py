"""Give the network of a sandbox to the egress-proxy: two listening sockets made in its namespace."""

from pathlib import Path

TCP_PORT = 15001
UDP_PORT = 15053


async def attach_network(pid: int, socket: Path, token: str) -> None:
    """Enter the user and network namespaces of `pid`, set the rules, open the two listeners and pass them to the
    egress-proxy behind `socket`. May be repeated for a running sandbox.

    Raises:
        AttachFailed: with the reason.
    """
    raise NotImplementedError
