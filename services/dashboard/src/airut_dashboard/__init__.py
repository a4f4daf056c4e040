"""Live web view of tasks, conversations and network decisions, and the JSON API behind it."""
