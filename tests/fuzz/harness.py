"""Runs a fuzz target: under atheris with ``--fuzz``, else over its seeds, their prefixes and random mutations."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterator, Sequence

MUTATIONS = 20_000
INTERESTING = (0, 1, 7, 8, 0x3F, 0x40, 0x7F, 0x80, 0xFE, 0xFF)


def run(one_input: Callable[[bytes], None], seeds: Sequence[bytes], argv: Sequence[str] | None = None) -> None:
    """Run ``one_input``; further arguments after ``--fuzz`` are libFuzzer's."""
    arguments = list(sys.argv if argv is None else argv)
    if "--fuzz" in arguments:
        arguments.remove("--fuzz")
        fuzz(one_input, arguments)
    else:
        print(f"{walk(one_input, seeds)} inputs, none of them did harm")


def fuzz(one_input: Callable[[bytes], None], arguments: list[str]) -> None:
    """Hand over to atheris; does not return."""
    try:
        import atheris
    except ImportError:
        sys.exit("atheris is not installed: pip install atheris")
    atheris.Setup(arguments, one_input)
    atheris.Fuzz()


def walk(one_input: Callable[[bytes], None], seeds: Sequence[bytes], mutations: int = MUTATIONS, seed: int = 1) -> int:
    """Run the seeds, every prefix of each, and ``mutations`` mutated seeds; gives the number of inputs."""
    inputs = 0
    for data in seeds:
        for length in range(len(data) + 1):
            one_input(data[:length])
            inputs += 1
    chance = random.Random(seed)
    for _ in range(mutations):
        one_input(mutate(chance.choice(seeds), chance, seeds))
    return inputs + mutations


def forever(seeds: Sequence[bytes], seed: int | None = None) -> Iterator[bytes]:
    """Give the seeds, every prefix of each, and then mutated seeds without end."""
    for data in seeds:
        for length in range(len(data) + 1):
            yield data[:length]
    chance = random.Random(seed)
    while True:
        yield mutate(chance.choice(seeds), chance, seeds)


def mutate(data: bytes, chance: random.Random, others: Sequence[bytes]) -> bytes:
    """Change, insert, remove or splice at a few places."""
    changed = bytearray(data)
    for _ in range(chance.randrange(1, 5)):
        at = chance.randrange(len(changed) + 1)
        kind = chance.randrange(4)
        if kind == 0 and at < len(changed):
            changed[at] = chance.choice(INTERESTING) if chance.random() < 0.5 else chance.randrange(256)
        elif kind == 1:
            changed[at:at] = chance.randbytes(chance.randrange(1, 9))
        elif kind == 2:
            del changed[at : at + chance.randrange(1, 9)]
        else:
            other = chance.choice(others)
            changed[at:] = other[chance.randrange(len(other) + 1) :]
    return bytes(changed)
