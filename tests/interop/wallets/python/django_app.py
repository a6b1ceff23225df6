"""The wallet as a Django application, whole in one module: for gunicorn and uWSGI."""

import time

import terminate_wallet as wallet
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse
from django.urls import path

settings.configure(ALLOWED_HOSTS=["*"], ROOT_URLCONF=__name__, SECRET_KEY="interop", MIDDLEWARE=[])


def terminate(request: HttpRequest) -> HttpResponse:
    """Answer a request."""
    headers = {name.lower(): value for name, value in request.headers.items()}
    status, content, is_slow = wallet.answer(headers, request.body)
    if is_slow:
        time.sleep(wallet.SLOW_S)
    return HttpResponse(content, content_type=wallet.JSON, status=status)


urlpatterns = [path(wallet.PATH.removeprefix("/"), terminate)]
application = get_wsgi_application()
