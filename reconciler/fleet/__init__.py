"""Hosts, from the controller's side: a session with a worker on each, and the fleet that moves them in step."""
