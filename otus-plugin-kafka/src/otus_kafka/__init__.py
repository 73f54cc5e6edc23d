"""Otus and Kafka: the reporter ``kafka``, the command channel ``kafka`` and the ``otus fleet`` commands."""

__version__ = "0.1.0"
