"""The application: a composition of routes, middleware, exception handlers and lifespan, and nothing else."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager

from starlette.applications import Starlette
from starlette.middleware import Middleware

from service.access import request_signatures
from service.access.users import ensure_admin
from service.http.authentication import Authentication, Basic, in_session, signed
from service.http.envelope import Tracing
from service.http.guards import Auditing, Faults, RateLimit
from service.http.metrics import Measuring
from service.http.security_headers import SecurityHeaders
from service.http.targets import Targets
from service.inventory.reader import InventoryReader
from service.model.settings import Settings
from service.observe import tracing
from service.pages import errors
from service.routes import OPEN_PATHS, routes
from service.store.notifications import listen
from service.store.start_errors import explaining_start_errors
from service.tasks.resources import Resources, open_resources

Beside = Callable[[Resources], AbstractAsyncContextManager[None]]
"""Something that runs as long as the application does, on the same resources: a worker."""


def create_app(
    settings: Settings, *, inventory: InventoryReader | None = None, beside: Sequence[Beside] = ()
) -> Starlette:
    """The service as an ASGI application; its lifespan opens `app.state.resources` and `app.state.notifications`."""
    basic = Basic()

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            resources = await stack.enter_async_context(open_resources(settings, inventory))
            app.state.resources = resources
            with explaining_start_errors(settings):
                await ensure_admin(resources.database, settings.data_dir)
                app.state.notifications = await stack.enter_async_context(listen(resources.database.url))
            for companion in beside:
                await stack.enter_async_context(companion(resources))
            yield

    app = Starlette(
        routes=routes(),
        middleware=[
            Middleware(Targets),
            Middleware(Measuring),
            Middleware(SecurityHeaders),
            Middleware(Auditing),
            Middleware(Faults, answer=errors.fault),
            Middleware(
                Authentication,
                schemes={"basic": basic, request_signatures.SCHEME.lower(): signed},
                open_paths=OPEN_PATHS,
                session=in_session,
            ),
            *([Middleware(RateLimit, limits=settings.rate_limits)] if settings.rate_limits else []),
            Middleware(Tracing),
            *_spans(),
        ],
        exception_handlers=errors.HANDLERS,
        lifespan=lifespan,
    )
    app.state.basic = basic  # the login page checks as HTTP Basic does
    app.router.redirect_slashes = False  # `Targets` makes it the same path
    return app


def _spans() -> list[Middleware]:
    """Without traces, what makes them is not even imported."""
    if tracing.tracer() is None:
        return []
    from service.http.tracing import Spans

    return [Middleware(Spans)]
