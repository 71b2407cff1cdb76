"""What is seen of long work, on a terminal and in a batch job's log."""

from __future__ import annotations

import io
import json
import re
from typing import TYPE_CHECKING

from rich.console import Console

from particle_transformer.artefact.run_folder import RUN_VERSION
from particle_transformer.cli.progress import Progress
from particle_transformer.cli.tables import print_training

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

NAME = "fold 3 of 10, network 2 of 4"
STATE = "AUC 0.8017, 4 142 events/s, epoch 12, val. loss 0.4384"


def console(width: int = 80, terminal: bool = True) -> tuple[Console, io.StringIO]:
    out = io.StringIO()
    return Console(file=out, force_terminal=terminal, width=width, color_system=None), out


def frames(out: io.StringIO) -> list[str]:
    """Lines as they stood on the terminal, one below the other."""
    plain = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", out.getvalue())
    return [line.rstrip() for line in re.split(r"[\r\n]+", plain) if line.strip()]


def test_a_narrow_terminal_shows_name_share_time_and_the_most_important_of_the_state() -> None:
    for width, cut in ((80, True), (120, False)):
        where, out = console(width)
        with Progress(where) as progress:
            for done in range(40):
                progress("all 40 networks (9 trained)", 360 + done, 1600)
                progress(f"{NAME} ({STATE})", done, 40)
        lines = frames(out)
        (last,) = lines[-1:]
        assert re.match(rf"{NAME} \S+ +9[78]% (0:00:0\d|-:--:--) AUC 0.8017, 4 142 events/s", last)
        assert last.endswith("…") == cut
        assert max(map(len, lines)) <= width
        assert any(re.match(r"all 40 networks +\S+ +\d+% \S+ 9 trained$", line) for line in lines)


def test_complete_work_leaves_its_bar_for_a_line() -> None:
    where, out = console()
    with Progress(where) as progress:
        progress("reading (ttbar)", 1, 2)
        progress("reading ([wjets])", 2, 2)
        progress("reading ([wjets])", 2, 2)
        progress(f"{NAME} ({STATE})", 1, 2)
    assert [line for line in frames(out) if "wjets" in line] == ["reading ([wjets]): 0 s"]
    after = frames(out)[frames(out).index("reading ([wjets]): 0 s") + 1 :]
    assert after
    assert not any(line.startswith("reading") for line in after)


def test_work_of_a_name_may_come_again() -> None:
    where, out = console(terminal=False)
    with Progress(where) as progress:
        for _ in range(2):
            for done in (1, 2, 2):
                progress("bootstrap", done, 2)
    assert out.getvalue() == "bootstrap: 0 s\n" * 2


def test_a_log_has_a_line_for_what_is_complete_and_one_a_minute_for_what_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 0.0
    monkeypatch.setattr("particle_transformer.cli.progress.time.monotonic", lambda: now)
    where, out = console(width=40, terminal=False)
    with Progress(where) as progress:
        for done in range(200):
            now = float(done)
            progress(f"{NAME} ({STATE})", done, 200)
        progress(f"{NAME} (best epoch 7)", 200, 200)
    assert out.getvalue().splitlines() == [
        f"{NAME} ({STATE}): 30 % after 60 s",
        f"{NAME} ({STATE}): 60 % after 120 s",
        f"{NAME} ({STATE}): 90 % after 180 s",
        f"{NAME} (best epoch 7): 199 s",
    ]


def test_a_process_that_the_first_network_has_no_event_of_is_in_the_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = [{"ttbar": {"events": 10, "effective": 8.0}}, {"rare": {"events": 2, "effective": 2.0}}]
    networks = [{"training_events": events} for events in found]
    (tmp_path / "run.json").write_text(
        json.dumps({"format_version": RUN_VERSION, "init": None, "networks": networks})
    )
    print_training(tmp_path)
    words = [line.split() for line in capsys.readouterr().out.splitlines() if "rare" in line]
    assert [word for word in words[0] if word.isalnum()] == ["rare", "1", "1"]
