"""Contracts, bus, configuration, sealed secrets, lifecycle and logging shared by every Airut service."""
