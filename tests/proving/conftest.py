from tests.segmentation.conftest import pairs_url

__all__ = ["pairs_url"]
