from collections.abc import Mapping, Sequence
from typing import final

from otus_core import OutputPacket
from otus_kafka.lanes import Lanes, Ticket
from otus_kafka.settings import KafkaReporterConfig

def partition_hash(key: bytes) -> int: ...

@final
class Encoder:
    def __init__(
        self, config: KafkaReporterConfig, call_labels: Mapping[str, str], schemas: Mapping[str, str]
    ) -> None: ...
    def place(self, batch: Sequence[OutputPacket], lanes: Lanes, ticket: Ticket, places: Sequence[int]) -> None: ...
