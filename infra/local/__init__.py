"""The embedded cloud: starts it, deploys to it, stops it."""
