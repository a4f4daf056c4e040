"""For tests: a mail server that keeps what it gets; signed mails and zones come from `airut_mail_auth.testing`."""
