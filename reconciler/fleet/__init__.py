"""The controller's side of the hosts: a session with a worker on each, and the fleet that runs an apply on all of them."""
