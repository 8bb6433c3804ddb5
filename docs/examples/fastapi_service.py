"""A FastAPI service that writes to the audit log: a handler says in one line what was done.

uvicorn --app-dir docs/examples --no-proxy-headers --workers 2 fastapi_service:app
curl -H "X-User: u1" http://127.0.0.1:8000/workspaces/acme/files/f1
curl -H "X-User: u1" -X PATCH --json '{"city": "Kiel"}' http://127.0.0.1:8000/workspaces/acme/clients/c1
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import Depends, FastAPI, Header, HTTPException
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.requests import Request

from audit_producers import AuditLog, SpoolFull, SpoolUnavailable, changes_between, update_context
from audit_producers.middleware.asgi import AuditContextMiddleware

log = AuditLog("portal", version="1.0")


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    """uvicorn ends its process with the signal that it got, which skips `atexit`: the log is closed here."""
    async with log:
        yield


async def signed_in(workspace: str, x_user: Annotated[str | None, Header()] = None) -> None:
    """The service's own authentication would stand here. What it finds out holds until the end of the request.

    It is asynchronous: what a synchronous dependency says is lost with the thread it runs in.
    """
    if not x_user:
        await log.aemit("auth.login_failed", workspace_id=workspace, actor={"type": "anonymous"})
        raise HTTPException(401)
    update_context(workspace_id=workspace, actor={"type": "internal_user", "id": x_user, "name": x_user.upper()})


app = FastAPI(lifespan=lifespan)
app.add_middleware(AuditContextMiddleware, trusted_proxies=["127.0.0.1", "10.0.0.0/8"])
SIGNED_IN = [Depends(signed_in)]


class Client(BaseModel):
    """A client of the workspace, as it is stored."""

    name: str
    city: str = ""
    password: str = ""


class ClientPatch(BaseModel):
    """What of a client is to be changed."""

    name: str | None = None
    city: str | None = None
    password: str | None = None


CLIENTS = {"c1": Client(name="Grace", city="Berlin")}


@app.get("/workspaces/{workspace}/files/{file}", dependencies=SIGNED_IN)
async def download(file: str) -> dict[str, str]:
    """Who, where from and under which request id comes from the context."""
    await log.aemit("file.downloaded", targets=[{"type": "file", "id": file}])
    return {"content": "…"}


@app.patch("/workspaces/{workspace}/clients/{client}", dependencies=SIGNED_IN)
def update(client: str, patch: ClientPatch) -> Client:
    """An update says what changed. When nothing did, nothing is emitted. Synchronous handlers use `emit`."""
    old = CLIENTS[client]
    new = old.model_copy(update=patch.model_dump(exclude_unset=True))
    CLIENTS[client] = new
    if changes := changes_between(old, new):
        log.emit("client.updated", targets=[{"type": "client", "id": client, "name": new.name}], changes=changes)
    return new


@app.exception_handler(SpoolFull)
@app.exception_handler(SpoolUnavailable)
async def not_recorded(_: Request, error: Exception) -> JSONResponse:
    """The event was not taken, and whoever asked hears of it. Nothing is dropped in silence."""
    return JSONResponse({"detail": str(error)}, 503, {"Retry-After": "5"})
