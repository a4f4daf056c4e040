#!/usr/bin/env bash
# Makes this checkout ready: system packages, uv, Python 3.13, the locked environment in .venv.
# usage: scripts/setup.sh [run|test|bench]   run = what an installation needs, test (default) = also what the tests need,
#                                            bench = also what the measurements need
# Quick when there is nothing to do. Without the right to install packages it prints the command and stops.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf 'setup: %s\n' "$*" >&2; }
have() { command -v "$1" >/dev/null 2>&1; }
export PATH="$PATH:/usr/sbin:/sbin:$HOME/.local/bin"

# program:package pairs; a package is installed only if its program is missing
needed=(podman:podman catatonit:catatonit runc:runc newuidmap:uidmap nft:nftables ip:iproute2 mmdebstrap:mmdebstrap git:git)
if [ "${1:-test}" != run ]; then
    needed+=(chromium:chromium chromedriver:chromium-driver curl:curl openssl:openssl gcc:gcc useradd:passwd)
    needed+=(dovecot:dovecot-imapd setpriv:util-linux)
    # Packages of mail servers replace each other, and this one should not lose the host its own.
    if ! have postfix && have sendmail; then
        say "the tests need Postfix, and its package would replace this host's mail server ($(command -v sendmail))"
        say "run them in a container or on another machine, or install postfix yourself"
        exit 1
    fi
    needed+=(postfix:postfix)
fi
if [ "${1:-test}" = bench ]; then needed+=(wrk:wrk haproxy:haproxy mkfs.xfs:xfsprogs); fi

missing=()
for pair in "${needed[@]}"; do
    have "${pair%%:*}" || missing+=("${pair##*:}")
done
# Debian keeps the programs of PostgreSQL out of PATH.
if [ "${1:-test}" != run ] && ! have initdb && ! compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null; then
    missing+=(postgresql)
fi
# A library and no program: clocks that tell the wrong time, for the chaos suite.
if [ "${1:-test}" != run ] && ! compgen -G '/usr/lib/*/faketime/libfaketime.so.1' >/dev/null; then
    missing+=(libfaketime)
fi
# A compiler without its C library headers cannot build the probes that the sandbox tests run.
if [ "${1:-test}" != run ] && [ ! -e /usr/include/stdio.h ]; then missing+=(libc6-dev); fi

if [ ${#missing[@]} -gt 0 ]; then
    install=(apt-get install -y --no-install-recommends "${missing[@]}")
    if ! have apt-get; then
        say "these are missing and this is not a Debian or Ubuntu system: ${missing[*]}"
        say "install them with your package manager, then run this again"
        exit 1
    fi
    if [ "$(id -u)" = 0 ]; then as_root=(); elif sudo -n true 2>/dev/null; then as_root=(sudo); else
        say "system packages are missing and may not be installed from here; run:"
        say "    sudo apt-get update && sudo ${install[*]}"
        exit 1
    fi
    say "installing ${missing[*]}"
    "${as_root[@]}" apt-get update -qq
    # Tests start mail servers of their own; those of the packages stay off (invoke-rc.d(8)).
    policy=/usr/sbin/policy-rc.d
    if [ ! -e $policy ]; then
        trap '"${as_root[@]}" rm -f $policy' EXIT
        printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee $policy >/dev/null
        "${as_root[@]}" chmod 755 $policy
    fi
    DEBIAN_FRONTEND=noninteractive "${as_root[@]}" "${install[@]}" >/dev/null
fi

# uv: the one on PATH, or one of our own in .airut/uv
if have uv && uv --version >/dev/null 2>&1; then uv=uv
elif [ -x .airut/uv/bin/uv ]; then uv=.airut/uv/bin/uv
else
    say "installing uv into .airut/uv"
    python3 -m venv .airut/uv 2>/dev/null || {
        say "python3 cannot make a virtual environment; run: sudo apt-get install python3-venv"
        exit 1
    }
    .airut/uv/bin/pip install --quiet uv
    uv=.airut/uv/bin/uv
fi

# Python 3.13: shims of version managers hide interpreters from uv, so look where they really are.
find_python() {
    local candidate
    for candidate in "${AIRUT_PYTHON:-}" .venv/bin/python3.13 \
        $(compgen -G "${PYENV_ROOT:-$HOME/.pyenv}/versions/3.13*/bin/python3.13" | sort -V -r || true) \
        $(type -ap python3.13 || true) /usr/bin/python3.13 /usr/local/bin/python3.13; do
        [ -n "$candidate" ] || continue
        "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 13))' 2>/dev/null && { echo "$candidate"; return; }
    done
    echo 3.13 # uv downloads it
}
python=$(find_python)
"$uv" sync --quiet --frozen --all-packages --python "$python" || {
    say "the Python environment could not be made with interpreter '$python' (wanted: 3.13)"
    say "install Python 3.13 or set AIRUT_PYTHON=/path/to/python3.13, then run this again"
    exit 1
}
