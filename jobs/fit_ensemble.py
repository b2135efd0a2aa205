#!/usr/bin/env python
"""`factory fit` as a job: ray job submit --working-dir . -- python jobs/fit_ensemble.py ..."""

from factory.cli import job

if __name__ == "__main__":
    job("fit")
