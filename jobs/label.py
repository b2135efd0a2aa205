#!/usr/bin/env python
"""`factory label` as a job: ray job submit --working-dir . -- python jobs/label.py ..."""

from factory.cli import job

if __name__ == "__main__":
    job("label")
