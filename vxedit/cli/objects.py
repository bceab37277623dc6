"""The objects of a job from the flags that name them: --obj, --path, --box and --mask, one of each an object."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from vxedit.errors import UsageError
from vxedit.job import STAY, GenJob, ObjectJob, RealJob, WordSettings

Stages = Mapping[str, tuple[str, str]]
"""Where in a job a setting stands that the command line names otherwise or that lies in one of its stages."""

Job = TypeVar("Job", RealJob, GenJob)

FLAGS = ("obj", "path", "box", "mask")


def settled(job: Job, settings: Mapping[str, Any], plain: Sequence[str], stages: Stages) -> Job:
    """`job` with what `settings` has put in its place: `plain` fields of the job, and those in its `stages`."""
    job = replace(job, **{key: settings[key] for key in plain if key in settings})
    for key, (stage, name) in stages.items():
        if key in settings:
            job = replace(job, **{stage: replace(getattr(job, stage), **{name: settings[key]})})
    if settings.get("energy"):
        job = replace(job, edit=replace(job.edit, energies=energies_of(settings["energy"])))
    return job


def objects_of(given: Mapping[str, Any], before: Sequence[ObjectJob], words: WordSettings) -> tuple[ObjectJob, ...]:
    """`before`, a record's objects or none, with what the flags say put in its place.

    Where only words change, the object is the first of them and stays where it is. Raises UsageError where the flags
    don't say one thing of every object.
    """
    named = tuple(given.get("obj") or ())
    if named and before and len(named) != len(before) and not given.get("path"):
        raise UsageError(f"the record moves {len(before)} object(s) and --obj names {len(named)}: give the paths too")
    if not named and not before and words:
        named = (_changed(words),)
    objects = [ObjectJob(obj, "") for obj in named] if named else list(before)
    if named and len(before) == len(named):
        objects = [replace(old, obj=obj) for old, obj in zip(before, named, strict=True)]
    for flag in FLAGS[1:]:
        values = tuple(given.get(flag) or ())
        if values and len(values) != len(objects):
            raise UsageError(
                f"{len(objects)} --obj and {len(values)} --{flag}: give one --{flag} for each object, in the same order"
            )
        other = {"box": "mask", "mask": "box"}.get(flag)
        for i, value in enumerate(values):
            # box and mask are two ways to say one thing: the one given takes the place of the other
            objects[i] = replace(objects[i], **{flag: value, **({other: None} if other else {})})
    if given.get("box") and given.get("mask"):
        raise UsageError("--box and --mask both say where the object is: give one of them")
    if words:
        objects = [one if one.path else replace(one, path=STAY) for one in objects]
    lost = [one.obj for one in objects if not one.path]
    if lost:
        raise UsageError(f'missing --path PATH, where {lost[0]!r} should go; for example: --path "left"')
    return tuple(objects)


def _changed(words: WordSettings) -> str:
    """The word of the prompt that a word edit is about."""
    if words.replace:
        return words.replace[0][0]
    if words.weights:
        return words.weights[0][0]
    raise UsageError("--refine changes the prompt, but not which object: name it with --obj WORD")


def words_of(given: Mapping[str, Any], before: WordSettings) -> WordSettings:
    """The word edit that the flags ask for, on top of a record's."""
    parts: dict[str, Any] = {}
    if given.get("replace"):
        parts["replace"] = tuple(_pair(text, "--replace", "burger=duck") for text in given["replace"])
    if given.get("refine") is not None:
        parts["refine"] = given["refine"]
    if given.get("reweight"):
        parts["weights"] = tuple(
            (word, _number(factor, f"--reweight {word}"))
            for word, factor in (_pair(text, "--reweight", "shiny=2") for text in given["reweight"])
        )
    return replace(before, **parts)


def energies_of(texts: Sequence[str]) -> tuple[tuple[str, float], ...]:
    """The terms that --energy names, with their weights. Raises UsageError as `parse_weights`."""
    from vxedit.edit.objective import parse_weights

    parse_weights(texts)
    pairs = (_pair(text, "--energy", "centroid=0.5") for text in texts)
    return tuple((name, float(weight)) for name, weight in pairs)


def _pair(text: str, flag: str, example: str) -> tuple[str, str]:
    left, equals, right = (part.strip() for part in text.partition("="))
    if not (left and equals and right):
        raise UsageError(f"{flag} {text!r} is not of the form {example}")
    return left, right


def _number(text: str, flag: str) -> float:
    try:
        return float(text)
    except ValueError as err:
        raise UsageError(f"{flag}={text} is not a number: give a factor such as 2 or 0.5") from err
