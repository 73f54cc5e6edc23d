"""Log events, and where they go."""
