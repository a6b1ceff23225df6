"""gRPC towards callers: handlers, listeners, health, reflection and TLS; `app` puts all parts together."""
