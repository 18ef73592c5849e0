"""Curves of the judgement: fitted on scores whose answer is known, and through an interface on drawn photos."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from interleave_index.errors import ShapeError
from interleave_index.evaluation.annotations import Named
from interleave_index.evaluation.judged_questions import Question
from interleave_index.evaluation.library import asked
from interleave_index.evaluation.packs import PackPhoto, PackRegion
from interleave_index.geometry import box_of, encode_rle
from interleave_index.grammar import Query
from interleave_index.interface.calibration import KINDS, spread_of
from interleave_index.interface.toy import COLOURS, ToyInterface
from interleave_index.query.judgement import judge
from interleave_index.training.curves import (
    FALSE_CLAIMS,
    FEWEST,
    PHOTO_BARS,
    SIZES,
    Draws,
    calibrate,
    draw,
    fit,
)
from interleave_index.training.questions import calibration_questions

# --- libraries -------------------------------------------------------------------------------


def question(photos, right):
    truth = np.isin(photos, right).astype(np.int8)
    return Question(Named("thing", "things", np.array(photos), truth, enough=True), Query)


def test_a_small_collection_is_one_library_asked_with_and_without_what_is_meant():
    scores = np.linspace(0, 1.9, 20, dtype=np.float32).reshape(2, 10)
    draws = draw(scores, [question(range(10), [3, 9]), question(range(1, 10), [])], without_right=True)
    assert draws.size.tolist() == [10, 8, 9] and draws.holds.tolist() == [True, False, False]
    assert draws.best.tolist() == pytest.approx([0.9, 0.8, 1.9])
    assert draws.library.tolist() == [0] * 10 + [1] * 8 + [2] * 9
    assert draws.score[:10].tolist() == scores[0].tolist() and np.flatnonzero(draws.right).tolist() == [3, 9]
    assert draws.score[10:18].tolist() == np.delete(scores[0], [3, 9]).tolist()
    assert draws.score[18:].tolist() == scores[1, 1:].tolist()


def test_libraries_are_drawn_in_several_sizes_and_a_name_with_absent_ones_of_its_own_is_asked_only_where_it_is():
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(1, 100)).astype(np.float32)
    draws = draw(scores, [question(range(100), [7])], without_right=False, seed=3)
    assert set(draws.size.tolist()) <= {*SIZES[:2], 100} and draws.holds.all()
    assert draws.score[draws.right].tolist() == [pytest.approx(float(scores[0, 7]))] * len(draws.size)
    again = draw(scores, [question(range(100), [7])], without_right=False, seed=3)
    assert again.score.tolist() == draws.score.tolist()
    both = draw(scores, [question(range(100), [7])], without_right=True, seed=3)
    assert both.size[both.holds].tolist() == draws.size.tolist() == (both.size[~both.holds] + 1).tolist()


def test_too_few_annotated_photos_and_ones_that_are_all_right_are_no_library():
    scores = np.zeros((2, 20), np.float32)
    for unusable in (question(range(FEWEST - 1), [0]), question(range(20), range(20))):
        with pytest.raises(ShapeError, match=r"2 questions over 20 photos give no library.*at least 8"):
            draw(scores, [unusable] * 2, without_right=True)


# --- the fit ---------------------------------------------------------------------------------


def made_up(seed=0, per_size=60, share=0.1, apart=4.0):
    """Libraries of photos that score as a bell curve around 0, and around `apart` where they are right."""
    rng = np.random.default_rng(seed)
    libraries = []
    for size in SIZES:
        for number in range(per_size):
            right = np.arange(size) < (max(1, round(share * size)) if number % 2 else 0)
            libraries.append(((rng.normal(size=size) + apart * right).astype(np.float32), right))
    return Draws.of(libraries)


def test_the_fit_finds_the_chance_of_a_photo_in_libraries_that_hold_the_thing():
    # two bell curves of deviation 1, 2 apart, one of ten photos right: log-odds 2 (s - 1) + log(1 / 9)
    draws = made_up(apart=2)
    curve = fit(draws)
    assert curve.slope == pytest.approx(2, rel=0.05)
    assert curve.best_slope == pytest.approx(0, abs=0.3)  # here the best photo tells nothing of the others
    typical = float(draws.best[draws.library[draws.holds[draws.library]]].mean())
    assert curve.offset + curve.best_slope * typical == pytest.approx(-2 - np.log(9), rel=0.05)


def test_the_larger_the_library_the_higher_its_best_photo_must_score():
    draws = made_up()
    curve = fit(draws)
    assert curve.anything_slope > 0 > curve.anything_size
    # the growth of the best of n strangers, which `spread_of` names by its larger first-order term
    slope = np.polyfit([spread_of(int(n)) for n in draws.size[~draws.holds]], draws.best[~draws.holds], 1)[0]
    assert -curve.anything_size / curve.anything_slope == pytest.approx(slope, rel=1e-3)


def test_the_bars_claim_no_more_absent_things_than_they_may_and_the_best_f1_behind_it():
    draws = made_up(apart=2)
    curve = fit(draws)
    anything = np.array(
        [curve.anything(float(best), int(size)) for best, size in zip(draws.best, draws.size, strict=True)]
    )
    assert np.mean(anything[~draws.holds] >= curve.anything_bar) == pytest.approx(FALSE_CLAIMS, abs=0.01)
    assert np.mean(anything[draws.holds] >= curve.anything_bar) > 0.7

    def f1(bar):
        chances = curve.photo(draws.score, draws.best[draws.library])
        claimed = (anything >= curve.anything_bar)[draws.library] & (chances >= bar)
        return 2 * (claimed & draws.right).sum() / (claimed.sum() + draws.right.sum())

    assert curve.bar in PHOTO_BARS and f1(curve.bar) == max(map(f1, PHOTO_BARS)) > 0.5


def test_a_library_that_holds_the_thing_is_told_from_one_that_does_not():
    curve, fresh = fit(made_up()), made_up(seed=1)
    claimed = np.array(
        [judge(curve, float(best), int(size)).cutoff < 1 for best, size in zip(fresh.best, fresh.size, strict=True)]
    )
    assert claimed[fresh.holds].mean() > 0.95 and claimed[~fresh.holds].mean() < FALSE_CLAIMS + 0.1


def test_bars_of_scores_that_part_wholly_stand_in_the_gap():
    curve = fit(made_up(apart=100))
    assert 10 < curve.middle < 90
    for size in SIZES:
        assert judge(curve, 10.0, size).cutoff == 1 > judge(curve, 90.0, size).cutoff


def test_libraries_of_one_size_say_nothing_of_growth():
    draws = made_up()
    few = draws.size == SIZES[1]
    rows = few[draws.library]
    curve = fit(
        Draws(
            np.unique(draws.library[rows], return_inverse=True)[1],
            draws.score[rows],
            draws.right[rows],
            draws.best[few],
            draws.size[few],
            draws.holds[few],
        )
    )
    assert curve.anything_size == 0 and curve.anything_slope > 0


def test_without_absent_things_or_with_scores_that_mean_nothing_there_is_no_curve():
    draws = made_up(per_size=10)
    with pytest.raises(ShapeError, match="of one class"):
        fit(replace(draws, holds=np.ones(len(draws.best), bool)))
    with pytest.raises(ShapeError, match="expected scores that rise with what is right"):
        fit(replace(draws, score=-draws.score))
    with pytest.raises(ShapeError, match="expected scores that rise with what is right"):
        fit(replace(draws, best=-draws.best))


# --- through an interface --------------------------------------------------------------------

THINGS = ("red", "green", "blue", "yellow", "purple")
CLASSES = ("red", "blue", "orange", "black")


def png(rgb):
    file = io.BytesIO()
    Image.fromarray(rgb).save(file, "PNG")
    return file.getvalue()


def drawn_things(count=60):
    """Photos with one or two rectangles of five colours on white, and that list."""
    rng = np.random.default_rng(0)
    for number in range(count):
        rgb = np.full((40, 60, 3), 255, np.uint8)
        regions = []
        for place, colour in enumerate(rng.choice(THINGS, 1 + number % 2, replace=False).tolist()):
            mask = np.zeros((40, 60), bool)
            mask[4 + number % 5 : 34, 3 + 30 * place : 27 + 30 * place] = True
            rgb[mask] = COLOURS[colour]
            regions.append(PackRegion(colour, "instance", box_of(mask), float(mask.sum()), encode_rle(mask)))
        yield PackPhoto(
            f"thing {number}", "drawn", png(rgb), 60, 40, regions=tuple(regions), regions_scope="all 5 colours"
        )


def drawn_classes(each=5):
    """Photos of one colour alone, of which only that is recorded; two of the colours are on no photo of things."""
    for colour in CLASSES:
        for number in range(each):
            rgb = np.full((40 + number, 60, 3), COLOURS[colour], np.uint8)
            yield PackPhoto(f"{colour} {number}", "drawn", png(rgb), 60, 40 + number, labels=(colour,))


def test_the_toy_is_calibrated_on_drawn_photos():
    updates = []
    curves = calibrate(
        ToyInterface(),
        [*drawn_things(), *drawn_classes()],
        progress=lambda what, done, total: updates.append((what, done == total)),
    )
    assert tuple(curves) == KINDS
    assert [what for what, last in updates if last] == ["photos", *(f"{kind} questions" for kind in KINDS)]
    for kind, curve in curves.items():
        assert curve.slope > 0 and curve.anything_slope > 0 and 0 < curve.bar < 1 and 0 < curve.anything_bar < 1, kind
    # a photo with a patch of the colour scores some 1.1 for it in brackets, one without it -0.2
    judgement = judge(curves["entity"], 1.1, 60)
    chances = judgement.chances(np.array([1.1, -0.2], np.float32))
    assert chances[0] >= judgement.cutoff > chances[1]
    assert judge(curves["entity"], -0.2, 60).cutoff == 1


def test_questions_are_asked_as_a_user_would_ask_them():
    questions = calibration_questions([*drawn_things(), *drawn_classes()])
    parts = {
        kind: {tuple((part.role, part.kind, part.label) for part in asked(*one.query().parts)) for one in of_kind}
        for kind, of_kind in questions.items()
    }
    assert (("caption", "text", "red"),) in parts["caption"]
    assert (("entity", "text", "red"),) in parts["entity"]
    assert {tuple(kind for _, kind, _ in query) for query in parts["picture"]} == {("picture",)}
    assert {tuple(kind for _, kind, _ in query) for query in parts["region"]} == {("region",)}
    assert all({"caption", "entity"} <= {role for role, _, _ in query} for query in parts["mixed"])
    together = [one for one in questions["mixed"] if " with " in one.named.name]
    assert together and all(4 <= one.named.right.sum() < len(one.named.photos) == 60 for one in together)


def absent_names(photos):
    named = [question.named for question in calibration_questions(photos)["entity"]]
    return [one for one in named if not one.right.any()]


def test_what_no_photo_of_things_is_annotated_for_is_asked_as_absent():
    photos = [*drawn_things(), *drawn_classes()]
    absent = absent_names(photos)
    assert [named.name for named in absent] == ["black", "orange"]
    for named in absent:
        assert named.photos.tolist() == list(range(60))
    mentioned = [replace(photo, captions=("an orange wall",)) for photo in photos[:60]] + photos[60:]
    assert [named.name for named in absent_names(mentioned)] == ["black"]


def test_photos_that_nothing_is_known_of_give_no_curves():
    with pytest.raises(ShapeError, match="0 questions over 5 photos"):
        calibrate(ToyInterface(), [replace(photo, labels=()) for photo in drawn_classes()][:5])
