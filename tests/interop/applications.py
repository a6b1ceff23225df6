"""The wallet in each language: on granian behind every proxy, and on Django, Flask and PHP for the rows about those."""

import base64
from collections.abc import Callable
from dataclasses import dataclass

from tests.interop.installed import PYTHON, WALLETS, Debian, python_version
from tests.interop.running import Program
from tests.interop.site import SLOW_S, Site
from tests.support.settings_files import ACCESS_KEY, PRIVATE_KEY

PHP = Debian("php-fpm8.2", "php-fpm")
THREADS = 32
"""Calls at a time in an application that has a thread for each."""


def environ(site: Site) -> dict[str, str]:
    """Return what every wallet reads from its environment."""
    found = {
        "INTEROP_LEDGER": str(site.ledger),
        "INTEROP_AUTHORIZATION": "Basic " + base64.b64encode(f"1:{ACCESS_KEY}".encode()).decode(),
        "INTEROP_PRIVATE_KEY": PRIVATE_KEY,
        "INTEROP_SLOW_S": str(SLOW_S),
        "INTEROP_IDLE_S": str(site.idle_s),
        "INTEROP_PORT": str(site.port),
        "PYTHONPATH": str(WALLETS / "python"),
    }
    if site.is_odd:
        found["INTEROP_ODD"] = "1"
    if site.tls:
        found["INTEROP_CERTIFICATE"] = str(site.tls.identity.certificate_file)
        found["INTEROP_KEY"] = str(site.tls.identity.key_file)
        found["INTEROP_KEYSTORE"] = str(site.tls.keystore)
    return found


@dataclass(frozen=True)
class Application:
    """A wallet that a proxy passes calls to, on the site's upstream port."""

    name: str
    program: Callable[[Site], Program]
    missing: Callable[[], str]
    version: Callable[[], str]


def _python(script: str, *arguments: str) -> Callable[[Site], Program]:
    def program(site: Site) -> Program:
        words = [word.format(port=site.upstream, threads=THREADS) for word in arguments]
        return Program([str(PYTHON.target / "bin" / script), *words], environ(site), port=site.upstream)

    return program


def _versions(*packages: str) -> Callable[[], str]:
    return lambda: ", ".join(f"{package} {python_version(package)}" for package in packages)


def _php(site: Site) -> Program:
    file = site.file("php-fpm.conf", port=site.upstream)
    argv = [PHP.path, "--nodaemonize", "--allow-to-run-as-root", "--fpm-config", str(file)]
    return Program(argv, environ(site), port=site.upstream)


ASGI = Application(
    "ASGI on granian",
    _python(
        "granian",
        *("--interface", "asgi", "--host", "127.0.0.1", "--port", "{port}", "--http", "1", "--no-log"),
        *("--workers", "1", "--backlog", "1024", "--backpressure", "4096", "asgi_app:app"),
    ),
    PYTHON.missing,
    _versions("granian"),
)
DJANGO_GUNICORN = Application(
    "Django on gunicorn",
    _python(
        "gunicorn",
        *("--bind", "127.0.0.1:{port}", "--worker-class", "gthread", "--threads", "{threads}", "--no-control-socket"),
        "django_app:application",
    ),
    PYTHON.missing,
    _versions("django", "gunicorn"),
)
_UWSGI = (
    *("--wsgi", "django_app", "--threads", "{threads}", "--listen", "100", "--die-on-term", "--need-app"),
    *("--disable-logging", "--post-buffering", "8192"),
)
DJANGO_UWSGI = Application(
    "Django on uWSGI",
    _python("pyuwsgi", "--http-socket", "127.0.0.1:{port}", *_UWSGI),
    PYTHON.missing,
    _versions("django", "pyuwsgi"),
)
DJANGO_UWSGI_PROTOCOL = Application(
    "Django on uWSGI (uwsgi protocol)",
    _python("pyuwsgi", "--uwsgi-socket", "127.0.0.1:{port}", *_UWSGI),
    PYTHON.missing,
    _versions("django", "pyuwsgi"),
)
FLASK = Application(
    "Flask on waitress",
    _python("waitress-serve", "--listen=127.0.0.1:{port}", "--threads={threads}", "flask_app:app"),
    PYTHON.missing,
    _versions("flask", "waitress"),
)
PHP_FPM = Application("PHP on php-fpm", _php, PHP.missing, PHP.version)
