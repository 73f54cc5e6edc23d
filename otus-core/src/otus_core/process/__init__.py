"""Processes: how Otus starts them, talks with them, and takes from them what they do not need."""
