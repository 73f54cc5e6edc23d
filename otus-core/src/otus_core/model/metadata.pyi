from collections.abc import Mapping
from typing import final

FIELDS_MAX: int
FIELD_TEXT_MAX: int

@final
class FrameMetadata:
    fields: Mapping[str, str]
    def __init__(self, fields: Mapping[str, str]) -> None: ...
