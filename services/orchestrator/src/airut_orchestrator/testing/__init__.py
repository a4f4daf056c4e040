"""What tests of several packages need of the orchestrator."""
