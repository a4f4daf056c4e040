"""Sandbox mechanics: images, workspaces, containers, agents and the network attachment."""
