"""What a browser meets: the log-in, the pages, and Optuna's dashboard."""
