"""The controller's side of verification: the packets that a topology expects to pass and to be dropped. Pure."""
