"""Who is asking."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from service_kit.errors import ApiError

_bearer = HTTPBearer(auto_error=False, description="An API key; any, or none, where no keys are set")


def tenant(request: Request, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]) -> str:
    """The tenant of the request's API key."""
    found: str | None = request.state.api_keys.tenant_of(credentials.credentials if credentials else None)
    if found is None:
        given = "Incorrect API key" if credentials else "No API key in the Authorization header (Bearer …)"
        raise ApiError(401, given, code="invalid_api_key", headers={"WWW-Authenticate": "Bearer"})
    return found


Tenant = Annotated[str, Depends(tenant)]
