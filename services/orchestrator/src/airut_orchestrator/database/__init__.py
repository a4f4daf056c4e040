"""Conversations, tasks and replies that wait to be published: one SQL database, one transaction per step."""
