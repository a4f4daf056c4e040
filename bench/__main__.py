"""`make bench`: run the measurements and print one table each, with what was measured on."""

import asyncio
import sys

from airut_common.log import configure_logging
from bench import egress, mail, network, workers
from bench.rows import machine, show

PARTS = ("egress", "workers", "network", "mail")


def main() -> int:
    """Run the parts named on the command line, or all."""
    chosen = sys.argv[1:] or list(PARTS)
    unknown = set(chosen) - set(PARTS)
    if unknown:
        sys.stderr.write(f"unknown: {', '.join(sorted(unknown))}; there are: {', '.join(PARTS)}\n")
        return 2
    configure_logging("bench", log_format="text", level="warning")
    print(machine())
    if "egress" in chosen:
        show(
            "A small allowed HTTPS request on a kept-alive connection, proxies pinned to one core",
            egress.measure(),
        )
    if "workers" in chosen:
        show("The same on worker processes, load and upstream on the same cores", workers.measure())
    if "network" in chosen:
        show("A network for a sandbox", asyncio.run(network.measure()))
    if "mail" in chosen:
        show("From SMTP 250 to the agent's process", asyncio.run(mail.measure()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
