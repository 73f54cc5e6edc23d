"""A worker: one pipeline, built, started and run, in a process of its own or in that of ``otus run``."""
