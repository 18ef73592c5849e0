"""The table of a terminal: the hits that are meant, a line, and those that are only near."""

from dataclasses import replace

from rich.console import Console

from interleave_index.export.table import answer_table, relevance_bar
from interleave_index.export.words import UNDER, counted, verdict


def lines(answer):
    console = Console(width=150)
    with console.capture() as captured:
        console.print(answer_table(answer))
    return [line.rstrip() for line in captured.get().splitlines()[1:]]


def test_a_line_at_the_cut_off_stands_between_what_is_meant_and_the_rest(answer):
    first, line, second = lines(answer)
    assert "red disc.jpg" in first and "✓ red disc 70" in first and "− a <b> 20" in first
    assert "0.50" in line and UNDER in line
    assert "✗ red disc 20" in second and "! a <b> 70" in second


def test_no_line_where_all_or_none_of_the_hits_are_meant(answer, doubtful):
    assert len(lines(doubtful)) == 2 and "? red disc" in lines(doubtful)[1]
    assert len(lines(replace(answer, cutoff=0.9))) == 2


def test_a_bar_reaches_the_tick_exactly_if_the_hit_is_meant():
    for cutoff in (0.02, 0.14, 0.2, 0.25, 0.5, 0.97):
        for relevance in (0.0, 0.01, cutoff - 0.004, cutoff, cutoff + 0.004, 1.0):
            meant = relevance >= cutoff
            before = relevance_bar(relevance, cutoff, meant).partition("│")[0]
            assert ("·" not in before) is meant, (relevance, cutoff)


def test_hits_are_counted_in_words(answer, doubtful):
    assert counted(answer) == "1 photo matches; 1 more is near"
    assert counted(doubtful) == "2 photos match"
    assert counted(replace(answer, cutoff=1.0)) == "Nothing here matches well; these are the nearest"


def test_a_doubt_that_reaches_the_cut_off_is_unsure_and_one_below_is_not_there_and_a_negative_never_unsure(answer):
    wanted, unwanted = answer[0].entities
    doubtful = [
        replace(wanted, grounding=replace(wanted.grounding, present=False, probability=chance))
        for chance in (0.2, 0.14, 0.02)
    ]
    assert [verdict(entity, 0.14) for entity in doubtful] == ["unsure", "unsure", "not there"]
    assert [verdict(entity, 1.0) for entity in doubtful] == ["not there"] * 3
    assert [verdict(entity, 0.0) for entity in doubtful] == ["unsure"] * 3
    assert verdict(wanted, 1.0) == "there"
    assert verdict(unwanted, 0.0) == verdict(unwanted, 1.0) == "not there"
