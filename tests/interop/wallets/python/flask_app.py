"""The wallet as a Flask application: for waitress."""

import time

import flask
import terminate_wallet as wallet

app = flask.Flask(__name__)


def terminate() -> flask.Response:
    """Answer a request."""
    headers = {name.lower(): value for name, value in flask.request.headers}
    status, content, is_slow = wallet.answer(headers, flask.request.get_data())
    if is_slow:
        time.sleep(wallet.SLOW_S)
    return flask.Response(content, status, content_type=wallet.JSON)


app.add_url_rule(wallet.PATH, view_func=terminate, methods=["POST"])
