"""`profile`: what a simulated engine knows of a GPU: show it, fit it, measure it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from suite.cli.app import RunDirectory, app

if TYPE_CHECKING:
    from engines.simulated.profile import Profile

profile_app = typer.Typer(
    no_args_is_help=True, help="What `kind: simulated` knows of a GPU: show, fit, measure."
)
app.add_typer(profile_app, name="profile")

Out = Annotated[
    Path | None,
    typer.Option(metavar="FILE", dir_okay=False, help="Write the profile here (.yaml)."),
]
Base = Annotated[
    str, typer.Option(metavar="PROFILE", help="Gives every constant that is not fitted.")
]


@profile_app.command()
def show(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="A shipped profile, or a .yaml file.")
    ] = None,
) -> None:
    """Show a profile's constants and where each comes from; without a name, list them."""
    from engines.simulated.profile import load_profile, shipped_profiles

    if name is None:
        for each in shipped_profiles():
            typer.echo(f"{each}: {load_profile(each).caveat}")
        return
    _show(load_profile(name))


@profile_app.command()
def fit(
    tables: Annotated[
        list[Path],
        typer.Argument(metavar="TABLE…", help="Kernel times (csv), plain or gzip."),
    ],
    base: Base,
    name: Annotated[
        str | None, typer.Option(help="The new profile's; default: the base's.")
    ] = None,
    out: Out = None,
) -> None:
    """Fit a profile to measured kernel times; what no table speaks of is taken from the base."""
    from engines.simulated.fit import fit_profile
    from engines.simulated.profile import load_profile

    start = load_profile(base)
    fitted, residuals = fit_profile(tables, start)
    for each in residuals:
        typer.echo(
            f"{each.part:21} off by {each.median_error_ratio:.1%} in the median, "
            f"{each.p95_error_ratio:.1%} at P95, {each.mean_signed_error_ratio:+.1%} in the mean; "
            f"{each.num_rows} rows of {each.table}"
        )
    _keep(fitted.model_copy(update={"name": name or start.name}), out)


@profile_app.command()
def measure(
    run: RunDirectory,
    base: Base,
    engine: Annotated[
        str | None,
        typer.Option(help="Whose steps; default: the first engine's that logs real steps."),
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="The new profile's; default: the base's.")
    ] = None,
    out: Out = None,
) -> None:
    """Fit a profile to the steps that an engine on a real device took in a run on this machine."""
    from engines.simulated.profile import load_profile
    from engines.simulated.step_fit import fit_steps, steps_of_log
    from suite.measuring.logged_steps import logged_steps

    start = load_profile(base)
    chosen, columns, block_size = logged_steps(run, engine)
    steps = steps_of_log(columns, block_size)
    found = fit_steps(steps, start, source=f"steps of {chosen} in {run.name}")
    typer.echo(
        f"steps: off by {found.median_error_ratio:.1%} in the median, "
        f"{found.p95_error_ratio:.1%} at P95; {found.num_steps} of {chosen}"
    )
    _keep(found.profile.model_copy(update={"name": name or start.name}), out)


def _keep(profile: Profile, out: Path | None) -> None:
    from engines.simulated.profile import profile_yaml

    if out is None:
        _show(profile)
        return
    out.write_text(profile_yaml(profile), encoding="utf-8")
    typer.echo(f"profile written to {out}")


def _show(profile: Profile) -> None:
    typer.echo(profile.caveat)
    for group in (profile.step, profile.link):
        for name, constant in group:
            typer.echo(f"{name:28} {constant.value:<10.4g} {constant.origin:9} {constant.source}")
