"""The facts of a host that the controller needs before it compiles a topology."""
