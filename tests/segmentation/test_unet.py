import pytest
import torch

from factory.segmentation.unet import UNet


@pytest.mark.parametrize(("height", "width"), [(16, 16), (17, 23), (8, 5)])
def test_any_size_gets_logits_of_its_own_size(height, width) -> None:
    network = UNet(3, 5, (8, 16, 24))
    assert network(torch.zeros(2, 3, height, width)).shape == (2, 5, height, width)


def test_the_logits_of_an_image_depend_on_no_other_image() -> None:
    torch.manual_seed(0)
    network = UNet(1, 4, (8, 16)).train()
    images = torch.randn(3, 1, 16, 16)
    alone = torch.cat([network(image[None]) for image in images])
    torch.testing.assert_close(network(images), alone)
