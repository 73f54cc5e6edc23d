"""What a task is: its configuration, checked, and what it inherits."""
