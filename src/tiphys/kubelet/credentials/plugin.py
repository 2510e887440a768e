"""Asks one plugin: a CredentialProviderRequest on its standard input, a CredentialProviderResponse on its standard output."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Mapping
from dataclasses import field
from pathlib import Path
from typing import Any

from tiphys.kubelet.credentials.settings import Provider
from tiphys.kubelet.runtimes.interface import RegistryAuth
from tiphys.machinery.clock import Clock, within
from tiphys.machinery.frozen import frozen
from tiphys.machinery.quoting import parse_duration, quote

PATIENCE_SECONDS = 60.0
CACHE_KEY_TYPES = ("Image", "Registry", "Global")


class PluginFailure(Exception):
    """Why it gave no credentials; never with anything that it said on its standard output."""

    def __init__(self, message: str, *, was_run: bool = False) -> None:
        super().__init__(message)
        self.was_run = was_run
        """It answered something; else it could not be run to its end."""


@frozen
class Question:
    image: str
    token: str = ""
    annotations: Mapping[str, str] = field(default_factory=dict)


@frozen
class Answer:
    """`cache_seconds` None: as the configuration has it."""

    cache_key_type: str
    cache_seconds: float | None
    auth: Mapping[str, RegistryAuth]


async def ask(provider: Provider, directory: Path, question: Question, clock: Clock) -> Answer:
    """Raises PluginFailure."""
    program, image = directory / provider.name, question.image
    try:
        said = await _run(program, provider, _request(provider, question), clock)
    except (OSError, TimeoutError, PluginFailure) as error:
        why = "context deadline exceeded" if isinstance(error, TimeoutError) else str(error)
        told = f"error execing credential provider plugin {provider.name} for image {image}: {why}"
        raise PluginFailure(told) from None
    return parse_answer(said, provider.api_version)


def _request(provider: Provider, question: Question) -> bytes:
    request: dict[str, Any] = {
        "kind": "CredentialProviderRequest",
        "apiVersion": provider.api_version,
        "image": question.image,
    }
    if question.token:
        request["serviceAccountToken"] = question.token
    if question.annotations:
        request["serviceAccountAnnotations"] = dict(question.annotations)
    return json.dumps(request).encode() + b"\n"


async def _run(program: Path, provider: Provider, request: bytes, clock: Clock) -> bytes:
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        program,
        *provider.args,
        stdin=pipe,
        stdout=pipe,
        stderr=pipe,
        env={**os.environ, **provider.env},
    )
    try:
        stdout, stderr = await within(clock, PATIENCE_SECONDS, process.communicate(request))
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        raise PluginFailure(f"{_status(process.returncode)}: {stderr.decode(errors='replace')}")
    return stdout


def _status(code: int) -> str:
    if code > 0:
        return f"exit status {code}"
    return f"signal: {(signal.strsignal(-code) or str(-code)).lower()}"


def parse_answer(said: bytes, api_version: str) -> Answer:
    """Raises PluginFailure."""
    try:
        document = json.loads(said)
        found = str(document.get("apiVersion") or "")
    except (ValueError, AttributeError):
        raise PluginFailure("error reading GVK from response: it is no JSON object", was_run=True) from None
    if found != api_version:
        told = f"expected apiVersion:{api_version}, actual apiVersion:{found}"
        raise PluginFailure(f"apiVersion from credential plugin response did not match {told}", was_run=True)
    try:
        answer = _decoded(document)
    except (ValueError, AttributeError, TypeError):
        # Not with what is wrong: credentials may be in it.
        told = "error decoding credential provider plugin response from stdout"
        raise PluginFailure(told, was_run=True) from None
    if answer.cache_key_type not in CACHE_KEY_TYPES:
        kind = quote(answer.cache_key_type)
        told = f"credential provider plugin did not return a valid cacheKeyType: {kind}"
        raise PluginFailure(told, was_run=True)
    return answer


def _decoded(document: Mapping[str, Any]) -> Answer:
    unknown = set(document) - {"apiVersion", "kind", "cacheKeyType", "cacheDuration", "auth"}
    if unknown or document.get("kind") != "CredentialProviderResponse":
        raise ValueError("strict decoding error")
    auth = {}
    for server, entry in (document.get("auth") or {}).items():
        if set(entry) - {"username", "password"}:
            raise ValueError("strict decoding error")
        auth[server] = RegistryAuth(str(entry.get("username") or ""), str(entry.get("password") or ""))
    duration = document.get("cacheDuration")
    seconds = None if duration is None else parse_duration(duration)
    return Answer(str(document.get("cacheKeyType") or ""), seconds, auth)
