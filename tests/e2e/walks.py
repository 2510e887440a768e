"""Walks: sessions at a terminal with kubectl, in `kubectl/*.txt`: commands, and what each must print.

    # what the walk is about
    === motd                              a file in the directory that the commands run in, up to the next ===
    Welcome aboard.
    ===
    $ kubectl get pod web -L app          must succeed and print these lines: words between any blanks, * and ? stand for
    NAME   READY STATUS  RESTARTS AGE APP letters, ... for words, and a line of ... for lines
    web    1/1   Running 0        *   app
    $~ kubectl get pods                   asked again until it is so
    $! kubectl get pod nobody             must fail
    ! Error from server (NotFound): …     a line of standard error; there must be no others
    $ kubectl apply -f -                  with standard input
    < kind: ConfigMap
    $ KUBE_EDITOR="sed -i s/a/b/" kubectl edit configmap x     with a variable
    $& kubectl get pods -w                goes on beside the next commands as soon as it has printed these lines, up to
    NAME …                                the end (of the last one first), where it must have printed those, and no others
    $end
    NAME …

$NAMESPACE is the walk's own namespace, in which all commands run.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml
from e2e_cluster import KUBECTL, WAIT_SECONDS, Cluster, wait_for

FOLDER = Path(__file__).parent / "kubectl"
PROMPT = re.compile(r"\$(?P<mode>[~!&]?) (?P<command>.+)|\$end")
_VARIABLE = re.compile(r"([A-Z_]+)=(.*)", re.DOTALL)


@dataclass
class Step:
    """`mode`: "" succeeds, "~" is asked until it is so, "!" fails, "&" goes on beside the others, "end" ends that."""

    mode: str
    command: str = ""
    input: list[str] = field(default_factory=list)
    output: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def words(self) -> list[str]:
        """Variables and kubectl's arguments."""
        return shlex.split(self.command)


@dataclass
class Walk:
    files: dict[str, str]
    steps: list[Step]


def load(path: Path) -> Walk:
    walk, file = Walk({}, []), ""
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if line.startswith("==="):
            file = line[3:].strip()
            if file:
                walk.files[file] = ""
        elif file:
            walk.files[file] += line + "\n"
        elif (prompt := PROMPT.fullmatch(line)) is not None:
            walk.steps.append(Step(prompt["mode"] if prompt["command"] else "end", prompt["command"] or ""))
        elif line.startswith("#") or not line.strip():
            continue
        elif not walk.steps:
            raise ValueError(f"{path}:{number}: before the first command")
        else:
            into = {"<": walk.steps[-1].input, "!": walk.steps[-1].errors}.get(line[0])
            if into is None:
                walk.steps[-1].output.append(line)
            else:
                into.append(line[2:])
    return walk


def commands(walk: Walk) -> Iterator[list[str]]:
    """The words after `kubectl` of every command, within a shell's too."""
    for step in walk.steps:
        for found in re.finditer(r"\bkubectl ([^|;)]*)", step.command):
            yield found[1].replace("'", " ").split()


@dataclass
class Beside:
    """A command that goes on beside others, and where it prints."""

    process: subprocess.Popen[bytes]
    log: Path


