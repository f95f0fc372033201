"""Stores of other MLflow versions."""

import sqlite3
from contextlib import closing

import mlflow.store.db.utils as db
import pytest
import sqlalchemy
from alembic import command
from mlflow.store.tracking.dbmodels.initial_models import Base

from rm_tension.base.errors import UserError
from rm_tension.tracking.store import connect, experiment_of

OLDER = "2d6e25af4d3e"  # MLflow 2.9


@pytest.fixture
def old_store(tmp_path):
    """As an older MLflow left it, with an experiment."""
    path = tmp_path / "mlflow.db"
    engine = sqlalchemy.create_engine(f"sqlite:///{path}")
    Base.metadata.create_all(engine)
    config = db._get_alembic_config(f"sqlite:///{path}")
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, OLDER)
    execute(path, "insert into experiments (name, lifecycle_stage) values ('rm-tension-mini', 'active')")
    return path


def execute(path, statement):
    with closing(sqlite3.connect(path)) as connection, connection:
        return connection.execute(statement).fetchall()


def test_an_older_store_is_migrated_and_kept(old_store, monkeypatch, capsys):
    client = connect(f"sqlite:///{old_store}")
    assert experiment_of(client, "mini").name == "rm-tension-mini"
    assert len(client.search_experiments()) == 2  # MLflow's own default is the other
    backup = old_store.with_name(f"mlflow.db.{OLDER}.bak")
    assert execute(backup, "select version_num from alembic_version") == [(OLDER,)]
    assert backup.name in capsys.readouterr().out
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "mine")  # of one checkout among those that share a server
    assert experiment_of(client, "mini").name == "mine-mini"
    connect(f"sqlite:///{old_store}")
    assert capsys.readouterr().out == ""


def test_a_newer_store_is_refused_and_left_alone(old_store):
    execute(old_store, "update alembic_version set version_num = 'fffffffffff0'")
    before = old_store.read_bytes()
    with pytest.raises(UserError, match="newer one wrote it"):
        connect(f"sqlite:///{old_store}")
    assert old_store.read_bytes() == before


def test_another_file_is_refused(tmp_path):
    (tmp_path / "mlflow.db").write_text("not a database, but long enough to look like one" * 10)
    with pytest.raises(UserError, match="not a store of MLflow"):
        connect(f"sqlite:///{tmp_path}/mlflow.db")
