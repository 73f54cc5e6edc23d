"""A task: assembled from its configuration, run by workers, watched by a supervisor."""
