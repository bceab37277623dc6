"""The report shows every job's fate, escapes what it shows, and needs nothing but itself."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np

from tests.batch.stub import tasks
from vxedit.batch.log import Entry
from vxedit.batch.report import WIDTH, thumbnail, write_report
from vxedit.batch.row import Fault

NASTY = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>&amp;"


class Page(HTMLParser):
    """The tags and the text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words += data


def test_fates_figures_and_failures(out: Path, tmp_path: Path) -> None:
    given = tasks(tmp_path / "clips", out, ["ball", "bad", "ball"])
    cv2.imwrite(str(out / "a00-edit.png"), np.full((64, 2 * WIDTH, 3), 200, np.uint8))
    done = Entry(given[0].id, "done", seconds=90.0, figures={"miou": 0.8765}, warnings=("too near",))
    last = {given[0].id: done, given[1].id: Entry(given[1].id, "failed", error="it is no video")}
    report = write_report(out, given, last, [Fault("c.mp4", "its caption doesn't name it")])
    page = Page(report.read_text())
    assert "3 jobs: 1 done, 1 failed, 1 not finished" in page.words and "1 min 30 s of work" in page.words
    for words in ("it is no video", "miou 0.8765", "too near", "c.mp4: its caption doesn't name it", "jobs.csv:3"):
        assert words in page.words
    links = [attrs["href"] for tag, attrs in page.tags if tag == "a"]
    assert links == ["./a00-edit.mp4", "./a00-edit.json"]
    images = [attrs["src"] or "" for tag, attrs in page.tags if tag == "img"]
    assert len(images) == 1 and images[0].startswith("data:image/jpeg;base64,")
    assert page.words.index("it is no video") < page.words.index("miou"), "failures come first"


def test_what_it_shows_is_escaped(out: Path, tmp_path: Path) -> None:
    (task,) = tasks(tmp_path / "clips", out, ["ball"])
    name = "javascript:x" + NASTY.replace("/", "") + "\n.mp4"
    nasty = replace(task, id=name, where=NASTY, job=replace(task.job, obj=NASTY, path=NASTY))
    for state in ("done", "failed"):
        entry = Entry(name, state, error=NASTY, warnings=(NASTY,), figures={NASTY: 1.0})
        page = Page(write_report(out, [nasty], {name: entry}, [Fault(NASTY, NASTY)]).read_text())
        assert {tag for tag, _ in page.tags} <= {
            *("html", "head", "meta", "title", "style", "body", "h1", "h2", "p", "table", "thead", "tbody", "tr", "th"),
            *("td", "b", "br", "span", "a", "ul", "li"),
        }
        assert page.words.count(NASTY) >= 5
        assert all((attrs["href"] or "").startswith("./") for tag, attrs in page.tags if tag == "a")


def test_it_asks_for_nothing_from_elsewhere(out: Path, tmp_path: Path) -> None:
    text = write_report(out, tasks(tmp_path / "clips", out, ["ball"]), {}).read_text()
    assert not re.search(r"https?://|<script|<link", text) and "default-src 'none'" in text


def test_a_thumbnail_is_small_and_a_broken_picture_none(out: Path) -> None:
    (out / "broken.png").write_bytes(b"no picture")
    (out / "empty.png").write_bytes(b"")
    assert thumbnail(out / "broken.png") is thumbnail(out / "empty.png") is thumbnail(out / "none.png") is None
