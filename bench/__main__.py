"""`make bench`: run the measurements and print one table each, with what was measured on."""

import asyncio
import sys
from collections.abc import Callable

from airut_common.log import configure_logging
from bench import egress, events, ingress, mail, network, orchestrator, policy, sandboxes, workers
from bench.rows import Row, machine, show

PARTS: dict[str, tuple[str, Callable[[], list[Row]]]] = {
    "egress": (
        "The egress engine beside mitmdump, proxies pinned to one core, 1 KiB answers",
        egress.measure,
    ),
    "policy": ("A decision", policy.measure),
    "workers": ("The same on worker processes, load and upstream on the same cores", workers.measure),
    "sandboxes": ("Many sandboxes in one engine", sandboxes.measure),
    "events": ("Events", lambda: asyncio.run(events.measure())),
    "network": ("A network for a sandbox", lambda: asyncio.run(network.measure())),
    "ingress": ("Mail in, judged and on the bus", lambda: asyncio.run(ingress.measure())),
    "orchestrator": (
        "The orchestrator: queue and workspaces",
        lambda: asyncio.run(orchestrator.measure()),
    ),
    "mail": ("From SMTP 250 to the agent's process", lambda: asyncio.run(mail.measure())),
}


def main() -> int:
    """Run the parts named on the command line, or all."""
    chosen = sys.argv[1:] or list(PARTS)
    unknown = set(chosen) - set(PARTS)
    if unknown:
        sys.stderr.write(f"unknown: {', '.join(sorted(unknown))}; there are: {', '.join(PARTS)}\n")
        return 2
    configure_logging("bench", log_format="text", level="warning")
    print(machine())
    for name in chosen:
        title, measure = PARTS[name]
        show(title, measure())
    return 0


if __name__ == "__main__":
    sys.exit(main())
