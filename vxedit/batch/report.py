"""report.html: every job with its picture, figures and fate, in one file that needs no server and runs no script."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from urllib.parse import quote

from vxedit.batch.estimate import spoken
from vxedit.batch.log import Entry
from vxedit.batch.row import Fault
from vxedit.batch.task import Task
from vxedit.io.atomic import write_bytes

NAME = "report.html"

MOST_THUMBNAILS = 2000
"""More would make a file that no browser opens; jobs beyond have a link to their picture."""

WIDTH = 360
"""Of a thumbnail, in pixels."""

_STYLE = """
body { font: 14px/1.4 system-ui, sans-serif; margin: 2em; color: #222; background: #fff; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: .4em .8em; border-bottom: 1px solid #ddd;
         overflow-wrap: anywhere; }
td.figures { white-space: nowrap; font-variant-numeric: tabular-nums; }
.done { color: #176b2c; } .failed { color: #b00020; } .open { color: #777; }
img { max-width: 360px; height: auto; display: block; }
"""


def write_report(out: Path, tasks: Sequence[Task], last: Mapping[str, Entry], passed: Sequence[Fault] = ()) -> Path:
    """Write the report of a batch into its folder and give its path. Failures come first. Raises OutputError."""
    order = {"failed": 0, "open": 1, "done": 2}
    fates = {task.id: fate(last.get(task.id)) for task in tasks}
    rows, shown = [], 0
    for task in sorted(tasks, key=lambda task: order[fates[task.id]]):
        picture = None
        if fates[task.id] == "done" and shown < MOST_THUMBNAILS:
            picture, shown = thumbnail((out / task.id).with_suffix(".png")), shown + 1
        rows.append(_row(task, last.get(task.id), fates[task.id], picture))
    counts = {name: sum(one == name for one in fates.values()) for name in order}
    spent = sum(last[task.id].seconds for task in tasks if fates[task.id] == "done")
    left_out = "".join(f"<li>{escape(str(one))}</li>" for one in passed)
    text = (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>vxedit-batch</title>'
        '<meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'\">"
        f"<style>{_STYLE}</style></head><body>\n<h1>{escape(out.absolute().name)}</h1>\n"
        f"<p>{len(tasks)} jobs: {counts['done']} done, {counts['failed']} failed, {counts['open']} not finished. "
        f"{escape(spoken(spent))} of work.</p>\n"
        "<table><thead><tr><th>result</th><th>fate</th><th>figures</th><th>before, path, after</th></tr></thead>\n"
        f"<tbody>\n{''.join(rows)}</tbody></table>\n"
        + (f"<h2>Passed over</h2><ul>{left_out}</ul>\n" if left_out else "")
        + "</body></html>\n"
    )
    write_bytes(out / NAME, text.encode(errors="xmlcharrefreplace"), overwrite=True)
    return out / NAME


def fate(entry: Entry | None) -> str:
    """done, failed, or open: not begun, or begun and neither."""
    return entry.state if entry is not None and entry.state in ("done", "failed") else "open"


def thumbnail(picture: Path) -> str | None:
    """A picture made small, as a data URI; None where it can't be read."""
    import cv2
    import numpy as np

    try:
        data = np.frombuffer(picture.read_bytes(), np.uint8)
    except OSError:
        return None
    image = cv2.imdecode(data, cv2.IMREAD_COLOR) if len(data) else None
    if image is None:
        return None
    height, width = image.shape[:2]
    if width > WIDTH:
        image = cv2.resize(image, (WIDTH, max(1, height * WIDTH // width)), interpolation=cv2.INTER_AREA)
    kept, small = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 70])
    return f"data:image/jpeg;base64,{base64.b64encode(small.tobytes()).decode()}" if kept else None


def _row(task: Task, entry: Entry | None, fated: str, picture: str | None) -> str:
    objects = "; ".join(f"{one.obj}: {one.path}" for one in task.job.objects)
    name = f"<b>{_link(task.id, task.id) if fated == 'done' else escape(task.id)}</b>"
    name += f"<br>{escape(task.where)}<br>{escape(objects)}"
    said = f'<span class="{fated}">{ {"open": "not finished"}.get(fated, fated) }</span>'
    figures = ""
    if entry is not None and fated == "failed":
        said += f"<br>{escape(entry.error)}"
    if entry is not None and fated == "done":
        said += f"<br>{entry.seconds:.1f} s, seed {task.job.edit.seed}"
        said += "".join(f"<br>{escape(one)}" for one in entry.warnings)
        figures = "<br>".join(f"{escape(key)} {value:.4g}" for key, value in entry.figures.items())
        figures += "<br>" + _link(str(Path(task.id).with_suffix(".json")), "record")
    shown = f'<img alt="" src="{picture}">' if picture else ""
    return f'<tr><td>{name}</td><td>{said}</td><td class="figures">{figures}</td><td>{shown}</td></tr>\n'


def _link(name: str, shown: str) -> str:
    # "./": a name such as "javascript:x" must be a file's
    return f'<a href="./{quote(name, errors="surrogateescape")}">{escape(shown)}</a>'
