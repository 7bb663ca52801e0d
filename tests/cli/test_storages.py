"""`aiauto study export` into the storages that Optuna has: all comes along, and the rest stays."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING, Any

import optuna
import pytest
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.storages import JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend, JournalRedisBackend
from optuna.trial import FrozenTrial, TrialState, create_trial
from sqlalchemy.engine import make_url

import aiauto
from tests.redis_server import PASSWORD, redis_server

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from pathlib import Path

    from aiauto.testing import EmbeddedServer
    from tests.cli.conftest import Aiauto
    from tests.postgresql import PostgreSQL

pytestmark = pytest.mark.once

STUDY = "cli_rich"


@pytest.fixture(scope="module")
def rich(server: EmbeddedServer) -> optuna.Study:
    """A study with a trial of every state, and whatever Optuna keeps of studies and trials."""
    controller = aiauto.AIAutoController(server.token, server.url)
    study = controller.create_study(STUDY, directions=["minimize", "maximize"]).get_study()
    if study.trials:  # this process has run other files in between
        return study
    study.set_user_attr("이름", {"layers": [1, 2], "none": None})
    study.set_metric_names(["loss", "accuracy"])
    space: dict[str, BaseDistribution] = {
        "rate": FloatDistribution(1e-5, 1.0, log=True),
        "share": FloatDistribution(0.0, 1.0, step=0.25),
        "layers": IntDistribution(1, 64, log=True),
        "kind": CategoricalDistribution((None, True, "나무", 2, 1.5)),
    }
    params = {"rate": 0.1 + 0.2, "share": 0.75, "layers": 3, "kind": None}
    complete = create_trial(
        values=[float("inf"), 1 / 3],
        params=params,
        distributions=space,
        user_attrs={"artifact": "가나다", "nested": {"a": [1.5, None]}},
        system_attrs={"constraints": (0.5, -1.0)},
        intermediate_values={0: 0.25, 7: float("nan"), 8: float("-inf")},
    )
    pruned = create_trial(
        state=TrialState.PRUNED,
        params={"rate": 0.5},
        distributions={"rate": space["rate"]},
        intermediate_values={3: 1e-300},
    )
    study.add_trials([complete, pruned, create_trial(state=TrialState.FAIL)])
    study.ask().suggest_float("rate", 1e-5, 1.0, log=True)
    study.enqueue_trial({"rate": 0.25}, user_attrs={"why": "to begin with"})
    return study


def all_of(study: optuna.Study) -> list[Any]:
    """What Optuna knows of a study, but for the numbers by which a storage finds it."""
    attributes = study._storage.get_study_system_attrs(study._study_id)
    about = (study.directions, study.metric_names, study.user_attrs, sorted(attributes.items()))
    return [repr(about), *map(told, study.get_trials())]


def told(trial: FrozenTrial) -> str:
    # As text: not a number is equal to none, and lists come back for tuples.
    public = {name.lstrip("_"): value for name, value in vars(trial).items() if name != "_trial_id"}
    for name in ("params", "distributions", "user_attrs", "system_attrs", "intermediate_values"):
        public[name] = sorted(public[name].items())
    return repr(public).replace("(0.5, -1.0)", "[0.5, -1.0]")


@contextlib.contextmanager
def opened(place: str) -> Generator[optuna.storages.BaseStorage]:
    """The storage as a user of Optuna opens it, who knows which it is."""
    if "://" not in place:
        yield JournalStorage(JournalFileBackend(place))
    elif place.startswith("redis"):
        yield JournalStorage(JournalRedisBackend(place))
    else:
        storage = RDBStorage(place)
        yield storage
        storage.remove_session()
        storage.engine.dispose()


@pytest.fixture(params=["sqlite", "journal", "postgresql", "redis"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """What names an empty storage, of each kind in turn."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'study.db'}"
    elif request.param == "journal":
        yield str(tmp_path / "study.log")
    elif request.param == "postgresql":
        yield request.getfixturevalue("postgresql").create_database()
    else:
        with redis_server(tmp_path) as url:
            yield url


def test_all_of_a_study_is_there(cli: Aiauto, rich: optuna.Study, place: str) -> None:
    answer = cli.json("study", "export", STUDY, place)
    shown = make_url(place).render_as_string() if "://" in place else place
    assert PASSWORD not in shown
    assert answer == {"study_name": STUDY, "trials": 5, "to": shown}
    cli("study", "export", STUDY, place, "--to-study", "copied")
    with opened(place) as storage:
        assert sorted(optuna.get_all_study_names(storage)) == ["cli_rich", "copied"]
        for name in (STUDY, "copied"):
            copy = optuna.load_study(study_name=name, storage=storage)
            assert all_of(copy) == all_of(rich)
        # It is a study to go on with.
        copy.tell(copy.ask(), [0.0, 1.0])
        assert copy.best_trials[-1].number == 4  # the one that waited
    error = cli("study", "export", STUDY, place, code=1)
    assert error == f"{shown} has a study {STUDY!r} already: name another with --to-study.\n"
    with opened(place) as storage:
        assert len(optuna.load_study(study_name=STUDY, storage=storage).trials) == 5


