"""`vxedit models`: the published models that have a short name."""

from __future__ import annotations

import json
from typing import Any

import click

from vxedit.cli.options import CONTEXT
from vxedit.cli.report import reporting

COLUMNS = ("name", "family", "made for", "disk", "memory", "licence", "hub")

LEGEND = (
    "made for: frames, width and height that the model was trained on; --size and --num-frames choose others. disk: "
    "all of its files. memory: one guided step at that size in bf16 with recomputed activations, the network alone, "
    "estimated from its published configuration; `-` where it isn't known. Any folder in these families' published "
    "layouts, and any hub id, can be given as --model too."
)


@click.command("models", context_settings={**CONTEXT, "auto_envvar_prefix": None})
@click.option("--json", "as_json", is_flag=True, help="Print them as JSON.")
def command(as_json: bool) -> None:
    """List the models that --model knows by a short name."""
    with reporting(verbosity=0):
        rows = table()
        if as_json:
            click.echo(json.dumps(rows, indent=2))
            return
        cells = [COLUMNS, *(tuple(_shown(row)) for row in rows)]
        widths = [max(len(line[k]) for line in cells) for k in range(len(COLUMNS))]
        for line in cells:
            click.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
        click.echo(f"\n{LEGEND}")


def table() -> list[dict[str, Any]]:
    """A row a model: its names and figures, sizes in 10^9 bytes."""
    from vxedit.backbones.families import FAMILIES
    from vxedit.backbones.registry import outline

    own = outline("embedded")
    embedded = {
        "name": "embedded",
        "family": "ModelScope's, small",
        "frames": own.native.frames,
        "width": own.native.width,
        "height": own.native.height,
        "disk_gb": round(sum(own.layout.bytes(part) for part in own.layout.weights) / 1e9, 2),
        "memory_gb": None,
        "licence": "MIT",
        "hub": [],
    }
    known = [
        {
            "name": one.name,
            "family": family.title,
            "frames": one.native.frames,
            "width": one.native.width,
            "height": one.native.height,
            "disk_gb": one.disk_gb,
            "memory_gb": one.memory_gb,
            "licence": one.licence,
            "hub": list(dict.fromkeys(one.sources.values())),
        }
        for family in FAMILIES
        for one in family.known
    ]
    return [embedded, *known]


def _shown(row: dict[str, Any]) -> list[str]:
    size = f"{row['frames']} x {row['width']}x{row['height']}"
    memory = "-" if row["memory_gb"] is None else f"{row['memory_gb']:g} GB"
    hub = " + ".join(row["hub"]) or "in the package"
    return [row["name"], row["family"], size, f"{row['disk_gb']:g} GB", memory, row["licence"], hub]
