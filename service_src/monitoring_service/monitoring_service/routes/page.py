"""The page at / and its files."""

from __future__ import annotations

from pathlib import Path

from fastapi import APIRouter
from starlette.responses import FileResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

STATIC = Path(__file__).parent.parent / "static"

# Everything comes from the page's own origin: it works offline, and no other site can frame it.
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",  # asks each time, so that an update shows at once; unchanged costs a 304
}

router = APIRouter(include_in_schema=False)


@router.get("/", response_class=FileResponse)
async def page() -> FileResponse:
    return FileResponse(STATIC / "index.html", headers=HEADERS)


class Files(StaticFiles):
    """Files of one folder, with the page's headers."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        response.headers.update(HEADERS)
        return response
