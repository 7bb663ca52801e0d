"""Ask and tell: the study as an ordinary `optuna.Study`, whose trials run right here."""

import aiauto

ac = aiauto.AIAutoController()

study_wrapper = ac.create_study(study_name="ask_tell", direction="minimize")

# An optuna.Study: what it learns is kept by the server, and shown on the dashboard.
study = study_wrapper.get_study()

for _ in range(10):
    trial = study.ask()

    x = trial.suggest_float("x", -10, 10)
    y = trial.suggest_float("y", -10, 10)

    study.tell(trial, (x - 2) ** 2 + (y - 3) ** 2)

print(f"Best of {len(study.trials)} trials: {study.best_value:.6g} at {study.best_params}")
print(f"Dashboard: {ac.dashboard_url}")
