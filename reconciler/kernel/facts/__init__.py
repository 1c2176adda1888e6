"""What the controller must know of a host before it compiles a topology."""
