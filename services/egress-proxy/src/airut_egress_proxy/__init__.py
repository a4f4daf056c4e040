"""The only way out of a sandbox: opens sessions, attaches sockets, publishes one event per request."""
