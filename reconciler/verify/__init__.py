"""The controller's side of verification: which packets a topology expects to pass and to be dropped. Pure."""
