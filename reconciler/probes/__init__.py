"""Verification on a host: the worker sends the probes from inside the namespaces, listens for them, and says where one was lost.

`verify.expectations` compiles the list on the controller, `run` executes it in each worker, and `diagnose` names the hop at
fault.
"""
