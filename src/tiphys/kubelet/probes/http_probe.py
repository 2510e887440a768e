"""httpGet: any answer from 200 to 399 is a good one; redirects are followed as long as they stay at their host."""

from __future__ import annotations

import ssl
from urllib.parse import urljoin, urlsplit

from tiphys.kubelet.probes.results import ProbeResult, broken
from tiphys.kubelet.probes.targets import dial_failure, trusting_anybody, url_of
from tiphys.kubelet.spec import Object
from tiphys.net.client import ConnectError, HTTPClient, HTTPClientError
from tiphys.net.client_connection import ConnectionLost

USER_AGENT = "kube-probe/1.36"
BODY_LIMIT_BYTES = 10 * 1024
REDIRECT_LIMIT = 10
_REDIRECTS = (301, 302, 303, 307, 308)

Headers = list[tuple[str, str]]


async def http_get(action: Object, container: Object, ip: str) -> ProbeResult:
    try:
        base, target = url_of(action, container, ip)
    except ValueError as error:
        return broken(str(error))
    headers, first = headers_of(action), urlsplit(base).hostname
    for _ in range(REDIRECT_LIMIT):
        answer = await _get(base, target, headers)
        if isinstance(answer, ProbeResult):
            return answer
        status, location, body = answer
        if status not in _REDIRECTS or not location:
            return _judge(status, body)
        url = urlsplit(urljoin(f"{base}{target}", location))
        if url.hostname != first or url.scheme not in ("http", "https"):
            return _judge(status, body)
        if url.netloc != urlsplit(base).netloc:
            headers = [header for header in headers if header[0].lower() != "host"]
        base = f"{url.scheme}://{url.netloc}"
        target = (url.path or "/") + (f"?{url.query}" if url.query else "")
    return ProbeResult(succeeded=False, message=f'Get "{location}": stopped after {REDIRECT_LIMIT} redirects')


def headers_of(action: Object) -> Headers:
    """Those of the probe, and upstream's where it has no own: one that is set to nothing is not sent."""
    own = [(header["name"], header["value"]) for header in action.get("httpHeaders") or ()]
    named = {name.lower() for name, _ in own}
    sent = [header for header in own if header[1] or header[0].lower() not in ("user-agent", "accept")]
    wanted = (("User-Agent", USER_AGENT), ("Accept", "*/*"), ("Connection", "close"))
    return sent + [header for header in wanted if header[0].lower() not in named]


async def _get(base: str, target: str, headers: Headers) -> tuple[int, str, str] | ProbeResult:
    """(status, where it leads, the beginning of the body)."""
    client = HTTPClient(base, ssl_context=trusting_anybody() if base.startswith("https") else None)
    try:
        async with client.stream("GET", target, headers) as answer:
            body = b""
            while len(body) < BODY_LIMIT_BYTES and (piece := await answer.read()):
                body += piece
            text = body[:BODY_LIMIT_BYTES].decode(errors="replace")
            return answer.status, answer.headers.get("location", ""), text
    except ConnectError as error:
        return ProbeResult(
            succeeded=False,
            message=f'Get "{base}{target}": {dial_failure(error.address, error.__cause__, error.reason)}',
        )
    except ConnectionLost as lost:
        return ProbeResult(
            succeeded=False, message=f'Get "{base}{target}": {"EOF" if lost.untouched else lost}'
        )
    except (HTTPClientError, OSError, ssl.SSLError, ValueError) as error:
        return ProbeResult(succeeded=False, message=f'Get "{base}{target}": {error}')
    finally:
        await client.close()


def _judge(status: int, body: str) -> ProbeResult:
    if 200 <= status < 300:
        return ProbeResult(succeeded=True, message=body)
    if 300 <= status < 400:
        return ProbeResult(
            succeeded=True, message=f"Probe terminated redirects, Response body: {body}", warns=True
        )
    return ProbeResult(succeeded=False, message=f"HTTP probe failed with statuscode: {status}")
