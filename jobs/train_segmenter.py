#!/usr/bin/env python
"""`factory segment` as a job: ray job submit --working-dir . -- python jobs/train_segmenter.py"""

from factory.cli import job

if __name__ == "__main__":
    job("segment")
