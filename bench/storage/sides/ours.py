"""aiauto: `python -m bench.storage.sides.ours`, with AIAUTO_DATABASE_URL for PostgreSQL.

A server of its own, with authentication, and its own local workers, as users have them.
"""

from __future__ import annotations

import contextlib
import io

import optuna

import aiauto
from aiauto.testing import embedded_server
from bench.storage.sides.objective import answer, objective_of, orders

SAMPLERS = {"random": optuna.samplers.RandomSampler, "tpe": optuna.samplers.TPESampler}


def main() -> None:
    """Does what it is told."""
    with embedded_server() as server:
        controller = aiauto.AIAutoController(server.token, server.url)
        for order in orders():
            if order["do"] == "run":
                study = controller.create_study(
                    order["study"], sampler=SAMPLERS[order["sampler"]]()
                )
                with contextlib.redirect_stderr(io.StringIO()):
                    study.optimize(
                        objective_of(order["record"]),
                        order["trials"],
                        order["workers"],
                        wait_option="WAIT_ALL_TRIALS",
                        wait_timeout=1800,
                    )
            answer({"done": True})


if __name__ == "__main__":
    main()