@dataclass
class Walker:
    """One user in one namespace with one kubectl."""

    cluster: Cluster
    namespace: str
    directory: Path
    binary: Path = KUBECTL

    def walk(self, walk: Walk) -> None:
        self._prepare(walk.files)
        beside: list[Beside] = []
        try:
            for step in walk.steps:
                if step.mode == "&":
                    beside.append(self._start(step, len(beside)))
                elif step.mode == "end":
                    self._end(beside.pop(), step)
                else:
                    self._take(step)
        finally:
            for left in beside:
                left.process.kill()
                left.process.wait()

    def _prepare(self, files: dict[str, str]) -> None:
        config = yaml.safe_load((self.cluster.home / "tiphys" / self.cluster.name / "kubeconfig").read_text())
        for context in config["contexts"]:
            context["context"]["namespace"] = self.namespace
        (self.directory / "kubeconfig").write_text(yaml.safe_dump(config))
        (self.directory / "kubectl").symlink_to(self.binary)
        for name, content in files.items():
            path = self.directory / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(self._fill(content))
            if content.startswith("#!"):
                path.chmod(0o755)

    def _fill(self, text: str) -> str:
        return text.replace("$NAMESPACE", self.namespace).replace("$CLUSTER", self.cluster.name)

    def _command(self, step: Step) -> tuple[list[str], dict[str, str]]:
        """Words and environment."""
        environment = {
            **self.cluster.environment,
            "TMPDIR": str(self.directory),  # where kubectl leaves what it could not edit
            "HOME": str(self.directory),
            "KUBECONFIG": str(self.directory / "kubeconfig"),
            "PATH": f"{self.directory}:{os.environ['PATH']}",
        }
        words = [self._fill(word) for word in step.words()]
        while (variable := _VARIABLE.fullmatch(words[0])) is not None:
            environment[variable[1]] = variable[2]
            words.pop(0)
        if words[0] == "kubectl":
            words[0] = str(self.directory / "kubectl")
        return words, environment

    def _take(self, step: Step) -> None:
        complaint = ""

        def is_so() -> bool:
            nonlocal complaint
            complaint = self._complaint(step)
            return not complaint

        if step.mode == "~":
            try:
                wait_for(is_so, step.command)
            except pytest.fail.Exception:
                pytest.fail(complaint)
        elif not is_so():
            pytest.fail(complaint)

    def _complaint(self, step: Step) -> str:
        """What is not as the step says; "" when all is."""
        words, environment = self._command(step)
        result = subprocess.run(
            words,
            input=self._fill("\n".join(step.input) + "\n" if step.input else ""),
            capture_output=True,
            text=True,
            cwd=self.directory,
            env=environment,
            timeout=2 * WAIT_SECONDS,
            check=False,
        )
        as_told = (
            bool(result.returncode) == (step.mode == "!")
            and matches(result.stdout, self._expected(step.output))
            and matches(result.stderr, self._expected(step.errors))
        )
        if as_told:
            return ""
        expected = "\n".join([*step.output, *(f"! {line}" for line in step.errors)])
        return (
            f"$ {step.command}\n{result.stdout}{result.stderr}"
            f"--- ended with {result.returncode}; expected\n{expected}"
        )

    def _expected(self, lines: list[str]) -> list[str]:
        return [self._fill(line) for line in lines]

    # Beside the others

    def _start(self, step: Step, number: int) -> Beside:
        words, environment = self._command(step)
        log = self.directory / f"beside-{number}.log"
        with log.open("w") as output:
            process = subprocess.Popen(
                words, stdout=output, stderr=subprocess.STDOUT, cwd=self.directory, env=environment
            )
        started = Beside(process, log)
        begins = [*self._expected(step.output), "..."]
        wait_for(lambda: matches(log.read_text(), begins), step.command)
        return started

    def _end(self, beside: Beside, step: Step) -> None:
        expected = self._expected(step.output)
        try:
            wait_for(lambda: matches(beside.log.read_text(), expected), "")
        except pytest.fail.Exception:
            pytest.fail(f"{beside.log.read_text()}\n--- expected\n" + "\n".join(expected))
        finally:
            beside.process.send_signal(signal.SIGINT)
            beside.process.wait(WAIT_SECONDS)


def matches(text: str, expected: list[str]) -> bool:
    lines = [" ".join(line.split()) for line in text.splitlines() if line.strip()]
    return _match(lines, [" ".join(line.split()) for line in expected])


def _match(lines: list[str], wanted: list[str]) -> bool:
    if not wanted:
        return not lines
    if wanted[0] == "...":
        return any(_match(lines[skipped:], wanted[1:]) for skipped in range(len(lines) + 1))
    if not lines or not re.fullmatch(_pattern(wanted[0]), lines[0]):
        return False
    return _match(lines[1:], wanted[1:])


def _pattern(line: str) -> str:
    escaped = re.escape(line).replace(r"\.\.\.", ".*")
    return escaped.replace(r"\*", r"\S*").replace(r"\?", r"\S")
