"""For mitmdump, as the baseline: the checks of an allowlist in a small addon (`mitmdump -s`)."""

import os
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from mitmproxy.http import HTTPFlow, Response
from ruamel.yaml import YAML


class PolicyAddon:
    """Hosts, paths and methods of the file that `BENCH_POLICY` names; the first entry that allows wins."""

    def __init__(self) -> None:
        file: dict[str, Any] = YAML(typ="safe").load(Path(os.environ["BENCH_POLICY"]))
        self._domains: list[str] = file.get("domains", [])
        self._prefixes: list[dict[str, Any]] = file.get("url_prefixes", [])

    def requestheaders(self, flow: HTTPFlow) -> None:
        """Answer 403 unless an entry allows."""
        if not self._allows(
            flow.request.pretty_host, flow.request.path.partition("?")[0], flow.request.method
        ):
            flow.response = Response.make(403)

    def _allows(self, host: str, path: str, method: str) -> bool:
        if any(fnmatchcase(host, pattern) for pattern in self._domains):
            return True
        return any(
            fnmatchcase(host, entry["host"])
            and fnmatchcase(path, entry["path"] or "*")
            and (not entry.get("methods") or method in entry["methods"])
            for entry in self._prefixes
        )


addons = [PolicyAddon()]
