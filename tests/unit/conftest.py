"""What tests of modules by themselves share."""

from tests.support.certificates import certificates

__all__ = ["certificates"]
