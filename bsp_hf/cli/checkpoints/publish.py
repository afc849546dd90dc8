"""`bsp-hf publish`: the folder of an encoder or a localizer onto the Hub."""

from pathlib import Path
from typing import Annotated

import typer
from typer import Argument, Option

from ..application import report_errors


def publish(
    folder: Annotated[Path, Argument(help="What a training or `bsp-hf convert` wrote.")],
    repo_id: Annotated[str, Argument(help="OWNER/NAME on the Hub; made if it does not exist.")],
    dry_run: Annotated[
        bool, Option("--dry-run", help="Check the folder and list what would be published; no network.")
    ] = False,
    private: Annotated[
        bool | None, Option("--private/--public", help="Who may see a new repository.")
    ] = None,
    license_id: Annotated[
        str | None, Option("--license", help="Licence of the weights, for the model card: apache-2.0.")
    ] = None,
    training_data: Annotated[
        str | None, Option(help="Which videos it was trained on, for the model card.")
    ] = None,
    dataset: Annotated[
        list[str] | None,
        Option(help="Hub id of a data set it was trained on, for the model card; may be repeated."),
    ] = None,
    revision: Annotated[str, Option(help="Branch; made if it does not exist.")] = "main",
    tag: Annotated[str | None, Option(help="Tag to set on the commit, such as v1.0.")] = None,
    message: Annotated[str | None, Option(help="Message of the commit.")] = None,
    create_pr: Annotated[
        bool, Option("--create-pr", help="Open a pull request instead of committing.")
    ] = False,
    parent_commit: Annotated[str | None, Option(help="Fail unless the branch is at this commit.")] = None,
) -> None:
    r"""Publish an encoder or a localizer: weights, model card, record and what loading needs, in one commit.

    Refused if a file is missing or does not belong, if weights do not load, or if the model card has gaps.

    Log in with `hf auth login`, or set HF_TOKEN. An interrupted upload continues where it stopped.

    \b
    Examples:
      bsp-hf publish bsp-tsm-r50 org/bsp-tsm-r50 --dry-run
      bsp-hf publish bsp-tsm-r50 org/bsp-tsm-r50 --license apache-2.0 --training-data "Kinetics-400, train"
      bsp-hf publish runs/gtad org/gtad-activitynet --license mit --training-data "ActivityNet v1.3, training"
      bsp-hf publish bsp-tsm-r50 org/bsp-tsm-r50 --private --tag v1.0
    """
    with report_errors(registers=False):
        if not folder.is_dir():
            raise ValueError(f"{folder} is not a folder; pass what pre-training or `bsp-hf convert` wrote.")
    with report_errors():
        from bsp_hf import publish_folder

        report = publish_folder(
            folder,
            repo_id,
            private=private,
            revision=revision,
            commit_message=message,
            create_pr=create_pr,
            parent_commit=parent_commit,
            tag=tag,
            card={"license": license_id, "training_data": training_data, "datasets": dataset},
            dry_run=dry_run,
        )
        typer.echo(str(report))
