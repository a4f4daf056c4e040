"""For tests: a small DNS server with zones of one's choice, signed mails, and a mail server that keeps what it gets."""
