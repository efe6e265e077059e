from tests.mgmt.fixtures import machine

__all__ = ["machine"]
