"""One function per job: the command line, `scripts/`, notebooks and `import giblet` call these."""

from giblet.lazy import lazily

__getattr__, __dir__, __all__ = lazily(
    __name__,
    {
        "giblet.pipeline.decoding": ("DecodedFile", "decode"),
        "giblet.pipeline.brain": ("check_alignment",),
        "giblet.pipeline.codec": ("CodecDescription", "CodecEvaluation", "describe_codec", "evaluate_codec"),
        "giblet.pipeline.codec_training": ("TrainedCodec", "train_codec"),
        "giblet.pipeline.doctor": ("Checkup", "doctor"),
        "giblet.pipeline.encoding": ("encode",),
        "giblet.pipeline.encoding_film": ("PredictedScan", "predict_film"),
        "giblet.pipeline.encoding_result": ("EncodingResult",),
        "giblet.pipeline.encoding_sounds": ("PredictedResponses", "predict_clips"),
        "giblet.pipeline.extracted": ("FailedExtraction", "FeatureFile"),
        "giblet.pipeline.features": ("extract", "extract_many", "processor_for", "processor_type"),
        "giblet.pipeline.reconstruction": ("Reconstruction", "reconstruct"),
        "giblet.pipeline.demonstration.whole": ("Demonstration", "demo"),
        "giblet.pipeline.round_trip": ("RoundTrip", "measure_round_trip", "sample", "sample_film"),
        "giblet.pipeline.scoring": ("score",),
        "giblet.pipeline.stim_files": ("StimFile", "export_bids"),
        "giblet.pipeline.simulation": ("SimulatedScan", "simulate", "simulate_subjects"),
        "giblet.pipeline.trained_run": ("Prediction", "TrainedRun"),
        "giblet.pipeline.training": ("train",),
        "giblet.pipeline.word_times": ("WordTimes", "align_words"),
    },
    renamed={
        "extract_film": "extract", "extract_features": "extract_many", "decode_features": "decode",
        "Extracted": "FeatureFile", "Decoded": "DecodedFile", "Reconstructed": "Reconstruction",
        "Evaluated": "CodecEvaluation",
    },
)  # fmt: skip
