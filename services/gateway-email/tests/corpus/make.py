"""Writes the corpus: `python make.py`; with `--check` it only tells whether the files are what it would write."""

import json
import sys
from dataclasses import asdict
from pathlib import Path

import alignment
import arc
import author
import form
import header
import signatures
import sound
import spf
import text
from world import HERE, NOW, Case, zone

MODULES = (sound, text, author, form, signatures, alignment, spf, arc, header)


def files() -> dict[Path, bytes]:
    """Every file of the corpus with its bytes."""
    written: dict[Path, bytes] = {}
    index = {}
    for module in MODULES:
        for case in module.CASES:
            name = f"{module.__name__}-{case.name}"
            if name in index:
                raise ValueError(f"{name} is there twice")
            written[HERE / "messages" / f"{name}.eml"] = case.data
            index[name] = _entry(case)
    written[HERE / "corpus.json"] = _json({"now": NOW.isoformat(), "cases": index})
    written[HERE / "zone.json"] = _json(zone())
    return written


def _entry(case: Case) -> dict[str, object]:
    return {key: value for key, value in asdict(case).items() if key not in ("name", "data")}


def _json(value: object) -> bytes:
    return (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode()


def main() -> int:
    """0: the files are as they should be."""
    wanted = files()
    there = set((HERE / "messages").glob("*"))
    if "--check" in sys.argv:
        wrong = [path for path, data in wanted.items() if not path.exists() or path.read_bytes() != data]
        wrong += sorted(there - set(wanted))
        print("\n".join(map(str, wrong)))
        return bool(wrong)
    (HERE / "messages").mkdir(exist_ok=True)
    for path in there - set(wanted):
        path.unlink()
    for path, data in wanted.items():
        path.write_bytes(data)
    print(f"{len(wanted) - 2} messages")
    return 0


if __name__ == "__main__":
    sys.exit(main())
