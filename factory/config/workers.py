"""What the sections of both trainings have: where a run lies, and which workers make it."""

from typing import ClassVar, Literal

from factory.values import Count, Ordinal, Positive, Section, Url


class WorkersConfig(Section):
    """A training of Ray Train's workers."""

    section: ClassVar[str]
    """The name of the section in a config."""

    url: Url
    """The folder of the run."""
    num_workers: Count = 1
    """Processes that share each batch; on GPUs, one GPU each."""
    use_gpu: bool | Literal["auto"] = "auto"
    """True if workers train on GPUs. auto: where the cluster has as many as workers."""
    cpus_per_worker: Count = 1
    """CPU cores of a worker, which are its threads."""
    max_failures: Ordinal = 3
    """The number of times that a dead worker group is restarted from the last checkpoint."""
    worker_wait_seconds: Positive = 3600.0
    """The time a cluster may take to have room for all workers, at the start and after a loss."""
    log_steps: Count = 50
    """A line of progress every so many steps."""
    checkpoint_steps: Count = 1000
    """A checkpoint every so many steps."""
    num_checkpoints_to_keep: Count = 2
    """The number of the newest checkpoints that stay; older ones are deleted."""
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    """bf16: autocast; weights, averages and optimiser stay float32. auto: bf16 on GPUs and on CPUs
    with instructions for it, as each worker finds its own."""
    resume_anyway: bool = False
    """Go on from the newest checkpoint although keys of this section, or the images, are others
    than before; the result is then not bit-equal to an undisturbed run's, and says so."""
