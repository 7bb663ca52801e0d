"""What a browser meets: the log-in and Optuna's dashboard."""
