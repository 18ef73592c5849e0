"""What a long run says where there is no terminal."""

from __future__ import annotations

from interleave_index.cli.show import ProgressLines


def lines(capsys, seconds: float, steps: int, total: int) -> list[str]:
    """The lines of a run that takes so many seconds."""
    now = [0.0]
    progress = ProgressLines("ingest", clock=lambda: now[0])
    for step in range(steps + 1):
        now[0] = seconds * step / steps
        progress.update(step, total)
    written: str = capsys.readouterr().err
    return written.splitlines()


def test_a_short_run_says_nothing_and_a_longer_one_now_and_then(capsys):
    assert lines(capsys, 1.5, 100, 100) == []
    assert len(lines(capsys, 20, 1000, 1000)) == 10  # every two seconds at most
    assert len(lines(capsys, 100, 1000, 1000)) in (19, 20)  # every 5 %
    assert len(lines(capsys, 3600, 10_000, 10_000)) in range(350, 361)  # every ten seconds


def test_a_line_says_how_much_is_done_and_of_how_much(capsys):
    assert lines(capsys, 40, 4, 4)[0] == "ingest: 1 of 4 (25%)"
    assert lines(capsys, 40, 4, 0)[0] == "ingest: 1"
