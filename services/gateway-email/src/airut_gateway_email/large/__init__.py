"""Large mails are taken apart in a process of their own, which may fail for want of memory or time."""
