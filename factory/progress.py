"""Plain progress lines, readable in a terminal and in a job's log."""


def tell(line: str) -> None:
    """Prints one line at once."""
    print(line, flush=True)


def duration(seconds: float) -> str:
    """'45s', '3m 20s', '2h 05m'."""
    minutes, left = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h {minutes:02d}m"
    return f"{minutes}m {left:02d}s" if minutes else f"{left}s"
