"""A small local world that speaks real protocols: DNS, SMTP, git over HTTPS, the Messages API over HTTPS."""
