from typing import final

from otus_calls.replay import Outcome

CALLER: str
CALLEE: str

@final
class Session:
    def listens(self, side: str) -> set[tuple[str, int]]: ...

def session_of(outcome: Outcome) -> Session: ...
