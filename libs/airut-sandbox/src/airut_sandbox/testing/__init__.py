"""Help for tests: an unprivileged user, a base image, probes that run inside."""
