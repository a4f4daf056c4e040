"""Repositories whose network sandbox is switched off: whoever looks at the installation is to know."""

from collections.abc import Mapping

import structlog

from airut_common.config.models import RepoConfig, open_networks
from airut_common.lifecycle import Report

CODE = "network_sandbox_off"

log = structlog.get_logger()


class OpenNetworks:
    """Warns at start, and whenever it is other repositories than before."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._told: list[str] = []

    async def look(self, repos: Mapping[str, RepoConfig]) -> None:
        """Tell which of them it is, if that is news."""
        found = open_networks(repos)
        if found == self._told:
            return
        self._told = found
        if not found:
            await self._report("info", CODE, "the network sandbox is on for every repository again")
            return
        names = ", ".join(found)
        log.warning(CODE, repos=names)
        await self._report(
            "warning",
            CODE,
            f"the network sandbox is switched off for {names}: agents there reach every public host",
        )
