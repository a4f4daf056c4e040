"""One package for pip and one for npm, made here; the same bytes each time."""

import functools
import io
import json
import tarfile
import zipfile


@functools.cache
def wheel() -> bytes:
    """`airut_demo-1.0-py3-none-any.whl` (PyPA binary distribution format)."""
    about = "airut_demo-1.0.dist-info"
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        archive.writestr("airut_demo.py", "SAID = 'from the wheel'\n")
        archive.writestr(f"{about}/METADATA", "Metadata-Version: 2.1\nName: airut-demo\nVersion: 1.0\n")
        archive.writestr(
            f"{about}/WHEEL",
            "Wheel-Version: 1.0\nGenerator: demo\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        )
        archive.writestr(f"{about}/RECORD", "")
    return data.getvalue()


@functools.cache
def npm_package() -> bytes:
    """The archive of `@airut/demo` 1.0.0."""
    about = {"name": "@airut/demo", "version": "1.0.0", "main": "index.js"}
    files = {"package.json": json.dumps(about), "index.js": "module.exports = 'from the tarball';\n"}
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:gz") as archive:
        for name, text in files.items():
            member = tarfile.TarInfo(f"package/{name}")
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text.encode()))
    return data.getvalue()
