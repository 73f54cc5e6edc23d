from collections.abc import Iterable

from typing_extensions import disjoint_base

from otus_core.model.accounts import Accounts
from otus_core.stream.framer import Framer
from otus_core.stream.options import StreamsConfig

OUTCOMES: tuple[str, ...]

@disjoint_base
class Cutter:
    framers: tuple[Framer, ...]
    def __init__(self, accounts: Accounts, options: StreamsConfig, framers: Iterable[Framer]) -> None: ...
