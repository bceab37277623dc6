"""The objects and words of a job from the flags that name them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.cli.stand_in import Library
from vxedit.cli.main import real
from vxedit.cli.objects import energies_of, objects_of, words_of
from vxedit.errors import UsageError
from vxedit.job import STAY, ObjectJob, WordSettings

NONE = WordSettings()
BURGER_TO_DUCK = WordSettings((("burger", "duck"),))
LEFT_HALF, RIGHT_HALF = (0.0, 0.0, 0.5, 1.0), (0.5, 0.0, 1.0, 1.0)


def test_each_object_has_what_was_given_for_it_in_order() -> None:
    given = {"obj": ("cup", "pea"), "path": ("left", "up"), "box": (LEFT_HALF, RIGHT_HALF)}
    assert objects_of(given, (), NONE) == (ObjectJob("cup", "left", LEFT_HALF), ObjectJob("pea", "up", RIGHT_HALF))
    masked = {"obj": ("cup",), "path": ("left",), "mask": (Path("cup.png"),)}
    assert objects_of(masked, (), NONE) == (ObjectJob("cup", "left", mask=Path("cup.png")),)


def test_a_box_takes_a_record_s_mask_s_place_and_the_other_way_round() -> None:
    masked, boxed = ObjectJob("cup", "left", mask=Path("cup.png")), ObjectJob("cup", "left", LEFT_HALF)
    assert objects_of({"box": (LEFT_HALF,)}, (masked,), NONE) == (boxed,)
    assert objects_of({"mask": (Path("cup.png"),)}, (boxed,), NONE) == (masked,)
    assert objects_of({"path": ("up",)}, (masked,), NONE) == (replace(masked, path="up"),)


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "too few paths": ({"obj": ("cup", "pea"), "path": ("left",)}, "2 --obj and 1 --path: give one --path for each"),
    "too many paths": ({"obj": ("cup",), "path": ("left", "up")}, "1 --obj and 2 --path: give one --path for each"),
    "no path": ({"obj": ("cup",)}, "missing --path PATH, where 'cup' should go"),
    "a path without an object": ({"path": ("left",)}, "0 --obj and 1 --path"),
    "too few boxes": (
        {"obj": ("cup", "pea"), "path": ("left", "up"), "box": (LEFT_HALF,)},
        "2 --obj and 1 --box: give one --box for each",
    ),
    "too few masks": (
        {"obj": ("cup", "pea"), "path": ("left", "up"), "mask": (Path("a.png"),)},
        "2 --obj and 1 --mask: give one --mask for each",
    ),
    "box and mask": (
        {"obj": ("cup",), "path": ("left",), "box": (LEFT_HALF,), "mask": (Path("a.png"),)},
        "--box and --mask both say where the object is: give one of them",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_flags_that_do_not_say_one_thing_of_every_object_are_refused(case: str) -> None:
    given, said = REFUSED[case]
    with pytest.raises(UsageError) as caught:
        objects_of(given, (), NONE)
    assert said in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("given", "words", "expected"),
    [
        ({}, BURGER_TO_DUCK, ObjectJob("burger", STAY)),
        ({}, WordSettings(weights=(("shiny", 2.0),)), ObjectJob("shiny", STAY)),
        ({"obj": ("cup",)}, WordSettings(refine="a red cup"), ObjectJob("cup", STAY)),
        ({"obj": ("cup",), "path": ("left",)}, BURGER_TO_DUCK, ObjectJob("cup", "left")),
        ({"path": ("left",)}, BURGER_TO_DUCK, ObjectJob("burger", "left")),
    ],
)
def test_where_only_words_change_the_object_is_the_word_s_and_stays(
    given: dict[str, Any], words: WordSettings, expected: ObjectJob
) -> None:
    assert objects_of(given, (), words) == (expected,)


def test_to_stay_is_a_path_that_goes_nowhere() -> None:
    import numpy as np

    from vxedit.edit.path import parse_path

    boxes = np.array([[0.1, 0.2, 0.4, 0.6], [0.2, 0.3, 0.5, 0.7], [0.4, 0.3, 0.7, 0.7]])
    np.testing.assert_allclose(parse_path(STAY).sample(np.arange(3.0), start_boxes=boxes).boxes, boxes)


def test_a_prompt_that_is_only_refined_does_not_say_which_object() -> None:
    with pytest.raises(UsageError, match=r"--refine .*not which object: name it with --obj"):
        objects_of({}, (), WordSettings(refine="a shiny burger"))


def test_words_are_read_on_top_of_a_record_s() -> None:
    given = {"replace": ("burger = duck", "sand=the sea"), "refine": None, "reweight": ("shiny=2", "wet=0")}
    pairs = (("burger", "duck"), ("sand", "the sea"))
    assert words_of(given, NONE) == WordSettings(pairs, None, (("shiny", 2.0), ("wet", 0.0)))
    before = WordSettings((("a", "b"),), "the whole", (("c", 1.5),))
    assert words_of({"replace": (), "reweight": ()}, before) == before
    assert words_of({"refine": "another"}, before) == replace(before, refine="another")
    assert not NONE and all(map(bool, (BURGER_TO_DUCK, WordSettings(refine=""), WordSettings(weights=(("a", 1.0),)))))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"replace": ("burger",)}, "--replace 'burger' is not of the form burger=duck"),
        ({"replace": ("burger=",)}, "--replace 'burger=' is not of the form"),
        ({"replace": ("=duck",)}, "--replace '=duck' is not of the form"),
        ({"reweight": ("shiny",)}, "--reweight 'shiny' is not of the form shiny=2"),
        ({"reweight": ("shiny=very",)}, "--reweight shiny=very is not a number"),
    ],
)
def test_words_of_another_form_are_refused(given: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError) as caught:
        words_of(given, NONE)
    assert said in str(caught.value)


def test_energies_are_pairs_in_the_order_given() -> None:
    assert energies_of(("centroid=0.5", " box = 2 ")) == (("centroid", 0.5), ("box", 2.0))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("centroid=much", 'the weight of centroid is "much"'),
        ("centroid=nan", "the weight of centroid is nan"),
        ("centroid=-1", "the weight of centroid is -1"),
        ("centroid=", 'the weight of centroid is ""'),
        ("centroid", "write NAME=WEIGHT, as in centroid=0.5"),
        ("centriod=1", "did you mean centroid?"),
    ],
)
def test_energies_that_are_none_are_refused(text: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        energies_of((text,))
    assert said in str(caught.value)


def test_all_of_it_reaches_the_job(library: Library) -> None:
    argv = ["clip.mp4", "--obj", "burger", "--path", "left", "--obj", "cup", "--path", "up"]
    argv += [
        "--mask",
        "burger.png",
        "--mask",
        "cup.png",
        "--replace",
        "burger=duck",
        "--refine",
        "a wet duck and a cup",
    ]
    argv += ["--reweight", "wet=2.5", "--recipe", "freetraj", "--energy", "centroid=0.5", "--energy", "box=0"]
    assert real(argv) == 0
    (job,) = library.jobs
    assert job.objects == (
        ObjectJob("burger", "left", mask=Path("burger.png")),
        ObjectJob("cup", "up", mask=Path("cup.png")),
    )
    assert (job.obj, job.path, job.mask) == ("burger", "left", Path("burger.png")) and len(job.others) == 1
    assert job.words == WordSettings((("burger", "duck"),), "a wet duck and a cup", (("wet", 2.5),))
    assert (job.edit.recipe, job.edit.energies) == ("freetraj", (("centroid", 0.5), ("box", 0.0)))


def test_a_word_alone_is_enough(library: Library) -> None:
    assert real(["clip.mp4", "--replace", "burger=duck"]) == 0
    assert library.jobs[0].objects == (ObjectJob("burger", STAY),)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--obj", "cup", "--path", "up", "--obj", "pea"], "2 --obj and 1 --path"),
        (["--obj", "cup", "--path", "up", "--box", "0,0,1,1", "--mask", "a.png"], "--box and --mask"),
        (["--obj", "cup", "--path", "up", "--energy", "box=lots"], 'the weight of box is "lots"'),
        (["--refine", "a shiny burger"], "--refine"),
    ],
)
def test_what_is_refused_is_one_line_and_code_2(
    library: Library, capfd: pytest.CaptureFixture[str], flags: list[str], said: str
) -> None:
    assert real(["clip.mp4", *flags]) == 2
    said_now = capfd.readouterr()
    assert said_now.out == "" and said_now.err.startswith("vxedit: error: ") and said_now.err.count("\n") == 1
    assert said in said_now.err and not library.jobs
