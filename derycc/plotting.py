"""Plotting: the front as a page or a picture, by Plotly."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from derycc.fronting import Front
from targets.errors import UsageError, WorkspaceError

HTML, PNG = ".html", ".png"
_INSTALL = "pip install 'derycc[plot]'"


def check_plot(out: Path) -> None:
    """Refuse a file that cannot be drawn, before anything takes time.

    Raises:
        UsageError: its ending is another than .html and .png, or a package is missing.
    """
    if out.suffix not in (HTML, PNG):
        raise UsageError(f"Cannot draw {out}: name a file that ends in {HTML} or {PNG}.")
    if find_spec("plotly") is None:
        raise UsageError(f"Drawing needs Plotly, which is not installed: {_INSTALL}.")
    if out.suffix == PNG and find_spec("kaleido") is None:
        raise UsageError(
            f"Drawing {out} needs kaleido, which is not installed: pip install kaleido (it needs a "
            f"browser). Or name a file that ends in {HTML}: it can be looked at in any browser."
        )


def write_plot(out: Path, front: Front, target: str) -> None:
    """Draw the front into a file.

    Raises:
        UsageError: as `check_plot`.
        WorkspaceError: it cannot be written.
    """
    check_plot(out)
    figure = front_figure(front, target)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        if out.suffix == PNG:
            figure.write_image(out, width=1000, height=650)
        else:
            page = figure.to_html(include_plotlyjs=True, full_html=True, div_id="front")
            out.write_text(page, encoding="utf-8")
    except OSError as error:
        raise WorkspaceError(
            f"Cannot write {out}: {error.strerror}. Name another file with --out."
        ) from error


def front_figure(front: Front, target: str) -> Any:
    """A Plotly figure: the front as steps, donors as points with their intervals."""
    from plotly import graph_objects

    figure = graph_objects.Figure([_steps(front), _donors(front)])
    figure.update_layout(
        title=f"What latency buys on {target}: predicted front, measured donors",
        xaxis_title="latency in ms (front: upper end, predicted; donors: measured)",
        yaxis_title=f"{front.score} on the calibration photographs, %",
        template="plotly_white",
    )
    return figure


def _steps(front: Front) -> Any:
    """The front: what is best at a budget stays best until the next one is."""
    from plotly import graph_objects

    return graph_objects.Scatter(
        name="front (predicted)",
        x=[row.limit_us / 1000 for row in front.rows],
        y=[100 * row.quality for row in front.rows],
        text=[str(row.network) for row in front.rows],
        mode="lines+markers",
        line={"shape": "hv", "color": "#1f5fb4"},
        hovertemplate="%{text}<br>%{x:.3f} ms, %{y:.1f} %<extra></extra>",
    )


def _donors(front: Front) -> Any:
    from plotly import graph_objects

    measured = [(donor, donor.latency) for donor in front.donors if donor.latency is not None]
    return graph_objects.Scatter(
        name="donors (measured)",
        x=[latency.median_us / 1000 for _, latency in measured],
        y=[100 * donor.quality for donor, _ in measured],
        text=[f"{donor.model} at {donor.size} px" for donor, _ in measured],
        error_x={
            "type": "data",
            "symmetric": False,
            "array": [latency.margin_us / 1000 for _, latency in measured],
            "arrayminus": [0.0 for _ in measured],
        },
        mode="markers",
        marker={"symbol": "diamond", "size": 10, "color": "#c4570b"},
        hovertemplate="%{text}<br>%{x:.3f} ms, %{y:.1f} %<extra></extra>",
    )
