"""What /metrics says of one configuration file's reloads."""

from __future__ import annotations

import hashlib

from served import Client


async def reloads(client: Client, of: str) -> dict[str, str]:
    """By the end of the metric's name and its status; the hash of what is in use under "hash"."""
    text = (await client.call("GET", "/metrics")).raw.decode()
    prefix = f"apiserver_{of}_config_controller_"
    found = {}
    for line in text.splitlines():
        if line.startswith(prefix):
            name, _, rest = line.removeprefix(prefix).partition("{")
            labels, _, value = rest.partition("} ")
            said = dict(pair.split("=", 1) for pair in labels.split(","))
            assert "apiserver_id_hash" in said
            if name == "last_config_info":
                found["hash"] = said["hash"].strip('"')
            else:
                found[f"{name} {said['status'].strip(chr(34))}"] = value
    return found


def hash_of(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"
