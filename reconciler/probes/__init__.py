"""Verification on a host: the worker sends the probes from inside the namespaces, listens, and says where one is lost.

`verify.expectations` compiles the list on the controller, `run` executes it in each worker, `diagnose` names the hop at fault.
"""
