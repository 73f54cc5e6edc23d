from collections.abc import Iterable
from typing import final

from otus_core.model.accounts import Accounts
from otus_core.stream.cutter import Cutter
from otus_core.stream.framer import Framer
from otus_core.stream.options import StreamsConfig

COUNTERS: tuple[str, ...]

@final
class Streams(Cutter):
    def __init__(self, accounts: Accounts, options: StreamsConfig, framers: Iterable[Framer]) -> None: ...
    def __len__(self) -> int: ...
    @property
    def bytes_held(self) -> int: ...
