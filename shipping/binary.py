"""Makes the executable ``otus`` for a machine: ``python -m shipping.binary OUT WHEEL... [--machine aarch64]``.

In: wheels. Out: one file, the launcher with the folder of ``tree`` packed behind it (``launcher.c`` has the format).
"""

from __future__ import annotations

import argparse
import hashlib
import io
import lzma
import tarfile
import tempfile
from pathlib import Path

from shipping import tree
from shipping.machines import MACHINES, Machine, sysroot

MAGIC = b"OTUS-EXECUTABLE1"
FILTERS = [{"id": lzma.FILTER_LZMA2, "preset": 4, "dict_size": 32 << 20}]


def pack(folder: Path) -> bytes:
    """Give the folder as a compressed archive: the same folder makes the same bytes."""
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for path in sorted(folder.rglob("*")):
            entry = archive.gettarinfo(path, str(path.relative_to(folder)))
            entry.uid = entry.gid = entry.mtime = 0
            entry.uname = entry.gname = ""
            entry.mode = 0o755 if entry.isdir() or entry.mode & 0o100 else 0o644
            entry.type = tarfile.DIRTYPE if entry.isdir() else tarfile.REGTYPE  # no hard links
            with path.open("rb") if path.is_file() else io.BytesIO() as file:
                archive.addfile(entry, file)
    return lzma.compress(plain.getvalue(), lzma.FORMAT_XZ, check=lzma.CHECK_CRC32, filters=FILTERS)


def build(machine: Machine, wheels: list[Path], out: Path) -> Path:
    """Make the executable in a folder; gives the file."""
    with tempfile.TemporaryDirectory() as scratch:
        made = tree.build(machine, wheels, Path(scratch) / "tree")
        launcher = tree.compile_launcher(
            machine, sysroot(machine, tree.PYTHON), Path(scratch) / "launcher"
        ).read_bytes()
        archive = pack(made)
    digest = hashlib.sha256(archive).hexdigest()[:32].encode()
    out.mkdir(parents=True, exist_ok=True)
    file = out / f"otus-{machine.name}"
    file.write_bytes(launcher + archive + MAGIC + b"%016x" % len(launcher) + digest)
    file.chmod(0o755)
    print(f"{file}: {file.stat().st_size:,} bytes")
    return file


def main() -> None:
    """Build what the command line asks for."""
    parser = argparse.ArgumentParser(prog="shipping.binary", description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("wheels", type=Path, nargs="+")
    parser.add_argument("--machine", choices=list(MACHINES), required=True)
    given = parser.parse_args()
    build(MACHINES[given.machine], given.wheels, given.out)


if __name__ == "__main__":
    main()
