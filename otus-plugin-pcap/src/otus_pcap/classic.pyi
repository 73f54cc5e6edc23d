from typing import final

from otus_pcap.chunk import Chunk
from otus_pcap.select import Selection

@final
class PcapWalker:
    begun: bool
    link_type: int
    def __init__(self, chunk: Chunk, selection: Selection) -> None: ...
    @property
    def fault(self) -> tuple[str, int] | None: ...
    def walk(self) -> None: ...
    def end(self) -> None: ...
