from typing import final

from otus_core.decode.options import DecoderConfig
from otus_core.model.accounts import Accounts
from otus_core.model.packet import DecodedPacket

DECODE_REASONS: tuple[str, ...]
COUNTERS: tuple[str, ...]

@final
class Decoder:
    datagram: bytes | None
    def __init__(self, accounts: Accounts, options: DecoderConfig | None = None) -> None: ...
    def advance(self, now: int) -> None: ...
    def finish(self) -> None: ...
    def decode_one(
        self,
        frame: bytes,
        *,
        timestamp: int = 0,
        link_type: int = 1,
        orig_len: int | None = None,
        interface_index: int = 0,
    ) -> DecodedPacket | None: ...
