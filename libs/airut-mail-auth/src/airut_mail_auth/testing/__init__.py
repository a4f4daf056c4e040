"""For tests: a small DNS server with zones of one's choice, and mails signed with DKIM and ARC."""
