"""Engines in processes of their own: one for each core, and sandboxes spread over them."""
