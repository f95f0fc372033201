"""A run of a profile as a Provenance Run Crate: RO-Crate metadata from dvc.lock and runs/.

The profile of the format: https://w3id.org/ro/wfrun/provenance/0.5, on RO-Crate 1.1. Each stage of
dvc.yaml is a step and a tool, each stage that ran a CreateAction with what it read and wrote.
Files that the crate does not hold have identifiers `#MD5/PATH`: DVC's cache and its remotes store
them by that md5.
"""

import hashlib
import json
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from rm_tension.base.files import read_json, write_json
from rm_tension.base.lockfile import kind_of, stages_of
from rm_tension.base.runs import commit_date, machine_of

Entity = dict[str, Any]

WORKFLOW = "dvc.yaml"
PAYLOAD = {WORKFLOW: "The pipeline", "dvc.lock": "What ran", "params.yaml": "Its settings"}
FORMATS = {  # the root data entity conforms to these, by permalink
    "https://w3id.org/ro/wfrun/process/0.5": "Process Run Crate 0.5",
    "https://w3id.org/ro/wfrun/workflow/0.5": "Workflow Run Crate 0.5",
    "https://w3id.org/ro/wfrun/provenance/0.5": "Provenance Run Crate 0.5",
    "https://w3id.org/workflowhub/workflow-ro-crate/1.0": "Workflow RO-Crate 1.0",
}
TERMS = "https://w3id.org/ro/terms/workflow-run#"
CONTEXT = [
    "https://w3id.org/ro/crate/1.1/context",
    {name: TERMS + name for name in ("md5", "resourceUsage")},
]
LICENCE = "https://spdx.org/licenses/Apache-2.0"
SOFTWARE = "SoftwareApplication"
UNITS = {"seconds": "SEC", "cpu_seconds": "SEC", "peak_memory_mib": "MebiBYTE"}


def write_run_crate(folder: Path, profile: str, version: str) -> None:
    """Write the crate of the repository around the working directory into a folder.

    `version` is the project's. Stages whose machine record is not in runs/ have no software
    versions, times and resources.
    """
    text = Path("dvc.lock").read_text(encoding="utf-8")
    ran = {
        name: stage
        for name, stage in stages_of(text).items()
        # not by its name: mini-2 may be a profile, too
        if any(out["path"].split("/")[1:2] == [profile] for out in stage.get("outs", ()))
    }
    stages = yaml.safe_load(Path(WORKFLOW).read_text(encoding="utf-8"))["stages"]
    order = {stage: position for position, stage in enumerate(stages)}
    folder.mkdir(parents=True)
    for name in PAYLOAD:
        shutil.copyfile(name, folder / name)
    crate = Crate(profile, version)
    for name in sorted(ran, key=lambda name: (order.get(name.partition("@")[0], len(order)), name)):
        crate.add_stage(name, ran[name])
    write_json(folder / "ro-crate-metadata.json", crate.metadata())


def digest(text: str) -> str:
    """Return what tells entities of one name apart."""
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()[:8]


def identified(entities: Iterable[Entity]) -> list[Entity]:
    """Return references to entities, each once."""
    return [{"@id": name} for name in dict.fromkeys(entity["@id"] for entity in entities)]


