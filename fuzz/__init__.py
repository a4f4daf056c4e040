"""Coverage-guided fuzzing of the pure decisions: `make fuzz`."""
