"""What tests of whole calls share."""

from tests.support.certificates import certificates

__all__ = ["certificates"]