@dataclass
class Crate:
    """The entities of a crate by their identifier, and those that its summaries list."""

    profile: str
    version: str
    entities: dict[str, Entity] = field(default_factory=dict)
    files: dict[str, Entity] = field(default_factory=dict)  # of them, what stages read or wrote
    tools: dict[str, dict[str, Entity]] = field(default_factory=dict)  # by kind of stage, by id
    actions: list[Entity] = field(default_factory=list)

    def add(self, name: str, kind: str | list[str], /, **properties: Any) -> Entity:
        """Return the entity of that identifier, added unless it is there; empty values go."""
        known = {key: value for key, value in properties.items() if value not in (None, [], "")}
        return self.entities.setdefault(name, {"@id": name, "@type": kind, **known})

    def add_stage(self, name: str, stage: Mapping[str, Any]) -> None:
        """Add what ran, what it read and wrote, with which settings and where."""
        kind = kind_of(name)
        machine = machine_record(stage)
        read = [self.file(entry) for entry in stage.get("deps", ())]
        read += self.settings(stage.get("params", {}))
        action = self.add(
            f"#run-{name}",
            "CreateAction",
            name=name,
            description=stage.get("cmd"),
            instrument={"@id": self.tool(kind, machine.get("environment", {}))["@id"]},
            object=identified(read),
            result=identified(self.file(entry) for entry in stage.get("outs", ())),
            startTime=machine.get("started"),
            endTime=machine.get("ended"),
            actionStatus="http://schema.org/CompletedActionStatus",
            resourceUsage=identified(self.resources(name, machine.get("metrics", {}))),
        )
        self.actions.append(action)
        self.add(
            f"#control-{name}",
            "ControlAction",
            name=f"DVC runs {name}",
            instrument={"@id": f"#step-{kind}"},
            object={"@id": action["@id"]},
        )

    def file(self, entry: Mapping[str, Any]) -> Entity:
        """Return a file or folder of dvc.lock."""
        path, md5 = entry["path"], entry.get("md5", "")
        is_folder = "nfiles" in entry or md5.endswith(".dir")
        entity = self.add(
            f"#{md5}/{path}{'/' * is_folder}",
            "Dataset" if is_folder else "File",
            name=path,
            md5=None if is_folder else md5,
            identifier=md5 if is_folder else None,  # of the list of its files, as DVC has it
            contentSize=str(entry["size"]) if "size" in entry else None,
        )
        self.files[entity["@id"]] = entity
        return entity

    def settings(self, params: Mapping[str, Mapping[str, Any]]) -> list[Entity]:
        """Return the values that a stage took from files such as params.yaml."""
        entities = []
        for file, values in params.items():
            for key, value in values.items():
                text = json.dumps(value, sort_keys=True)
                name = f"#{file}/{key}/{digest(text)}"  # stages may have run with several values
                entities.append(self.add(name, "PropertyValue", name=key, value=text))
        return entities

    def resources(self, name: str, metrics: Mapping[str, float]) -> list[Entity]:
        """Return what a stage took of time and memory."""
        return [
            self.add(
                f"#{metric}-{name}",
                "PropertyValue",
                name=metric,
                propertyID=f"rm-tension:{metric}",
                unitCode=f"https://qudt.org/vocab/unit/{unit}",
                value=str(metrics[metric]),
            )
            for metric, unit in UNITS.items()
            if metric in metrics
        ]

    def tool(self, kind: str, environment: Mapping[str, Any]) -> Entity:
        """Return the program of a stage, as of the commit and libraries that it ran with."""
        commit = environment.get("git_commit", "")
        versions = dict(environment.get("libraries", {}))
        if python := environment.get("python"):
            versions["Python"] = python
        needs = [
            self.add(f"#{name}-{version}", SOFTWARE, name=name, softwareVersion=version)
            for name, version in versions.items()
        ]
        tool = self.add(
            f"#rm-tension-{kind}-{digest(json.dumps([commit, versions]))}",
            SOFTWARE,
            name=f"rm-tension {kind}",
            softwareVersion=f"{self.version}, commit {commit}" if commit else self.version,
            softwareRequirements=identified(needs),
        )
        self.tools.setdefault(kind, {})[tool["@id"]] = tool
        return tool

    def metadata(self) -> Entity:
        """Return the content of ro-crate-metadata.json."""
        self._nest()
        run = self._workflow_run()
        payload = [self._workflow(), *map(self._payload, list(PAYLOAD)[1:])]
        root = self._root([*payload, *self.files.values()], run)
        descriptor = {
            "@id": "ro-crate-metadata.json",
            "@type": "CreativeWork",
            "about": {"@id": "./"},
            "conformsTo": [
                {"@id": "https://w3id.org/ro/crate/1.1"},
                {"@id": "https://w3id.org/workflowhub/workflow-ro-crate/1.0"},
            ],
        }
        return {"@context": CONTEXT, "@graph": [descriptor, root, *self.entities.values()]}

    def _payload(self, name: str) -> Entity:
        """Return a file that the crate holds."""
        description, encoding = PAYLOAD[name], "application/yaml"
        return self.add(name, "File", name=name, description=description, encodingFormat=encoding)

    def _workflow(self) -> Entity:
        """Return dvc.yaml with its steps and tools: one step for each kind of stage that ran."""
        steps = [
            self.add(
                f"#step-{kind}",
                "HowToStep",
                name=kind,
                position=str(position),
                workExample=identified(tools.values()),
            )
            for position, (kind, tools) in enumerate(self.tools.items())
        ]
        tools = [tool for each in self.tools.values() for tool in each.values()]
        language = self.add(
            "#dvc-pipeline", "ComputerLanguage", name="DVC pipeline", url="https://dvc.org/doc"
        )
        workflow = self._payload(WORKFLOW)
        workflow |= {
            "@type": ["File", "SoftwareSourceCode", "ComputationalWorkflow", "HowTo"],
            "version": self.version,
            "programmingLanguage": {"@id": language["@id"]},
            "hasPart": identified(tools),
            "step": identified(steps),
        }
        return workflow

    def _nest(self) -> None:
        """Make each file a part of the nearest folder that some stage read or wrote."""
        by_path = {entity["name"]: entity for entity in self.files.values()}
        for entity in self.files.values():
            parents = map(str, PurePosixPath(entity["name"]).parents)
            folder = next((by_path[parent] for parent in parents if parent in by_path), None)
            if folder:
                folder.setdefault("hasPart", []).append({"@id": entity["@id"]})

    def _workflow_run(self) -> Entity:
        """Return the run of the pipeline: from what no stage made to what no other one reads."""
        made = self._named_in("result")
        read = self._named_in("object")
        inputs = [name for name, each in read.items() if not overlaps(each["name"], made.values())]
        results = [name for name, each in made.items() if not overlaps(each["name"], read.values())]
        starts = [action["startTime"] for action in self.actions if "startTime" in action]
        ends = [action["endTime"] for action in self.actions if "endTime" in action]
        return self.add(
            "#run",
            "CreateAction",
            name=f"Run of profile {self.profile}",
            description="What its stages read that none of them made, and what none of them read",
            instrument={"@id": WORKFLOW},
            object=[{"@id": name} for name in inputs],
            result=[{"@id": name} for name in results],
            startTime=min(starts, default=None),
            endTime=max(ends, default=None),
        )

    def _named_in(self, role: str) -> dict[str, Entity]:
        """Return what the actions name as their "object" or "result", by identifier."""
        names = {each["@id"] for action in self.actions for each in action.get(role, ())}
        ordered = sorted(names, key=lambda name: (self.entities[name]["name"], name))
        return {name: self.entities[name] for name in ordered}

    def _root(self, parts: Iterable[Entity], run: Entity) -> Entity:
        """Return the root data entity, and add the formats and licence that it names."""
        formats = [
            self.add(url, "CreativeWork", name=name, version=name.rpartition(" ")[2])
            for url, name in FORMATS.items()
        ]
        self.add(LICENCE, "CreativeWork", name="Apache License 2.0")
        return {
            "@id": "./",
            "@type": "Dataset",
            "conformsTo": identified(formats),
            "name": f"rm-tension {self.version}, profile {self.profile}: what ran",
            "description": "Provenance of a reproduction of arXiv 2606.13209: each stage of its "
            "pipeline with what it read and wrote, by md5, from dvc.lock and runs/.",
            "datePublished": commit_date(),
            "license": {"@id": LICENCE},
            "mainEntity": {"@id": WORKFLOW},
            "mentions": identified([run, *self.actions]),
            "hasPart": identified(parts),
        }


def overlaps(path: str, others: Iterable[Entity]) -> bool:
    """Return whether a path is that of another entity, in its folder, or a folder around it."""
    return any(
        f"{path}/".startswith(f"{other['name']}/") or f"{other['name']}/".startswith(f"{path}/")
        for other in others
    )


def machine_record(stage: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return how a stage ran, of the machine record beside its run record; empty if it is gone."""
    for entry in stage.get("outs", ()):
        path = machine_of(Path(entry["path"]))
        if path.suffix == ".json" and path.is_file():
            return read_json(path, dict[str, Any])
    return {}
