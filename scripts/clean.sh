#!/usr/bin/env bash
# Removes what this checkout made. Images and downloads that other checkouts share stay.
set -euo pipefail
cd "$(dirname "$0")/.."
rm -rf .venv .airut .airut-demo .airut-test .pytest_cache .mypy_cache .ruff_cache .hypothesis dist bench/results
find . -name __pycache__ -type d -prune -exec rm -rf {} +
