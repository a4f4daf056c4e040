"""Dropped capabilities and system calls must not break package managers. Field-notes row 77.

`apt` is the base image's own. The others are this host's, shown inside read-only: what they ask of the kernel is the same.
"""

import shutil
import sys
from pathlib import Path

import pytest

from airut_sandbox.container import Mount
from airut_sandbox.testing.containers import LIMITS, Bench

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]

APT = """
set -e
mkdir -p /tmp/pkg/DEBIAN /tmp/pkg/opt/tool /tmp/pkg/etc /tmp/repo; cd /tmp
printf 'Package: tool\\nVersion: 1\\nArchitecture: all\\nMaintainer: a\\nDescription: b\\n' > pkg/DEBIAN/control
cat > pkg/DEBIAN/postinst <<'END'
#!/bin/sh
set -e
useradd --system --create-home --shell /usr/sbin/nologin tool
install -d -o tool -g tool -m 2770 /var/lib/tool
install -o root -g tool -m 2755 /bin/true /opt/tool/setgid
install -o tool -g tool -m 4755 /bin/true /opt/tool/setuid
chown -R tool:tool /opt/tool; chmod 700 /opt/tool; ln -sf /opt/tool /usr/local/bin/tool; ldconfig
update-alternatives --install /usr/local/bin/t t /opt/tool/setgid 1
END
chmod 755 pkg/DEBIAN/postinst; echo /etc/tool.conf > pkg/DEBIAN/conffiles; echo x > pkg/etc/tool.conf
dpkg-deb --root-owner-group --build pkg repo/tool.deb
( dpkg-deb -f repo/tool.deb; echo "Filename: ./tool.deb"; echo "Size: $(stat -c %s repo/tool.deb)";
  echo "SHA256: $(sha256sum repo/tool.deb | cut -d' ' -f1)" ) > repo/Packages
rm -f /etc/apt/sources.list /etc/apt/sources.list.d/*; echo 'deb [trusted=yes] file:/tmp/repo ./' > /etc/apt/sources.list
apt-get update; apt-get install -y tool
test "$(stat -c '%U %a' /var/lib/tool)" = "tool 770"  # see docs/execution-sandbox.md: no CAP_FSETID
test "$(dpkg-query -W -f '${Status}' tool)" = "install ok installed"
apt-get purge -y tool; test ! -e /etc/tool.conf; dpkg --audit
setpriv --reuid=tool --regid=tool --init-groups id -un
echo worked
"""

PIP = """
set -e
PYTHON -m venv /workspace/venv; cd /workspace; mkdir -p w/demo-1.dist-info; echo 'WORD = "worked"' > w/demo.py
printf 'Metadata-Version: 2.1\\nName: demo\\nVersion: 1\\n' > w/demo-1.dist-info/METADATA
printf 'Wheel-Version: 1.0\\nGenerator: x\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n' > w/demo-1.dist-info/WHEEL
printf 'demo.py,,\\ndemo-1.dist-info/METADATA,,\\ndemo-1.dist-info/WHEEL,,\\ndemo-1.dist-info/RECORD,,\\n' > w/demo-1.dist-info/RECORD
cd w; PYTHON -c 'import shutil; shutil.make_archive("/workspace/x", "zip", ".")'; mv /workspace/x.zip /workspace/demo-1-py3-none-any.whl
/workspace/venv/bin/pip install --no-index /workspace/demo-1-py3-none-any.whl
/workspace/venv/bin/python -c 'import demo, multiprocessing; multiprocessing.Lock(); print(demo.WORD)'
"""

NPM = """
set -e
mkdir -p /workspace/dep /workspace/app; cd /workspace/dep
cat > package.json <<'END'
{"name": "dep", "version": "1.0.0", "bin": {"dep": "b.js"}, "scripts": {"postinstall": "node s.js"}}
END
echo 'require("fs").writeFileSync("made", "x")' > s.js
printf '#!/usr/bin/env node\\nconsole.log("worked")\\n' > b.js
npm pack --silent; cd ../app; echo '{"name": "app", "version": "1.0.0"}' > package.json
npm install --offline --no-audit --no-fund --foreground-scripts ../dep/dep-1.0.0.tgz
test -e node_modules/dep/made; npx --no-install dep
"""

CARGO = """
set -e
export RUSTUP_HOME CARGO_HOME=/workspace/cargo
cd /workspace; cargo new --quiet --vcs none --lib dep; cargo new --quiet --vcs none app; cd app
echo 'pub fn word() -> &'"'"'static str { "worked" }' > ../dep/src/lib.rs
echo 'fn main() { println!("{}", std::thread::spawn(dep::word).join().unwrap()) }' > src/main.rs
echo 'dep = { path = "../dep" }' >> Cargo.toml
cargo run --offline --quiet
"""


async def _run(bench: Bench, script: str, *shown: Path, **environment: str) -> str:
    mounts = [
        Mount(bench.workspace, "/workspace"),
        *(Mount(path, str(path), read_only=True) for path in shown),
    ]
    spec = bench.shell(
        script,
        mounts=mounts,
        environment={"HOME": "/root", **environment},
        limits=LIMITS.model_copy(update={"memory_mib": 1536}),
    )
    done, text = await bench.run(spec, timeout_seconds=180)
    assert done.code == 0, f"{text[-1500:]}\n{done.stderr_tail.decode()[-1500:]}"
    return text


async def test_row_77_apt_with_users_owners_and_special_modes(bench: Bench) -> None:
    """From a repository, so that apt's own unprivileged user reads it; update, install, purge."""
    assert (await _run(bench, APT)).splitlines()[-1] == "worked"


async def test_row_77_pip_in_a_virtual_environment(bench: Bench) -> None:
    text = await _run(bench, PIP.replace("PYTHON", sys.executable), Path("/usr"), *_python())
    assert text.splitlines()[-1] == "worked"


def _python() -> tuple[Path, ...]:
    """Where the interpreter of these tests lives, when that is not below /usr."""
    return tuple(
        {path for path in (Path(sys.base_prefix), Path(sys.prefix)) if not path.is_relative_to("/usr")}
    )


@pytest.mark.parametrize("program", [name for name in ("npm",) if shutil.which(name)])
async def test_row_77_npm_with_scripts(bench: Bench, program: str) -> None:
    assert (await _run(bench, NPM, Path("/usr"))).splitlines()[-1] == "worked", program


@pytest.mark.parametrize("program", [name for name in ("cargo",) if shutil.which(name)])
async def test_row_77_cargo_builds_links_and_runs(bench: Bench, program: str) -> None:
    cargo = Path(shutil.which(program) or program)
    shown = [path for path in (cargo.parents[1], Path.home() / ".rustup") if path.is_dir()]
    search = f"{cargo.parent}:/usr/bin:/bin"
    text = await _run(
        bench,
        CARGO,
        Path("/usr"),
        *shown,
        PATH=search,
        RUSTUP_HOME=str(Path.home() / ".rustup"),
        RUSTFLAGS="-Clinker=gcc",
    )
    assert text.splitlines()[-1] == "worked"
