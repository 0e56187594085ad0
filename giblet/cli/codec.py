"""``giblet codec``: train a codec, and say what one is."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated

import typer

from giblet.cli.shared import Device, Json, app, err, out, print_json, table

codec = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Train a codec, or say what one is.")
app.add_typer(codec, name="codec")


@codec.command()
def train(
    config: Annotated[Path, typer.Argument(help="YAML file of training settings.", show_default=False)],
    as_json: Json = False,
) -> None:
    """Train a codec, going on from the last checkpoint in the output folder if there is one."""
    from giblet.codec.train import train_codec
    from giblet.codec.training_config import CodecTrainingConfig
    from giblet.files import check_writable

    settings = CodecTrainingConfig.from_yaml(config)
    check_writable(settings.output)
    logging.getLogger("giblet.codec").setLevel(logging.INFO)
    try:
        final = train_codec(settings)
    except KeyboardInterrupt:
        kept = settings.output / "checkpoints"
        what = f"goes on from the last checkpoint in {kept}" if kept.is_dir() else "starts anew: no checkpoint yet"
        err.print(f"giblet: training stopped; the same command {what}", markup=False)
        raise
    if as_json:
        print_json({"codec": str(final)})
    else:
        out.print(f"{final}: trained; use it with --codec {final}", markup=False)


@codec.command("info")
def info(
    name: Annotated[str, typer.Argument(help="bundled, a folder with an EnCodec model, or a hub name.")] = "bundled",
    bandwidth: Annotated[float, typer.Option(help="kbps, as far as the codec has codebooks.")] = 6.0,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Say what a codec does: its clock, its codebooks, its fingerprint."""
    from giblet.codec import load_codec

    loaded = load_codec(name, bandwidth=bandwidth, device=device)
    about = {
        field: getattr(loaded, field)
        for field in ("sample_rate", "frame_rate", "hop_length", "bandwidth", "n_codebooks", "codebook_size")
        if hasattr(loaded, field)
    }
    about["fingerprint"] = loaded.fingerprint
    if as_json:
        print_json({"codec": name, **about})
    else:
        table(f"codec {name}", about)
