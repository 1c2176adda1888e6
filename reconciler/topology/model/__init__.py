"""The shape of a topology file, version 1: every key, its type, its default and its meaning.

`load` validates the parsed YAML with it, `checks` compares its parts, and `schema` generates the JSON Schema from it,
with its descriptions. Types are strict: a number is never accepted as text. A short form is expanded into its long form
before validation, so that both take one path.
"""
