"""Verification on a host: its worker sends probes inside the namespaces, listens for them, and finds where one was lost.

`verify.expectations` compiles the list on the controller, `run` executes it in each worker, and `diagnose` names the
faulty hop.
"""
