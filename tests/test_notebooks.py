"""Notebooks, executed cell by cell in a real kernel on the server of the machine."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import nbformat
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("own_server")


def execute(folder: Path, *cells: str) -> Any:
    """Run cells in a folder, and give the notebook with what they printed."""
    new: Any = nbformat.v4
    notebook: Any = new.new_notebook(cells=[new.new_code_cell(cell) for cell in cells])
    NotebookClient(
        notebook, timeout=150, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
    ).execute()
    return notebook


def printed(notebook: Any, cell: int) -> str:
    outputs = notebook.cells[cell].outputs
    return "".join(one.text for one in outputs if one.output_type == "stream")


def test_an_objective_in_a_cell(tmp_path: Path) -> None:
    notebook = execute(
        tmp_path,
        "import aiauto, math",
        "CENTRE = 2\n\ndef distance(x):\n    return math.fabs(x - CENTRE)",
        "class Model:\n"
        "    def __init__(self, power):\n"
        "        self.power = power\n"
        "    def score(self, trial):\n"
        "        return distance(trial.suggest_float('x', -10, 10)) ** self.power",
        "def objective(trial):\n    return Model(2).score(trial)",
        "ac = aiauto.AIAutoController()\n"
        "study = ac.create_study('in_a_cell')\n"
        "study.optimize(objective, n_trials=6, parallelism=2, wait_option='WAIT_NO')\n"
        "study.wait(timeout=100)",
        # A cell that is run again changes what the next objective does.
        "CENTRE = 100",
        "study.optimize(lambda trial: objective(trial), n_trials=2, parallelism=1,\n"
        "               wait_option=aiauto.WaitOption.WAIT_ALL_TRIALS, wait_timeout=100)\n"
        "values = [trial.value for trial in study.get_study().trials]\n"
        "print(len(values), max(values[:6]) <= 144, min(values[6:]) >= 8100)",
    )
    assert printed(notebook, 6).splitlines()[-1] == "8 True True"
    # The progress bar is the notebook's own, and has come to its end.
    shown = [one.data for one in notebook.cells[4].outputs if one.output_type == "display_data"]
    assert any("application/vnd.jupyter.widget-view+json" in data for data in shown)
    widgets = json.dumps(notebook.metadata.widgets)
    assert '"max": 6.0' in widgets
    assert '"value": 6.0' in widgets


def test_an_objective_in_a_file_that_a_cell_writes(tmp_path: Path) -> None:
    notebook = execute(
        tmp_path,
        "%%writefile my_objective.py\n"
        "import aiauto\n"
        "import optuna\n"
        "\n"
        "def objective(trial: optuna.trial.Trial):\n"
        "    import math\n"
        "\n"
        "    x = trial.suggest_float('x', -10, 10)\n"
        "    y = trial.suggest_float('y', -10, 10)\n"
        "    return math.pow(x - 2, 2) + (y - 3) ** 2\n",
        "import aiauto\n"
        "from my_objective import objective\n"
        "\n"
        "ac = aiauto.AIAutoController()\n"
        "study = ac.create_study('test', 'minimize')\n"
        "study.optimize(objective, n_trials=4, parallelism=2)",
        "study.wait(timeout=100)\n"
        "status = study.get_status()\n"
        "print(status['count_succeeded'], sorted(study.best_params))",
    )
    assert "Writing my_objective.py" in printed(notebook, 0)
    assert printed(notebook, 2).splitlines()[-1] == "4 ['x', 'y']"


def test_what_can_not_travel_from_a_cell(tmp_path: Path) -> None:
    with pytest.raises(CellExecutionError) as caught:
        execute(
            tmp_path,
            "import aiauto, socket\nsock = socket.socket()",
            "def helper():\n    return sock.fileno()",
            "def objective(trial):\n    return helper()",
            "aiauto.AIAutoController().create_study('stuck').optimize(objective)",
        )
    assert "`sock` (a socket; objective -> helper -> sock)" in str(caught.value)


def test_what_a_notebook_shows_and_awaits(tmp_path: Path) -> None:
    notebook = execute(
        tmp_path,
        "import aiauto\nstudy = aiauto.AIAutoController().create_study('shown')",
        "def objective(trial):\n"
        "    print('trial', trial.number)\n"
        "    return trial.suggest_float('x', 0, 1)\n"
        "await study.optimize_async(objective, 3, 1, wait_option='WAIT_NO')\n"
        "await study.wait_async(timeout=100)",
        "study",
        "study.get_status(include_trials=True)",
        "async for line in study.logs_async(follow=True):\n    print(line)",
    )
    for cell in (2, 3):
        (shown,) = notebook.cells[cell].outputs
        assert shown.output_type == "execute_result"
        html = shown.data["text/html"]
        assert html.count("<circle") == 3
        assert "3 of 3 trials (3 succeeded)" in html
    assert printed(notebook, 4).splitlines() == ["trial 0", "trial 1", "trial 2"]
