"""The egress engine: network policy, DNS answers, interception and credential substitution for sandboxes."""
