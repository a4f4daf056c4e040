"""Real servers for tests: git over HTTPS, an npm registry. Free ports on loopback, their own CA."""
