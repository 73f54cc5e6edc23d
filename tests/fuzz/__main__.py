"""Fuzzes the compiled modules in a sanitizer build: ``nox -s fuzz -- [SECONDS] [TARGET ...]``, or ``python -m
tests.fuzz``.

AddressSanitizer and UndefinedBehaviorSanitizer are compiled into a copy of the sources, so that a read beyond a frame
ends the process instead of going unnoticed. Each target runs its seeds, all their prefixes, and mutations for the given
time (default 30 seconds each). Exit status 1 when one did harm; the input that it was given is kept in ``.cache/fuzz``.
"""

from __future__ import annotations

import importlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
SCRATCH = ROOT / ".cache" / "fuzz"
FLAGS = "-O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=undefined"
SECONDS = 30
TARGETS = tuple(sorted(path.stem for path in Path(__file__).parent.glob("*_target.py")))


def build() -> list[Path]:
    """Compile a copy of every distribution that has compiled parts; gives all source folders, the copies first."""
    folders = []
    for setup in sorted(ROOT.glob("otus-*/pyproject.toml")):
        source = setup.parent
        copy = SCRATCH / source.name
        ignored = shutil.ignore_patterns("*.so", "*.c", "build", "__pycache__", "*.egg-info")
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(source, copy, ignore=ignored)
        folders.append(copy / "src")
    environment = {**os.environ, "CFLAGS": FLAGS, "LDFLAGS": "-fsanitize=address,undefined"}
    for folder in folders:
        if not (folder.parent / "setup.py").exists():
            continue
        paths = os.pathsep.join(map(str, folders))
        command = [sys.executable, "setup.py", "-q", "build_ext", "--inplace", "-j2"]
        subprocess.run(command, cwd=folder.parent, env={**environment, "PYTHONPATH": paths}, check=True)
    return folders


def library(name: str) -> str:
    """Give the path of a sanitizer's runtime."""
    done = subprocess.run(["gcc", f"-print-file-name={name}"], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def fuzz(target: str, folders: list[Path], seconds: float) -> bool:
    """Run one target in a process of its own; says whether it did no harm."""
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([*map(str, folders), str(ROOT)]),
        "PYTHONMALLOC": "malloc",  # so that the sanitizer sees every object's bounds
        "LD_PRELOAD": f"{library('libasan.so')} {library('libubsan.so')}",
        "ASAN_OPTIONS": "detect_leaks=0:abort_on_error=1",
        "UBSAN_OPTIONS": "print_stacktrace=1",
    }
    kept = SCRATCH / f"{target}.last"
    command = [sys.executable, "-X", "faulthandler", "-m", "tests.fuzz", "--run", target, str(seconds), str(kept)]
    return subprocess.run(command, env=environment, cwd=ROOT, check=False).returncode == 0


def run_here(target: str, seconds: float, kept: Path) -> None:
    """Be the process of one target: mutate until the time is over; the input at hand is in ``kept`` when
    it does harm.
    """
    from tests.fuzz.harness import forever

    module = importlib.import_module(f"tests.fuzz.{target}")
    decoder = importlib.import_module("otus_core.decode.decoder")
    assert Path(str(decoder.__file__)).is_relative_to(SCRATCH), "not the sanitizer build"
    begun, inputs = time.monotonic(), 0
    with kept.open("w+b", buffering=0) as file:
        for data in forever(module.seeds()):
            file.seek(0)
            file.truncate()
            file.write(data)
            module.one_input(data)
            inputs += 1
            if time.monotonic() - begun > seconds:
                break
    kept.unlink()
    print(f"{target:<20} {inputs:>9,} inputs in {seconds:.0f} s, none of them did harm", flush=True)


def main(arguments: list[str]) -> int:
    """Build and run; gives the exit status."""
    if arguments[:1] == ["--run"]:
        run_here(arguments[1], float(arguments[2]), Path(arguments[3]))
        return 0
    seconds = float(arguments.pop(0)) if arguments and arguments[0].replace(".", "").isdigit() else SECONDS
    wanted = arguments or list(TARGETS)
    unknown = [name for name in wanted if name not in TARGETS]
    if unknown:
        print(f"there is no target {', '.join(unknown)}; there are {', '.join(TARGETS)}", file=sys.stderr)
        return 2
    SCRATCH.mkdir(parents=True, exist_ok=True)
    folders = build()
    failed = [target for target in wanted if not fuzz(target, folders, seconds)]
    for target in failed:
        print(f"{target} did harm; its last input: {SCRATCH / (target + '.last')}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
