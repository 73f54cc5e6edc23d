from typing import final

from otus_core.decode.options import ReassemblyConfig
from otus_core.model.accounts import Accounts

OUTCOMES: tuple[str, ...]

@final
class Reassembly:
    datagram: bytes | None
    def __init__(self, accounts: Accounts, options: ReassemblyConfig) -> None: ...
