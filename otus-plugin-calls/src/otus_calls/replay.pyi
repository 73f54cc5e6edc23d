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
    first: Note
    invite: Note | None
    final: Note | None
    challenge: Note | None
    accepted: Note | None
    bye_note: Note | None
    caller: tuple[str, int]
    notes: list[Note]
    @property
    def state(self) -> str: ...
