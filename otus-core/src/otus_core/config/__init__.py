"""Configuration: one definition of each field serves validation, JSON Schema, the commented sample and
the reference.
"""
