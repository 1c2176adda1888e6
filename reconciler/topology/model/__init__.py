"""The shape of a topology file, version 1: every key, its type, its default and what it means.

`load` validates the parsed YAML with it, `checks` looks across it, and `schema` makes the JSON Schema from it, which takes
its descriptions from here. Types are strict: a number is never taken for text. A short form is spelled out into its long
form before the long form is validated, so that there is one path for both.
"""
