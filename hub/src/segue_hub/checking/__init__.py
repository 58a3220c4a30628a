"""Checking of plans: YAML files in, a compiled document or problems with file, line, column, cause and cure out.

Owns everything that reads plan text. The only room that knows the CEL library.
"""
