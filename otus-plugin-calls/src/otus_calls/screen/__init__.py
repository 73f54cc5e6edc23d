"""The screen of ``otus calls --watch``."""
