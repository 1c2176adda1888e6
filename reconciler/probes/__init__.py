"""Verification: what a topology promises and forbids, as probes, and the running of them from inside the namespaces.

`plan.compile_probes` makes the list (pure, on the controller), `run` executes it in each worker, `diagnose` says which hop
is at fault where a probe finds something else than was expected.
"""
