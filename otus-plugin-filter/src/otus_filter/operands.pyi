from typing import final

from typing_extensions import disjoint_base

@disjoint_base
class Operand: ...

@final
class Constant(Operand):
    def __init__(self, value: object) -> None: ...

@final
class Label(Operand):
    def __init__(self, name: str, kind: str) -> None: ...

@final
class OutputField(Operand):
    def __init__(self, name: str) -> None: ...

@final
class AddressText(Operand):
    def __init__(self, name: str) -> None: ...

@final
class Header(Operand):
    def __init__(self, payload_type: str, name: str, kind: str) -> None: ...

@final
class Body(Operand): ...

@final
class PackedAddress(Operand):
    def __init__(self, name: str) -> None: ...
