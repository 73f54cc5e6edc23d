"""What became of a batch that was sent once, from what the client library raised."""

from __future__ import annotations

import attrs
from aiokafka import errors


@attrs.frozen
class Outcome:
    """``reason`` is empty when the batch was acknowledged, else one of the reporter's failure reasons.

    ``again``: sending once more may help. ``unreached``: no broker can have seen it, so it does not count as an
    attempt. ``split``: refused for its size.
    """

    reason: str
    text: str = ""
    again: bool = True
    unreached: bool = True
    split: bool = False


SENT = Outcome("", again=False, unreached=False)

AMBIGUOUS = (
    TimeoutError,
    errors.RequestTimedOutError,
    errors.KafkaConnectionError,  # the connection ended while we waited for the answer
    errors.CorrelationIdError,
    errors.NotEnoughReplicasAfterAppendError,
)
UNREACHED = (
    errors.NodeNotReadyError,
    errors.NotLeaderForPartitionError,
    errors.LeaderNotAvailableError,
    errors.UnknownTopicOrPartitionError,
    errors.StaleMetadata,
    errors.KafkaTimeoutError,
    errors.ProducerClosed,
)
TOO_LARGE = (errors.MessageSizeTooLargeError, errors.RecordListTooLargeError, errors.RecordTooLargeError)
AUTH = (errors.TopicAuthorizationFailedError, errors.ClusterAuthorizationFailedError)


def judge(error: Exception) -> Outcome:
    """Tell what an exception means for the batch."""
    text = f"{type(error).__name__}: {error}"
    if isinstance(error, AUTH):
        return Outcome("auth", text, again=False, unreached=False)
    if isinstance(error, TOO_LARGE):
        return Outcome("too_large", text, again=False, unreached=False, split=True)
    if isinstance(error, UNREACHED):
        return Outcome("unavailable", text)
    if isinstance(error, AMBIGUOUS):
        return Outcome("ambiguous", text, unreached=False)
    if isinstance(error, errors.BrokerResponseError):
        return Outcome("refused", text, again=error.retriable, unreached=False)
    return Outcome("unavailable", text)
