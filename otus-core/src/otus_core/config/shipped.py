"""The configuration file that is shipped, and its schema: both made from the definitions in ``daemon.py``."""

from __future__ import annotations

from typing import Any

from otus_core.config.effective import ROOT
from otus_core.config.sample import sample
from otus_core.config.schema import object_schema
from otus_core.config.sections import Sections

HEAD = """\
# The configuration of `otus daemon`: every key, with its default. Remove what you do not change.
#
# Each key can be overridden by an environment variable: OTUS_ and its path in upper case, OTUS_LOG_LEVEL=debug.
# `otus validate -f FILE` checks a file; `otus schema config` is for editors. Printed by `otus config sample`.

"""


def shipped_config(sections: Sections) -> str:
    """Give the commented YAML with the sections of these plugins; reading it gives the defaults."""
    return f"{HEAD}{ROOT}:\n{sample(sections.config_class(), 2)}"


def config_schema(sections: Sections) -> dict[str, Any]:
    """Give the JSON Schema (draft 2020-12) of a configuration file with the sections of these plugins."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Otus daemon configuration",
        "type": "object",
        "properties": {ROOT: object_schema(sections.config_class())},
        "required": [ROOT],
        "additionalProperties": False,
    }
