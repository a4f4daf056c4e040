"""The way in by SMTP: who may connect, and what a session may do."""
