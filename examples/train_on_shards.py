"""A segmentation network trained on the shards of a finished dataset, in plain torch.

python examples/train_on_shards.py out/pairs --steps 1000
"""

import argparse

import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader

import factory
from factory.segmentation.unet import UNet

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("url", help="the dataset's folder or URL")
parser.add_argument("--steps", type=int, default=1000)
parser.add_argument("--batch-size", type=int, default=16)
parser.add_argument("--out", default="network.pt")
args = parser.parse_args()

samples = factory.open_dataset(args.url, shuffle=True, mask_dtype="int64", columns=[])
num_channels, num_classes = samples.plan.channels, len(samples.plan.class_names)
network = UNet(num_channels, num_classes, widths=(32, 64, 128, 256))
optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3)
schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, args.steps)
step = 0
while step < args.steps:
    samples.set_epoch(step)
    for batch in DataLoader(samples, args.batch_size, drop_last=len(samples) >= args.batch_size):
        logits = network(batch["image"] / 127.5 - 1)
        loss = F.cross_entropy(logits, batch["mask"], ignore_index=255)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        step += 1
        if step % 50 == 0:
            print(f"step {step}: loss {loss.item():.3f}")
        if step == args.steps:
            break
torch.save(network.state_dict(), args.out)
