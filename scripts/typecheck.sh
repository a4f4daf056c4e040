#!/usr/bin/env bash
# Types of every package, strict. One run over all source folders, so that shared modules are read once.
set -euo pipefail
cd "$(dirname "$0")/.."
exec .venv/bin/mypy --no-error-summary libs/*/src services/*/src demo/src bench chaos fuzz/targets.py fuzz/mail.py fuzz/signing.py fuzz/__main__.py
