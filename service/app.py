"""The ASGI application: routes, middleware, exception handlers and lifespan, put together."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager

from starlette.applications import Starlette
from starlette.middleware import Middleware

from service.access import request_signatures
from service.access.users import ensure_admin
from service.http.audit import AuditMiddleware
from service.http.authentication import (
    AuthenticationMiddleware,
    BasicAuthentication,
    authenticate_session,
    authenticate_signature,
)
from service.http.compression import CompressionMiddleware
from service.http.envelope import TraceIdMiddleware
from service.http.error_handlers import UnhandledErrorMiddleware
from service.http.framing import FramingMiddleware
from service.http.metrics import MetricsMiddleware
from service.http.rate_limits import RateLimitMiddleware
from service.http.security_headers import SecurityHeadersMiddleware
from service.http.targets import TargetMiddleware
from service.inventory.reader import InventoryReader
from service.model.settings import Settings
from service.observe import tracing
from service.pages import errors
from service.routes import PUBLIC_PATHS, routes
from service.store.notifications import listen
from service.store.start_errors import explaining_start_errors
from service.tasks.resources import Resources, open_resources

BackgroundService = Callable[[Resources], AbstractAsyncContextManager[None]]
"""A service that runs within the lifespan of the application, with the same resources: a worker."""


def create_app(
    settings: Settings, *, inventory: InventoryReader | None = None, background: Sequence[BackgroundService] = ()
) -> Starlette:
    """Return the ASGI application; its lifespan sets `app.state.resources` and `app.state.notifications`."""
    basic = BasicAuthentication()

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            resources = await stack.enter_async_context(open_resources(settings, inventory))
            app.state.resources = resources
            with explaining_start_errors(settings):
                await ensure_admin(resources.database, settings.data_dir)
                app.state.notifications = await stack.enter_async_context(listen(resources.database.url))
            for service in background:
                await stack.enter_async_context(service(resources))
            yield

    app = Starlette(
        routes=routes(),
        middleware=[
            Middleware(TargetMiddleware),
            Middleware(MetricsMiddleware),
            Middleware(SecurityHeadersMiddleware),
            Middleware(CompressionMiddleware),
            Middleware(FramingMiddleware),
            Middleware(AuditMiddleware),
            Middleware(UnhandledErrorMiddleware, handler=errors.server_error),
            Middleware(
                AuthenticationMiddleware,
                schemes={"basic": basic, request_signatures.SCHEME.lower(): authenticate_signature},
                public_paths=PUBLIC_PATHS,
                session=authenticate_session,
                handler=errors.takeover_error,
            ),
            *([Middleware(RateLimitMiddleware, limits=settings.rate_limits)] if settings.rate_limits else []),
            Middleware(TraceIdMiddleware),
            *_tracing_middleware(),
        ],
        exception_handlers=errors.EXCEPTION_HANDLERS,
        lifespan=lifespan,
    )
    app.state.basic = basic  # the login page uses the same check as HTTP Basic
    app.router.redirect_slashes = False  # `TargetMiddleware` makes it the same path
    return app


def _tracing_middleware() -> list[Middleware]:
    """Return the tracing middleware; without tracing, do not import OpenTelemetry, which takes time."""
    if tracing.tracer() is None:
        return []
    from service.http.tracing import SpanMiddleware

    return [Middleware(SpanMiddleware)]
