"""Supervision: tasks are kept on disk, started, watched, started again, replaced and ended."""
