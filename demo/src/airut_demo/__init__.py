"""A small local world with real protocols, and the main job run through it."""
