"""The HTTP application for signed URLs, which answers as S3 does."""

import asyncio
import base64
import logging
from collections import deque
from collections.abc import Mapping
from email.utils import formatdate
from time import perf_counter
from typing import Final
from urllib.parse import unquote
from xml.sax.saxutils import escape

import attrs
from aiohttp import hdrs, web

from ..faults import Fault, Faults, reset
from ..request import Refused
from ..state.cloud import Cloud
from ..state.files import LARGEST, Download, File, Upload
from ..state.signing import Command, Denied, Grant
from . import cors
from .app import Received
from .conditions import Failed, select

__all__ = ["Bucket"]

_LOG: Final = logging.getLogger(__name__)
_FAULT: Final = "files"
_XML: Final = "application/xml"
_COMMANDS: Final[Mapping[str, Command]] = {
    hdrs.METH_GET: "get",
    hdrs.METH_PUT: "put",
    hdrs.METH_DELETE: "delete",
}


@attrs.define
class _Answer:
    """A reply; ``download`` gives the body, of ``size`` bytes, if it is that of a file."""

    status: int = 200
    headers: dict[str, str] = attrs.field(factory=dict)
    body: bytes = b""
    download: Download | None = None
    size: int = 0


class Bucket:
    """Answers the requests with signed URLs for the files of one cloud.

    Args:
        cloud: the state; its lock is never held while waiting for the network.
        faults: the faults to inject, those for ``files``.
        requests: where received requests are recorded, without bodies.
        local_origins: whether pages of this machine may call it.
    """

    def __init__(self, cloud: Cloud, faults: Faults, requests: deque[Received], *, local_origins: bool = False) -> None:
        self._cloud = cloud
        self._origins = cors.Origins(cloud.origin, local_origins)
        self._faults = faults
        self._requests = requests

    def application(self) -> web.Application:
        """Return the application; its one route leads here."""
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._handle)
        return app

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        started = perf_counter()
        preflight = self._origins.preflight_headers(request.method, request.headers, cors.FILES)
        if preflight is not None:
            self._record(request, 204, started)
            return web.Response(status=204, headers=preflight)
        taken = self._faults.take(_FAULT)
        fault = taken or Fault(_FAULT)
        await asyncio.sleep(fault.delay)
        if fault.reset == "before" or fault.status is not None or fault.body is not None:
            answer = _fault_answer(fault)
        else:
            answer = await self._answer(request)
        try:
            # Before the answer is sent: a client that has it finds its request recorded.
            self._record(request, 0 if fault.reset else answer.status, started, taken)
            if fault.reset:
                reset(request.transport)
                return web.Response()
            return await self._send(request, answer, fault)
        finally:
            if answer.download:
                with self._cloud.lock:
                    answer.download.close()

    def _record(self, request: web.Request, status: int, started: float, fault: Fault | None = None) -> None:
        # The signature is a secret as long as it is valid.
        query = {name: value for name, value in request.query.items() if name != "signature"}
        now, ms = self._cloud.clock(), (perf_counter() - started) * 1000
        path = request.rel_url.raw_path
        seen = request.method, path, query, b"", "public", status
        self._requests.append(Received(*seen, now, ms, _FAULT, fault))

    async def _answer(self, request: web.Request) -> _Answer:
        try:
            owner, filename, grant = self._granted(request)
            if request.method == hdrs.METH_PUT:
                return await self._put(request, owner, filename, grant)
            if request.method == hdrs.METH_DELETE:
                with self._cloud.lock:
                    self._cloud.files.remove(owner, filename)
                return _Answer(204)
            return self._get(request, owner, filename)
        except Failed as failed:
            return _refusal(failed)
        except Refused as refused:
            return _refusal(Failed(refused.status, "InvalidArgument", refused.message))
        except (web.RequestPayloadError, ConnectionError):
            return _refusal(Failed(400, "IncompleteBody", "The body ended before its Content-Length"))
        except Exception:  # noqa: BLE001 - a defect must not end the server
            _LOG.exception("%s failed", request.method)
            return _refusal(Failed(500, "InternalError", "Service error"))

    def _granted(self, request: web.Request) -> tuple[str, str, Grant]:
        """Return the owner and the name of the file, and what the URL grants."""
        command = _COMMANDS.get(request.method)
        # The method is signed, so that no URL is good for a HEAD.
        if command is None and request.method != hdrs.METH_HEAD:
            raise Failed(405, "MethodNotAllowed", "The method is not one of GET, HEAD, PUT and DELETE")
        if hdrs.AUTHORIZATION in request.headers or "X-Token" in request.headers:
            raise Failed(400, "InvalidArgument", "Only one auth mechanism is allowed: the URL is signed")
        owner, _, filename = unquote(request.rel_url.raw_path).removeprefix("/").partition("/")
        try:
            with self._cloud.lock:
                grant = self._cloud.files.signer.check(owner, filename, request.query.items())
        except Denied as denied:
            raise Failed(403, denied.code, denied.message) from denied
        if grant.command != command:
            raise _mismatch("method")
        return owner, filename, grant

    def _get(self, request: web.Request, owner: str, filename: str) -> _Answer:
        with self._cloud.lock:
            file = self._cloud.files.get(owner, filename)
            if file is None:
                raise Failed(404, "NoSuchKey", "The file does not exist")
            headers = _headers(file)
            part = select(request.headers, file.size, headers[hdrs.ETAG], file.updated // 1000)
            headers |= part.headers
            if part.status == 304:
                del headers[hdrs.CONTENT_TYPE]
                return _Answer(304, headers)
            download = self._cloud.files.read(file, part.start)
            return _Answer(part.status, headers, download=download, size=part.stop - part.start)

    async def _put(self, request: web.Request, owner: str, filename: str, grant: Grant) -> _Answer:
        length = request.content_length
        if length is None:
            raise Failed(411, "MissingContentLength", "Content-Length is missing")
        if length > LARGEST:
            raise Failed(400, "EntityTooLarge", f"The file must have up to {LARGEST} bytes")
        if grant.size not in (None, length):
            raise _mismatch("Content-Length")
        mime_type = request.headers.get(hdrs.CONTENT_TYPE)
        if grant.mime_type not in (None, mime_type):
            raise _mismatch("Content-Type")
        lock = self._cloud.lock
        with lock:
            upload = self._cloud.files.upload(owner, filename, mime_type)
        try:
            async for data in request.content.iter_any():
                with lock:
                    upload.write(data)
            file = self._finish(owner, upload)
        except LookupError as error:
            raise Failed(404, "NoSuchUpload", "The upload was dropped") from error
        finally:
            with lock:
                upload.close()
        return _Answer(200, {hdrs.ETAG: f'"{file.md5}"'})

    def _finish(self, owner: str, upload: Upload) -> File:
        with self._cloud.lock:
            # An account that was closed since the URL was signed has no files any more.
            if not self._cloud.has_files(owner):
                raise LookupError("the account is closed")
            return upload.finish()

    async def _send(self, request: web.Request, answer: _Answer, fault: Fault) -> web.StreamResponse:
        headers = answer.headers | self._origins.response_headers(request.headers) | dict(fault.headers)
        size = answer.size if answer.download else len(answer.body)
        if answer.status not in (204, 304):
            headers |= {hdrs.CONTENT_LENGTH: str(size)}
        response = web.StreamResponse(status=answer.status, headers=headers)
        left = size
        if fault.truncate:
            response.force_close()
            left //= 2
        try:
            await response.prepare(request)
            if request.method == hdrs.METH_HEAD or answer.status == 304:
                return response
            while left > 0 and (data := self._next(answer)):
                await response.write(data[:left])
                left -= len(data)
        except ConnectionError:
            # The client has disconnected.
            return response
        if left > 0:
            # Its chunks are gone, as the cloud was reset: a broken reply is better than a truncated one.
            reset(request.transport)
        return response

    def _next(self, answer: _Answer) -> bytes:
        if answer.download is None:
            return answer.body
        with self._cloud.lock:
            return answer.download.next()


def _headers(file: File) -> dict[str, str]:
    return {
        hdrs.CONTENT_TYPE: file.mime_type,
        hdrs.ETAG: f'"{file.md5}"',
        hdrs.LAST_MODIFIED: formatdate(file.updated // 1000, usegmt=True),
        hdrs.ACCEPT_RANGES: "bytes",
        "x-amz-checksum-sha256": base64.b64encode(bytes.fromhex(file.checksum)).decode(),
    }


def _mismatch(what: str) -> Failed:
    return Failed(403, "SignatureDoesNotMatch", f"The {what} is not the one that was signed")


def _refusal(failed: Failed) -> _Answer:
    text = (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{failed.code}</Code>'
        f"<Message>{escape(failed.message)}</Message></Error>"
    )
    return _Answer(failed.status, {hdrs.CONTENT_TYPE: _XML} | dict(failed.headers), text.encode())


def _fault_answer(fault: Fault) -> _Answer:
    status = 200 if fault.status is None else fault.status
    body = fault.body.encode() if isinstance(fault.body, str) else fault.body or b""
    return _Answer(status, {hdrs.CONTENT_TYPE: _XML}, body)
