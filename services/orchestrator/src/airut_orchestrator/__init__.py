"""Claims tasks, keeps conversations, runs the agent in a sandbox and hands back the result."""
