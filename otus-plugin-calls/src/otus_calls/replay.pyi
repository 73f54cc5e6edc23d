from typing import final

from otus_calls.note import Note

@final
class Outcome:
    start: int
    ring: int
    early: int
    answer: int
    ack: int
    end: int
    last: int
    cancel: int
    bye: int
    bye_answered: int
    attempt: int
    reply: int
    invite_ok_repeated: int
    state_number: int
    attempts: int
    challenges: int
    reinvites: int
    retransmissions: int
    duplicates: int
    post_bye: int
    partial: bool
    bye_by_caller: bool
    final_status: int
    @property
    def first(self) -> Note: ...
    @property
    def invite(self) -> Note | None: ...
    @property
    def final(self) -> Note | None: ...
    @property
    def challenge(self) -> Note | None: ...
    @property
    def accepted(self) -> Note | None: ...
    @property
    def bye_note(self) -> Note | None: ...
    @property
    def caller(self) -> tuple[str, int]: ...
    @property
    def notes(self) -> list[Note]: ...
    @property
    def state(self) -> str: ...
