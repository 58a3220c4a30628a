"""Generates sdk/src/segue/v1 from protos/segue/v1; with --check, proves that what is checked in is fresh."""

from __future__ import annotations

import filecmp
import sys
import tempfile
from pathlib import Path

from grpc_tools import protoc

ROOT = Path(__file__).resolve().parent
TARGET = ROOT.parent / "sdk" / "src"
HEAD = '"""Generated from protos/segue/v1 by `make protos`; never edited."""\n'


def generate(target: Path) -> None:
    """Writes the package `segue.v1` below `target`."""
    files = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "segue" / "v1").glob("*.proto"))
    plugin = Path(sys.prefix) / "bin" / "protoc-gen-mypy"
    arguments = [
        "",
        f"--plugin=protoc-gen-mypy={plugin}",
        f"-I{ROOT}",
        f"--python_out={target}",
        f"--grpc_python_out={target}",
        f"--mypy_out=quiet:{target}",
    ]
    if protoc.main([*arguments, *files]) != 0:
        sys.exit("protoc failed")
    package = target / "segue" / "v1"
    (package / "__init__.py").write_text(HEAD)
    for path in package.glob("*_grpc.py"):
        if "service" not in path.name and "sync" not in path.name and "context" not in path.name:
            path.unlink()


def main() -> int:
    if "--check" not in sys.argv:
        TARGET.joinpath("segue", "v1").mkdir(parents=True, exist_ok=True)
        generate(TARGET)
        return 0
    with tempfile.TemporaryDirectory() as folder:
        generate(Path(folder))
        fresh, kept = Path(folder) / "segue" / "v1", TARGET / "segue" / "v1"
        names = sorted({p.name for p in fresh.glob("*.py*")} | {p.name for p in kept.glob("*.py*")})
        stale = filecmp.cmpfiles(fresh, kept, names, shallow=False)
        if stale[1] or stale[2]:
            print("generated code is not fresh, run `make protos`:", ", ".join(stale[1] + stale[2]))
            return 1
    print(f"generated code is fresh ({len(names)} files)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
