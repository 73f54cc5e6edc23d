from collections.abc import Iterable
from typing import Literal

from otus_core.model.output import OutputPacket

def encode_json(output: OutputPacket, timestamp: Literal["ms", "rfc3339"] = "ms") -> bytes: ...
def encode_json_lines(
    outputs: Iterable[OutputPacket], timestamp: Literal["ms", "rfc3339"] = "ms", schemas: dict[str, str] | None = None
) -> bytes: ...
def encode_payload(output: OutputPacket) -> bytes: ...
