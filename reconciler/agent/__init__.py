"""The agent: a process that keeps the hosts of a file as the file says, from start to end.

    hint -> quiet -> read -> plan -> apply -> read again

`loop` waits for hints and runs cycles; `cycle` is one reading, and one repair if something differs. When to read (`timing`),
what may be repaired (`withhold`) and what is contested (`contest`) are pure. `state` has the files by which other commands
see the agent.
"""
