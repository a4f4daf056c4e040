"""For tests of every package: a real nats-server, and messages with pleasant defaults."""
