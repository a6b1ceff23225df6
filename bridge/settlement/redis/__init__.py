"""Settlement store in Redis or Valkey, for replicas on any machines."""

from bridge.settlement.redis.store import RedisStore

__all__ = ["RedisStore"]
