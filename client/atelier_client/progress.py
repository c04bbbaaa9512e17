"""A progress bar in a terminal or a notebook."""

from tqdm.auto import tqdm

from atelier_client.types.responses import ProgressData


class Bar:
    """A bar of the steps of one job."""

    def __init__(self, job_id: str, kind: str) -> None:
        self._bar = tqdm(total=1, desc=f"{kind} {job_id}", unit="step", leave=True)

    def update(self, progress: ProgressData) -> None:
        """Shows a progress."""
        self._bar.total = progress["total"]
        self._bar.n = progress["step"]
        self._bar.set_postfix_str(progress["message"])

    def close(self) -> None:
        """Leaves the bar as it is."""
        self._bar.close()
