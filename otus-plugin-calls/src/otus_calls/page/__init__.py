"""The page of ``otus report``: what is in it, and how it becomes one file."""
