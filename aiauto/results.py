"""What a study has found: its `optuna.Study`, and what users ask of it most."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from aiauto import arguments, notebook
from aiauto.calls import finish
from aiauto.errors import AIAutoError
from aiauto.running import Running

if TYPE_CHECKING:
    from collections.abc import Mapping

    import optuna
    import pandas as pd  # type: ignore[import-untyped,unused-ignore]
    from aiauto_gen.aiauto import v1

    from aiauto.connection import Connection

# Those that Optuna's own call has by default.
TRIAL_COLUMNS = (
    "number",
    "value",
    "datetime_start",
    "datetime_complete",
    "duration",
    "params",
    "user_attrs",
    "system_attrs",
    "state",
)


class Results(Running):
    """The part of `StudyWrapper` that shows what the trials have found."""

    def __init__(self, connection: Connection, spec: v1.StudySpec) -> None:
        super().__init__(connection, spec)
        self._study: optuna.Study | None = None

    def __getstate__(self) -> dict[str, Any]:
        # The study is opened again where it is needed.
        return {**self.__dict__, "_study": None}

    def get_study(self) -> optuna.Study:
        """Give the study as an `optuna.Study`, for ask and tell and all else that Optuna can do.

        It shows what the workers do as they do it. Trials that are asked for here run here: they
        count in no batch and carry the user attribute ``trialbatch_name=ask_tell_local``.

        Returns:
            The study; the same object each time.
        """
        if self._study is None:
            # Optuna takes a second to import, and not every script gets here.
            from aiauto import local_study, samplers  # noqa: PLC0415

            self._study = local_study.load(
                self.study_name,
                self._connection.storage(),
                samplers.load_sampler(self._spec.sampler_json),
                samplers.load_pruner(self._spec.pruner_json),
            )
        return self._study

    def enqueue_trial(
        self,
        params: Mapping[str, Any] | optuna.Trial | optuna.trial.FrozenTrial,
        user_attrs: Mapping[str, Any] | None = None,
        skip_if_exists: bool = False,  # noqa: FBT001, FBT002 - as Optuna has it
    ) -> None:
        """Have a trial with these parameters run next.

        One worker of a batch takes it, of one that runs now or of the next one; it is one of the
        batch's ``n_trials``. Parameters that are left out are chosen by the sampler.

        Args:
            params: Values by the name of the parameter; or a trial, such as `best_trial`, whose
                parameters are tried again.
            user_attrs: User attributes of the trial.
            skip_if_exists: Whether to do nothing where the study has a trial with these parameters.

        Raises:
            ArgumentTypeError: `params` are no parameters.
            RpcError: The server can't be reached.
        """
        values = arguments.parameters(params, "params")
        attributes = None if user_attrs is None else dict(user_attrs)
        self.get_study().enqueue_trial(values, attributes, skip_if_exists)

    @property
    def trials(self) -> list[optuna.trial.FrozenTrial]:
        """All trials so far, by their number: those that have ended, run, or wait to run."""
        return self.get_study().trials

    def trials_dataframe(
        self,
        attrs: tuple[str, ...] = TRIAL_COLUMNS,
        multi_index: bool = False,  # noqa: FBT001, FBT002 - as Optuna has it
    ) -> pd.DataFrame:
        """Give the trials as a table, as `optuna.Study.trials_dataframe` does. Needs pandas.

        Args:
            attrs: Attributes of `optuna.trial.FrozenTrial` to make columns of.
            multi_index: Whether columns such as ``(params, x)`` stay so, or become ``params_x``.

        Returns:
            The table, a row for each trial.

        Raises:
            ImportError: pandas is not installed.
        """
        study: Any = self.get_study()
        return cast("pd.DataFrame", study.trials_dataframe(attrs, multi_index))

    @property
    def best_trial(self) -> optuna.trial.FrozenTrial:
        """The best trial so far.

        Raises:
            ValueError: No trial has returned a value yet.
            RuntimeError: The study has several objectives: see `best_trials`.
        """
        return self.get_study().best_trial

    @property
    def best_trials(self) -> list[optuna.trial.FrozenTrial]:
        """The trials that no other trial beats in every objective, so far."""
        return self.get_study().best_trials

    @property
    def best_params(self) -> dict[str, Any]:
        """The parameters of the best trial so far.

        Raises:
            ValueError: No trial has returned a value yet.
            RuntimeError: The study has several objectives: see `best_trials`.
        """
        return self.get_study().best_params

    @property
    def best_value(self) -> float:
        """The value of the best trial so far.

        Raises:
            ValueError: No trial has returned a value yet.
            RuntimeError: The study has several objectives: see `best_trials`.
        """
        return self.get_study().best_value

    def _repr_html_(self) -> str | None:
        """How notebooks show it: where it stands, and how its trials have come along."""
        try:
            status = finish(self._status(self._blocking))
            study = self.get_study()
            trials = study.get_trials(deepcopy=False)
        except (
            AIAutoError,
            KeyError,
        ):  # out of reach, or deleted: the name is all there is to show
            return None
        directions = [direction.name.lower() for direction in study.directions]
        return notebook.study_html(status, trials, directions)
