"""schemas/status.schema.json: the JSON Schema of `status --json`. `python -m reconciler.render.schema` writes it.

It follows from the dataclasses of `render.status` by the same rules as the plan's; a test keeps the file in step.
"""

from __future__ import annotations

import json
from pathlib import Path

from reconciler.plan.schema import json_schema
from reconciler.render.status import StatusDocument

SCHEMA_PATH = Path("schemas/status.schema.json")


def render_schema() -> str:
    """The schema's text."""
    return json.dumps(json_schema(StatusDocument, "netctl status --json"), indent=2) + "\n"


if __name__ == "__main__":
    SCHEMA_PATH.write_text(render_schema(), encoding="utf-8")
