"""For tests and benchmarks: an upstream that records what it sees, and a sandbox without a container."""
