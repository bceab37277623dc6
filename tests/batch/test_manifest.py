"""Manifests in three forms: one job, read alike from each; every fault with its line."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vxedit.batch.manifest import read_manifest
from vxedit.batch.row import one_line
from vxedit.errors import InputError, UsageError, VxeditError

FORMS = {
    "a.csv": 'input,obj,path,--guidance-scale,gif\n"a, b.mp4",ball,"0%:0.3,0.3 100%:0.7,0.7",3.5,true\n',
    "a.jsonl": '\n{"input": "a, b.mp4", "obj": "ball", "path": "0%:0.3,0.3 100%:0.7,0.7",'
    ' "guidance-scale": 3.5, "gif": "true"}',
    "a.toml": '[[job]]\ninput = "a, b.mp4"\nobj = "ball"\npath = "0%:0.3,0.3 100%:0.7,0.7"\nguidance_scale = 3.5\n'
    'gif = "true"\n',
}


def written(folder: Path, name: str, text: str | bytes) -> Path:
    file = folder / name
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return file


@pytest.mark.parametrize("name", FORMS)
def test_the_same_row_in_every_form(tmp_path: Path, name: str) -> None:
    rows = read_manifest(written(tmp_path, name, FORMS[name]))
    assert rows.faults == ()
    (row,) = rows.rows
    assert row.values == {
        "input": "a, b.mp4",
        "obj": "ball",
        "path": "0%:0.3,0.3 100%:0.7,0.7",
        "guidance_scale": "3.5",
        "gif": "true",
    }
    assert row.base == tmp_path and row.where == f"{name}:{1 if name.endswith('toml') else 2}"


def test_several_objects(tmp_path: Path) -> None:
    csv = read_manifest(written(tmp_path, "a.csv", "obj,path,obj,path\ncar,left,ball,right\ncar,left,,\n"))
    assert [row.values for row in csv.rows] == [
        {"obj": ("car", "ball"), "path": ("left", "right")},
        {"obj": ("car",), "path": ("left",)},
    ]
    line = '{"obj": ["car", "ball"], "box": [[0, 0, 0.5, 1], "0.5,0,1,1"], "size": [64, 32]}'
    (row,) = read_manifest(written(tmp_path, "a.jsonl", line)).rows
    assert row.values == {"obj": ("car", "ball"), "box": ("0,0,0.5,1", "0.5,0,1,1"), "size": "64,32"}


def test_what_is_empty_says_nothing(tmp_path: Path) -> None:
    (row,) = read_manifest(written(tmp_path, "a.csv", "\ufeffinput,seed\n\na.mp4,\n")).rows
    assert row.values == {"input": "a.mp4"} and row.where == "a.csv:3"
    (row,) = read_manifest(written(tmp_path, "a.jsonl", '{"input": "a.mp4", "seed": null, "obj": []}')).rows
    assert row.values == {"input": "a.mp4"}


def test_every_fault_is_told_with_its_line(tmp_path: Path) -> None:
    lines = ['{"input": "a.mp4"}', '{"input": ', "[1]", '{"seed": 1, "seed": 2}', '{"path": {}}', '{"fps": NaN}', "{}"]
    rows = read_manifest(written(tmp_path, "a.jsonl", "\n".join(lines)))
    assert [row.where for row in rows.rows] == ["a.jsonl:1", "a.jsonl:7"]
    assert [fault.where for fault in rows.faults] == [f"a.jsonl:{n}" for n in (2, 3, 4, 5, 6)]
    for fault, words in zip(rows.faults, ["isn't JSON", "isn't an object", "twice", "not dict", "nan"], strict=True):
        assert words in str(fault) and "\n" not in str(fault)
    csv = read_manifest(written(tmp_path, "a.csv", 'input,obj\n"a\nb.mp4",x\nc.mp4,y,z\nd.mp4,w\n'))
    assert [row.where for row in csv.rows] == ["a.csv:2", "a.csv:5"]
    assert [str(fault).split(" it has")[0] for fault in csv.faults] == ["a.csv:4:"]
    toml = read_manifest(written(tmp_path, "a.toml", '[[job]]\ninput = "a"\n[[job]]\ninput = \n'))
    assert [fault.where for fault in toml.faults] == ["a.toml:4"]
    tables = read_manifest(written(tmp_path, "b.toml", '[[job]]\ninput = "a"\n\n[[job]]\nseed = {}\n'))
    assert [row.where for row in tables.rows] == ["b.toml:1"] and tables.faults[0].where == "b.toml:4"


def test_what_is_no_text_or_no_manifest(tmp_path: Path) -> None:
    halves = read_manifest(written(tmp_path, "a.jsonl", '{"input": "\\ud800.mp4"}\n{"input": "a\\u0000.mp4"}'))
    assert [fault.where for fault in halves.faults] == ["a.jsonl:1", "a.jsonl:2"]
    rows = read_manifest(written(tmp_path, "a.csv", b"input\na.mp4\n\xff.mp4\n"))
    assert [str(fault) for fault in rows.faults] == ["a.csv:3: it isn't UTF-8 text; save the manifest as UTF-8"]
    assert "holds no job" in str(read_manifest(written(tmp_path, "b.csv", "input,obj\n")).faults[0])
    with pytest.raises(UsageError, match=r"\.jsonl"):
        read_manifest(written(tmp_path, "a.xlsx", ""))
    with pytest.raises(InputError, match="can't be read"):
        read_manifest(tmp_path / "none.csv")


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None)
@given(data=st.binary(max_size=300) | st.text(max_size=300).map(str.encode), suffix=st.sampled_from([".csv", ".toml"]))
def test_any_bytes_are_rows_or_faults(tmp_path_factory: pytest.TempPathFactory, data: bytes, suffix: str) -> None:
    check(written(tmp_path_factory.getbasetemp(), f"fuzz{suffix}", data))


@settings(max_examples=150, deadline=None)
@given(value=JSON)
def test_any_json_is_rows_or_faults(tmp_path_factory: pytest.TempPathFactory, value: object) -> None:
    import json

    text = json.dumps(value) + "\n" + json.dumps({"input": value})
    check(written(tmp_path_factory.getbasetemp(), "fuzz.jsonl", text))


def test_deep_nesting_and_long_numbers(tmp_path: Path) -> None:
    deep = '{"a": ' + "[" * 100_000 + "]" * 100_000 + "}\n" + '{"seed": ' + "9" * 5000 + "}"
    rows = check(written(tmp_path, "deep.jsonl", deep))
    assert rows == 2
    assert check(written(tmp_path, "deep.toml", "a = " + "[" * 50_000)) == 1


def check(file: Path) -> int:
    try:
        rows = read_manifest(file)
    except VxeditError as err:
        assert one_line(str(err))
        return 1
    assert rows.rows or rows.faults
    assert all(str(fault) == one_line(str(fault)) for fault in rows.faults)
    return len(rows.faults)
