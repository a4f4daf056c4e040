"""Give the network of a sandbox to the egress-proxy: listening sockets made in its namespace."""

import json
import os
import sys
from pathlib import Path
from typing import Final

from airut_common import processes
from airut_common.processes import ProcessError, ProcessFailed

from .attach_helper import TCP_PORT, UDP_PORT
from .errors import AttachFailed

__all__ = ["TCP_PORT", "UDP_PORT", "attach_network"]

_HELPER: Final = Path(__file__).with_name("attach_helper.py")
_DEADLINE_SECONDS: Final = 15.0


async def attach_network(pid: int, *, user_ns: int, net_ns: int, socket: Path, token: str) -> None:
    """Enter the user and network namespaces of `pid`, set the rules, open the listeners and pass them to the
    egress-proxy behind `socket`. May be repeated for a running sandbox.

    `user_ns` and `net_ns` are the inode numbers of the namespaces that `pid` had when it was checked.

    Raises:
        AttachFailed: with the reason.
    """
    message = json.dumps({"version": 1, "token": token}).encode() + b"\n"
    # -I -S: neither the environment nor site-packages can add code to a process with rights over namespaces.
    argv = [sys.executable, "-I", "-S", str(_HELPER), str(pid), str(user_ns), str(net_ns), str(socket)]
    try:
        done = await processes.run(
            argv, timeout_seconds=_DEADLINE_SECONDS, stdin=message, env={"PATH": _search_path()}
        )
    except ProcessFailed as error:
        reason = error.completed.stderr.decode("utf-8", "replace").strip() or str(error)
        raise AttachFailed(f"the sandbox could not be attached to the network: {reason}") from error
    except ProcessError as error:
        raise AttachFailed(f"the sandbox could not be attached to the network: {error}") from error
    _check_answer(done.stdout)


def _search_path() -> str:
    """`ip` and `nft` live in sbin, which is not on every user's PATH."""
    return os.environ.get("PATH", "") + ":/usr/sbin:/sbin"


def _check_answer(line: bytes) -> None:
    try:
        answer = json.loads(line)
        accepted, text = answer["ok"] is True, str(answer.get("text", "no reason given"))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise AttachFailed("the egress-proxy gave an answer that is not one") from error
    if not accepted:
        raise AttachFailed(f"the egress-proxy refused the sandbox: {text}")
