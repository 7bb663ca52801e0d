"""Takes the pictures of the documentation from the running product: `make pictures`.

A server of its own runs some studies; then a terminal shows what the command prints, and Chromium
what the server's pages show. A picture more is a line more in `TERMINAL` or `PAGES`. A test takes
all of them into another folder, so that the committed ones can be taken anew at any time.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import shutil
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import optuna
from playwright.sync_api import expect, sync_playwright
from rich.console import Console
from rich.text import Text

import aiauto
from aiauto.testing import EmbeddedServer, embedded_server
from tests import terminal

if TYPE_CHECKING:
    from collections.abc import Generator

    from playwright.sync_api import BrowserContext

FOLDER = Path(__file__).parents[2] / "docs/pictures"
LINES, COLUMNS = 24, 118
WIDTH, HEIGHT = 1200, 760
LOAD_MILLISECONDS = 30_000
LINK_TO_FONT = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)

# What runs for the pictures, as the tutorial has it.
STUDY = """
import time
import aiauto

def objective(trial):
    x = trial.suggest_float("x", -10, 10)
    y = trial.suggest_float("y", -10, 10)
    time.sleep(0.3)
    return (x - 2) ** 2 + (y - 3) ** 2

study = aiauto.AIAutoController().create_study("tutorial", direction="minimize")
study.optimize(objective, n_trials=40, parallelism=4)
study.wait()
"""


@dataclass(frozen=True)
class Typed:
    """A picture of a terminal: what commands print there."""

    name: str
    commands: tuple[str, ...]


@dataclass(frozen=True)
class Seen:
    """A picture of a page of the server.

    Attributes:
        name: The file.
        route: Where the page is; ``{batch}`` stands for the batch that runs.
        ready: CSS selector of what must be there before the picture is taken.
        whole: Whether the picture shows what a reader would have to scroll to, too.
    """

    name: str
    route: str
    ready: str = "body"
    whole: bool = False


# The first study while it runs, at a terminal.
PROGRESS = "progress.svg"
# So that there is something to see on the page.
TOKENS: tuple[str, ...] = (
    "aiauto token issue laptop --days 90",
    "aiauto token issue cluster --days 7",
)
TERMINAL = (
    Typed("studies.svg", ("aiauto study list", "aiauto study best tutorial")),
    Typed("trials.svg", ("aiauto study trials tutorial-pruning --last 8",)),
)
# As many trials as run at once.
RUNNING = "[data-count=active]:text-is('3')"
PAGES = (
    Seen("dashboard.png", "/dashboard/studies/0", ready=".main-svg"),
    Seen("study.png", "/study/tutorial-pruning", ready="table[aria-label=Trials] tbody tr"),
    Seen("batch.png", "/trialbatch/{batch}", ready=RUNNING, whole=True),
    Seen("tokens.png", "/token", ready="table tbody tr:nth-child(3)", whole=True),
)
ALL = frozenset({PROGRESS, *(one.name for one in TERMINAL), *(one.name for one in PAGES)})


def main() -> None:
    """Take all pictures."""
    parser = argparse.ArgumentParser(prog="python -m tools.site.pictures", description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=FOLDER, help="where to put them")
    parser.add_argument(
        "--chromium", default=shutil.which("chromium") or shutil.which("chromium-browser")
    )
    arguments = parser.parse_args()
    with embedded_server() as server:
        os.environ["AIAUTO_DATA_DIR"] = str(server.data_dir)
        taken = {PROGRESS: drawn(progress(), PROGRESS)}
        pruning()
        for typed in TERMINAL:
            shown = "".join(f"$ {one}\n{printed(one.split())}\n" for one in typed.commands)
            taken[typed.name] = drawn(shown, typed.name)
        for command in TOKENS:
            printed(command.split())
        with running() as batch:
            taken |= browse(server, batch, arguments.chromium)
    arguments.folder.mkdir(exist_ok=True)
    for name, content in taken.items():
        (arguments.folder / name).write_bytes(content)
        print(f"{name}: {len(content) // 1024} KiB")


def progress() -> str:
    """Run the first study at a terminal; gives its progress bar in the middle."""
    frames = re.findall(r"tutorial: +\d+%.*?\]", printed([sys.executable, "-c", STUDY]))
    return f"$ python tutorial.py\n{frames[len(frames) // 2]}\n"


def pruning() -> None:
    """Run a study with a pruner."""

    def objective(trial: optuna.Trial) -> float:
        rate = trial.suggest_float("rate", 1e-3, 1.0, log=True)
        loss = 1.0
        for step in range(20):
            loss *= 1 - rate * 0.3
            trial.report(loss, step)
            if trial.should_prune():
                raise optuna.TrialPruned
        return loss

    ac = aiauto.AIAutoController()
    study = ac.create_study("tutorial-pruning", pruner=optuna.pruners.MedianPruner())
    study.optimize(objective, n_trials=30, parallelism=4, wait_option="WAIT_ALL_TRIALS")


@contextlib.contextmanager
def running() -> Generator[str]:
    """Run a batch that is half done; gives its name."""

    def objective(trial: optuna.Trial) -> float:
        rate = trial.suggest_float("learning_rate", 1e-4, 1e-1, log=True)
        layers = trial.suggest_int("layers", 1, 6)
        if trial.number == 2:
            message = "the loss is not finite"
            raise ValueError(message)
        while trial.number >= 5:  # until the pictures are taken
            time.sleep(0.1)
        return abs(rate - 0.01) + layers / 100

    study = aiauto.AIAutoController().create_study("resnet", direction="minimize")
    batch = study.optimize(objective, n_trials=12, parallelism=3, wait_option="WAIT_NO")
    while study.get_status()["count_completed"] < 5:
        time.sleep(0.5)
    yield batch
    study.cancel()


def printed(command: list[str]) -> str:
    """What a program prints at a terminal."""
    program = shutil.which(command[0], path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if program is None:
        raise FileNotFoundError(command[0])
    return terminal.shown([program, *command[1:]], columns=COLUMNS, lines=LINES)


def drawn(shown: str, name: str) -> bytes:
    """A drawing of a terminal."""
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere:
        console = Console(record=True, width=COLUMNS, file=nowhere, force_terminal=True)
        console.print(Text.from_ansi(shown.rstrip()), "")
    text = console.export_svg(title="aiauto", unique_id=Path(name).stem)
    # Rich takes a font from elsewhere; where it is missing, any of fixed width will do.
    return LINK_TO_FONT.sub("", text).encode()


def browse(server: EmbeddedServer, batch: str, chromium: str | None) -> dict[str, bytes]:
    """Look at the pages, while a batch runs; gives what is seen."""
    taken: dict[str, bytes] = {}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        context = browser.new_context(viewport={"width": WIDTH, "height": HEIGHT})
        login(context)
        for seen in PAGES:
            page = context.new_page()
            # A page that shows what goes on is never done with asking.
            page.goto(server.url + seen.route.format(batch=batch), timeout=LOAD_MILLISECONDS)
            page.wait_for_selector(seen.ready, timeout=LOAD_MILLISECONDS)
            expect(page.locator(".loading:visible")).to_have_count(0)
            taken[seen.name] = page.screenshot(animations="disabled", full_page=seen.whole)
            page.close()
        browser.close()
    return taken


def login(context: BrowserContext) -> None:
    """Log in, by the link that this machine's user gets."""
    page = context.new_page()
    page.goto(aiauto.AIAutoController().dashboard_url)
    page.close()


if __name__ == "__main__":
    main()
