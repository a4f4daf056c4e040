"""Mail in, mail out: SMTP ingress, sender authentication, MIME and threading."""
