"""The user's jobs, one function each: the command line, `scripts/`, notebooks and `import giblet` call these."""

from giblet.lazy import lazily

__getattr__, __dir__, __all__ = lazily(
    __name__,
    {
        "giblet.pipeline.brain": ("check_alignment", "simulate"),
        "giblet.pipeline.codec": ("CodecDescription", "CodecEvaluation", "describe_codec", "evaluate_codec"),
        "giblet.pipeline.codec_training": ("TrainedCodec", "train_codec"),
        "giblet.pipeline.features": (
            "Decoded", "Extracted", "decode", "demo", "extract", "extract_many", "processor_for", "sample_film",
        ),
        "giblet.pipeline.reconstruct": ("Reconstructed", "reconstruct"),
        "giblet.pipeline.scoring": ("score",),
        "giblet.pipeline.trained_run": ("Prediction", "TrainedRun"),
        "giblet.pipeline.training": ("train",),
    },
    renamed={
        "extract_film": "extract", "extract_features": "extract_many", "decode_features": "decode",
        "Evaluated": "CodecEvaluation",
    },
)  # fmt: skip
