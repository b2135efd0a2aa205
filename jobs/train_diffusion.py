#!/usr/bin/env python
"""`factory train` as a job: ray job submit --working-dir . -- python jobs/train_diffusion.py ..."""

from factory.cli import job

if __name__ == "__main__":
    job("train")
