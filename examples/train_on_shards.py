"""A segmentation network trained on the shards of a finished dataset, in plain torch.

python examples/train_on_shards.py out/pairs network.pt --steps 1000
"""

import argparse
from itertools import islice

import torch
import torch.nn.functional as F

import factory
from factory.segmentation.unet import UNet

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("url", help="the dataset's folder or URL")
parser.add_argument("out", help="the file of the weights")
parser.add_argument("--steps", type=int, default=1000)
parser.add_argument("--batch-size", type=int, default=16)
args = parser.parse_args()

samples = factory.open_dataset(args.url, shuffle=True, mask_dtype="int64", columns=[])
network = UNet(samples.plan.channels, len(samples.plan.class_names), widths=(32, 64, 128, 256))
optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3)
schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, args.steps)
stream = samples.endless(ahead=2 * args.batch_size)
for step in range(1, args.steps + 1):
    batch = list(islice(stream, args.batch_size))
    images = torch.stack([row["image"] for row in batch]) / 127.5 - 1
    masks = torch.stack([row["mask"] for row in batch])
    loss = F.cross_entropy(network(images), masks, ignore_index=255)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    schedule.step()
    if step % 50 == 0:
        print(f"step {step}: loss {loss.item():.3f}")
torch.save(network.state_dict(), args.out)