def test_a_journal_by_its_name(cli: Aiauto, rich: optuna.Study, tmp_path: Path) -> None:
    there, other = tmp_path / "there", tmp_path / "named"
    optuna.create_study(study_name="theirs", storage=JournalStorage(JournalFileBackend(str(there))))
    cli("study", "export", STUDY, there)  # Optuna takes any file that is there for one
    cli("study", "export", STUDY, other, "--format", "journal")
    for file, names in ((there, [STUDY, "theirs"]), (other, [STUDY])):
        with opened(str(file)) as storage:
            assert sorted(optuna.get_all_study_names(storage)) == names


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"what somebody wrote", "it is a file of another kind"),
        (b"[1]\n", "it is a file of another kind"),
        (b"SQLite format 3\0" + bytes(84), "write sqlite:///"),
    ],
)
def test_files_of_another_kind_stay_as_they_are(
    cli: Aiauto, rich: optuna.Study, tmp_path: Path, content: bytes, said: str
) -> None:
    file = tmp_path / "study.log"
    file.write_bytes(content)
    error = cli("study", "export", STUDY, file, code=1)
    assert f"{file} can't be used as an Optuna storage: " in error
    assert said in error
    assert file.read_bytes() == content


@pytest.mark.parametrize(
    ("to", "options", "code", "said"),
    [
        ("no://me:s3cret@where", [], 2, "no://me:***@where is no storage that Optuna knows: "),
        ("://", [], 2, "is no storage that Optuna knows"),
        ("sqlite:///no/such/folder/a.db", [], 1, "can't be used as an Optuna storage"),
        ("redis://:s3cret@127.0.0.1:1", [], 1, "redis://:***@127.0.0.1:1 can't be used"),
        ("postgresql+psycopg://me:s3cret@127.0.0.1:1/a", [], 1, "can't be used"),
        ("no/such/folder/a.log", [], 1, "No such file or directory"),
        ("nothing", [], 2, "may be csv, json or journal"),
        ("-", [], 2, "may be csv or json"),
        ("-", ["--format", "journal"], 2, "- are for CSV and JSON"),
        ("sqlite:///a.db", ["--overwrite"], 2, "a storage has other studies"),
        ("sqlite:///a.db", ["--format", "csv"], 2, "--format is for files"),
        ("a.csv", ["--to-study", "b"], 2, "files have no names"),
    ],
)
def test_what_is_refused(
    cli: Aiauto, rich: optuna.Study, to: str, options: list[str], code: int, said: str
) -> None:
    error = cli("study", "export", STUDY, to, *options, code=code)
    assert said in error
    assert "s3cret" not in error
    assert "Traceback" not in error


@pytest.mark.parametrize(
    ("url", "missing", "advice"),
    [
        ("redis://127.0.0.1:1", "redis", "pip install redis."),
        ("postgresql+psycopg2://127.0.0.1:1/a", "psycopg2", "write postgresql+psycopg://"),
        ("postgresql+psycopg://127.0.0.1:1/a", "psycopg", "'aiauto-client[postgres]'"),
        ("mysql://127.0.0.1:1/a", "MySQLdb", "write mysql+pymysql://"),
        ("mysql+pymysql://127.0.0.1:1/a", "pymysql", "pip install pymysql."),
    ],
)
def test_a_package_that_is_missing(
    cli: Aiauto,
    rich: optuna.Study,
    monkeypatch: pytest.MonkeyPatch,
    url: str,
    missing: str,
    advice: str,
) -> None:
    for name in [one for one in sys.modules if one.partition(".")[0] == missing]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, missing, None)
    # Optuna has tried to import it long ago, where it is there.
    monkeypatch.delitem(sys.modules, "optuna.storages.journal._redis", raising=False)
    error = cli("study", "export", STUDY, url, code=1)
    assert "needs a package that is not installed: " in error
    assert advice in error


def test_a_copy_that_breaks_off_leaves_nothing(
    cli: Aiauto, rich: optuna.Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"sqlite:///{tmp_path / 'study.db'}"
    add = RDBStorage.create_new_trial

    def interrupted(
        self: RDBStorage, study_id: int, template_trial: FrozenTrial | None = None
    ) -> int:
        if template_trial and template_trial.number == 3:
            raise KeyboardInterrupt
        return add(self, study_id, template_trial)

    with monkeypatch.context() as patch:
        patch.setattr(RDBStorage, "create_new_trial", interrupted)
        cli("study", "export", STUDY, url, code=130)
    with opened(url) as storage:
        assert optuna.get_all_study_names(storage) == []
    cli("study", "export", STUDY, url)


def test_what_a_database_does_not_take(
    cli: Aiauto,
    controller: aiauto.AIAutoController,
    study_name: str,
    postgresql: PostgreSQL,
) -> None:
    """It is said in the database's words, and the study is not there in part."""
    study = controller.create_study(study_name).get_study()
    study.add_trial(create_trial(value=1.0, user_attrs={"k" * 600: "more than a column takes"}))
    url = postgresql.create_database()
    error = cli("study", "export", study_name, url, code=1)
    assert "can't be used as an Optuna storage: " in error
    assert "value too long" in error
    with opened(url) as storage:
        assert optuna.get_all_study_names(storage) == []
