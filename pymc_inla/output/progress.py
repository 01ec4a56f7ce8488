"""Progress of a fit, shown once it has taken more than a second, in the style of PyMC's bars."""

import importlib.util
import time

DELAY = 1.0
"""Seconds before anything is shown: most fits are over by then."""


class FitProgress:
    """Context manager and callback `(stage, fraction)`.

    Parameters
    ----------
    enabled : bool
    theme : rich.theme.Theme, optional
        Colors; PyMC's by default.
    delay : float
        Seconds before the bar appears.
    console : rich.console.Console, optional
        Where the bar is drawn; standard error by default.
    """

    def __init__(self, enabled=True, theme=None, delay=DELAY, console=None):
        self.enabled, self.theme, self.delay, self.console = bool(enabled), theme, delay, console
        self.begin = time.perf_counter()
        self.bar = self.task = None

    def __enter__(self):
        self.begin = time.perf_counter()
        return self

    def __call__(self, stage: str, fraction: float = 0.0) -> None:
        """Report that `fraction` (0 to 1) of `stage` is done."""
        if not self.enabled:
            return
        if self.bar is None:
            if time.perf_counter() - self.begin < self.delay:
                return
            self._start()
            if self.bar is None:
                return
        self.bar.update(self.task, description=stage, completed=min(max(fraction, 0.0), 1.0))

    def _start(self):
        from pymc.progress_bar import CustomProgress, default_progress_theme
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn, TimeElapsedColumn

        console = self.console or Console(stderr=True, theme=self.theme or default_progress_theme)
        if console.is_jupyter and importlib.util.find_spec("ipywidgets") is None:
            self.enabled = False  # rich draws through ipywidgets there, and warns at every update without them
            return
        self.bar = CustomProgress(
            TextColumn("{task.description}"),
            BarColumn(),
            TimeElapsedColumn(),
            console=console,
        )
        self.bar.start()
        self.task = self.bar.add_task("", total=1.0)
        # the clock of the bar counts from the start of the fit, not from its own appearance
        self.bar.tasks[0].start_time -= time.perf_counter() - self.begin

    def __exit__(self, exception_type, exception, traceback):
        if self.bar is not None:
            if exception_type is None:
                self.bar.update(self.task, description="INLA finished", completed=1.0)
            self.bar.stop()
        return False
