"""The quick start: 100 trials on four workers, with nothing set up.

Without a token and an address a small server on this machine is started, and four processes share
the trials. With ``AIAUTO_BASE_URL`` and ``AIAUTO_TOKEN`` set, the same script runs on your server.
"""

import optuna

import aiauto

ac = aiauto.AIAutoController()

study_wrapper = ac.create_study(study_name="simple_optimization", direction="minimize")


def objective(trial: optuna.Trial) -> float:
    x = trial.suggest_float("x", -10, 10)
    y = trial.suggest_float("y", -10, 10)
    return (x - 2) ** 2 + (y - 3) ** 2


trialbatch_name = study_wrapper.optimize(objective, n_trials=100, parallelism=4)
study_wrapper.wait(trialbatch_name=trialbatch_name, show_progress_bar=True)

best = study_wrapper.best_trial
print(f"Best of {study_wrapper.get_status()['count_completed']} trials: number {best.number}")
print(f"  value  {best.value:.6g}")
print(f"  params {best.params}")
print(f"Dashboard: {ac.dashboard_url}")
