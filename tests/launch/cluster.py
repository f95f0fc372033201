"""A Slurm cluster of two nodes on this machine, from Debian's slurm-wlm, for as long as a test runs; needs root.

A node is a process in a PID namespace of its own, whose end ends all that runs on the node. Its
GPUs are /dev/null by other names: Slurm counts them and tells each job which ones it has.
"""

import os
import shutil
import signal
import socket
import subprocess
import time
from contextlib import suppress
from pathlib import Path

PATIENCE = 120  # seconds, for daemons to come up on a slow machine
GPUS = 2  # of each node
NODES = ("n1", "n2")
MEMORY = Path("/sys/fs/cgroup/memory")
LIMITS_MEMORY = MEMORY.is_dir()
CONFIGURATION = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
# a requeued job waits as long as a credential lives
AuthInfo=socket={folder}/munge.socket,cred_expire=5
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/%n.pid
ProctrackType=proctrack/linuxproc
TaskPlugin={task}
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
GresTypes=gpu
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
PropagateResourceLimits=NONE
SlurmdParameters=config_overrides
SlurmdTimeout=10
MessageTimeout=10
KillWait=60
ReturnToService=2
SchedulerParameters=bf_interval=2,sched_interval=5,sched_min_interval=0,batch_sched_delay=0
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
PartitionName=main Nodes=ALL Default=YES State=UP
PartitionName=scavenger Nodes=ALL PreemptMode=CANCEL State=UP
PartitionName=urgent Nodes=ALL PriorityTier=2 State=UP
"""


class Cluster:
    """Between `start` and `stop`, commands of Slurm reach it by SLURM_CONF in the environment."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._daemons: dict[str, subprocess.Popen[bytes]] = {}

    def start(self) -> None:
        for name in ("state", *(f"spool-{node}" for node in NODES)):
            (self.folder / name).mkdir(parents=True)
        self._configure()
        os.environ["SLURM_CONF"] = str(self.folder / "slurm.conf")
        (self.folder / "munge.key").write_bytes(os.urandom(1024))
        (self.folder / "munge.key").chmod(0o600)
        files = {"socket": "socket", "key-file": "key", "pid-file": "pid", "seed-file": "seed"}
        places = [f"--{option}={self.folder}/munge.{end}" for option, end in files.items()]
        self._start("munged", "munged", "--foreground", "--force", *places)
        self._until(lambda: (self.folder / "munge.socket").exists())
        self._start("slurmctld", "slurmctld", "-D")
        for node in NODES:
            self.start_node(node)
        self._until(lambda: self._idle() == len(NODES))

    def stop(self) -> None:
        for name, daemon in reversed(self._daemons.items()):
            daemon.send_signal(signal.SIGKILL if name in NODES else signal.SIGTERM)
            daemon.wait()
        os.environ.pop("SLURM_CONF", None)
        for node in NODES:
            _remove_cgroups(MEMORY / f"slurm_{node}")

    def start_node(self, node: str) -> None:
        own = ["unshare", "--pid", "--fork", "--kill-child=KILL", "--mount-proc", "--uts"]
        self._start(node, *own, "sh", "-c", f"hostname {node} && slurmd -D -N {node} & wait")

    def kill_node(self, node: str) -> None:
        """At once, with all that runs on it."""
        daemon = self._daemons.pop(node)
        daemon.kill()
        daemon.wait()

    def _configure(self) -> None:
        ports = _free_ports(1 + len(NODES))
        task = "task/cgroup" if LIMITS_MEMORY else "task/none"
        lines = [
            CONFIGURATION.format(
                folder=self.folder, host=socket.gethostname(), ports=ports, task=task
            )
        ]
        gpus = []
        for node, port in zip(NODES, ports[1:], strict=True):
            shape = f"CPUs=4 RealMemory=64000 Gres=gpu:{GPUS} State=UNKNOWN"
            lines.append(
                f"NodeName={node} NodeHostname={node} NodeAddr=127.0.0.1 Port={port} {shape}\n"
            )
            for number in range(GPUS):
                device = self.folder / f"{node}-gpu{number}"
                os.mknod(device, 0o666 | 0o020000, os.makedev(1, 3))
                gpus.append(f"NodeName={node} Name=gpu File={device}\n")
        (self.folder / "slurm.conf").write_text("".join(lines), encoding="utf-8")
        (self.folder / "gres.conf").write_text("".join(gpus), encoding="utf-8")
        (self.folder / "cgroup.conf").write_text(
            "CgroupPlugin=cgroup/v1\nConstrainRAMSpace=yes\n", encoding="utf-8"
        )

    def _start(self, name: str, *command: str) -> None:
        if not shutil.which(command[0]):
            raise FileNotFoundError(
                f"{command[0]} is not there: as root on Debian, `apt-get install slurm-wlm`"
            )
        with (self.folder / f"{name}.out").open("ab") as out:
            self._daemons[name] = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=out
            )

    def _idle(self) -> int:
        done = subprocess.run(
            ["sinfo", "-hN", "-pmain", "-o%t"], capture_output=True, text=True, check=False
        )
        return done.stdout.split().count("idle")

    def _until(self, is_so) -> None:
        deadline = time.monotonic() + PATIENCE
        while not is_so():
            dead = [name for name, daemon in self._daemons.items() if daemon.poll() is not None]
            assert not dead, self.words()
            assert time.monotonic() < deadline, self.words()
            time.sleep(0.1)

    def words(self) -> str:
        """The last ones of each daemon."""
        return "\n".join(
            f"{path.name}:\n{path.read_text()[-2000:]}"
            for path in sorted(self.folder.glob("*.out"))
        )


def _remove_cgroups(top: Path) -> None:
    """Those of a node and of the jobs that it left, once their last processes are gone."""
    deadline = time.monotonic() + PATIENCE
    while top.exists():
        assert time.monotonic() < deadline, f"{top} is in use"
        for folder, _, _ in os.walk(top, topdown=False):
            with suppress(OSError):
                Path(folder).rmdir()
        time.sleep(0.1)


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports
