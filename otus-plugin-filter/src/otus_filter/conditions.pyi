from collections.abc import Callable, Iterable
from typing import final

from typing_extensions import disjoint_base

from otus_core import OutputPacket
from otus_filter.operands import Operand

@disjoint_base
class Condition: ...

@final
class LabelIs(Condition):
    def __init__(self, name: str, text: str) -> None: ...

@final
class Comparison(Condition):
    def __init__(self, left: Operand, sign: str, right: Operand) -> None: ...

@final
class Part(Condition):
    def __init__(self, left: Operand, side: str, right: Operand) -> None: ...

@final
class Tested(Condition):
    def __init__(self, left: Operand, test: Callable[[str], bool]) -> None: ...

@final
class Among(Condition):
    def __init__(self, left: Operand, values: frozenset[object], absent: bool = False) -> None: ...

@final
class Network:
    def __init__(self, mask: bytes, base: bytes) -> None: ...

@final
class Within(Condition):
    def __init__(self, left: Operand, networks: Iterable[Network]) -> None: ...

@final
class Negation(Condition):
    def __init__(self, operand: Condition) -> None: ...

@final
class AllOf(Condition):
    def __init__(self, operands: Iterable[Condition]) -> None: ...

@final
class AnyOf(Condition):
    def __init__(self, operands: Iterable[Condition]) -> None: ...

@final
class Verdict:
    def __init__(self, condition: Condition, keep: bool) -> None: ...

@final
class Verdicts:
    def __init__(self, verdicts: Iterable[Verdict], default: bool) -> None: ...
    def process(self, output: OutputPacket) -> bool: ...
