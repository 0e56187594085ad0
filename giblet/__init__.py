"""giblet: a film's sound, picture and words on the clock of the scanner, and predicted audio codes back into sound.

Everything that the command line does is a function of the same name here:

>>> import giblet as gb
>>> extracted = gb.extract("film.mkv", gb.AudioSettings.make(tr=1.5), "features")  # doctest: +SKIP
>>> gb.load_features(extracted.path).codes.shape  # doctest: +SKIP
(920, 8, 112)

Names are loaded when they are first used, so that importing giblet takes no time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from giblet.lazy import lazily as _lazily
from giblet.version import __version__ as __version__

if TYPE_CHECKING:
    from giblet.alignment import align_all_modalities as align  # noqa: F401
    from giblet.codec import load_codec as load_codec
    from giblet.data.acoustics import AcousticsProcessor as AcousticsProcessor
    from giblet.data.acoustics import AcousticsSettings as AcousticsSettings
    from giblet.data.audio import AudioProcessor as AudioProcessor
    from giblet.data.audio import AudioSettings as AudioSettings
    from giblet.data.clips import ClipProcessor as ClipProcessor
    from giblet.data.clips import VideoClipSettings as VideoClipSettings
    from giblet.data.cuts import CutProcessor as CutProcessor
    from giblet.data.cuts import CutSettings as CutSettings
    from giblet.data.fmri import FMRIProcessor as FMRIProcessor
    from giblet.data.language import LanguageProcessor as LanguageProcessor
    from giblet.data.language import LanguageSettings as LanguageSettings
    from giblet.data.motion import MotionProcessor as MotionProcessor
    from giblet.data.motion import MotionSettings as MotionSettings
    from giblet.data.speech import SpeechProcessor as SpeechProcessor
    from giblet.data.speech import SpeechSettings as SpeechSettings
    from giblet.data.splits import make_splits as make_splits
    from giblet.data.text import TextProcessor as TextProcessor
    from giblet.data.text import TextSettings as TextSettings
    from giblet.data.video import VideoProcessor as VideoProcessor
    from giblet.data.video import VideoSettings as VideoSettings
    from giblet.encoding.clip_settings import ClipSettings as ClipSettings
    from giblet.encoding.settings import EncodeSettings as EncodeSettings
    from giblet.features import load_features as load_features
    from giblet.features import save_features as save_features
    from giblet.models.autoencoder import MultimodalAutoencoder as MultimodalAutoencoder
    from giblet.models.decoder import MultimodalDecoder as MultimodalDecoder
    from giblet.models.encoder import AudioEncoder as AudioEncoder
    from giblet.pipeline.brain import check_alignment as check_alignment
    from giblet.pipeline.codec import evaluate_codec as evaluate_codec
    from giblet.pipeline.decoding import decode as decode
    from giblet.pipeline.demonstration.whole import demo as demo
    from giblet.pipeline.encoding import encode as encode
    from giblet.pipeline.encoding_film import predict_film as predict_film
    from giblet.pipeline.encoding_sounds import predict_clips as predict_clips
    from giblet.pipeline.features import extract as extract
    from giblet.pipeline.features import extract_many as extract_many
    from giblet.pipeline.reconstruction import reconstruct as reconstruct
    from giblet.pipeline.report import report as report
    from giblet.pipeline.round_trip import measure_round_trip as measure_round_trip
    from giblet.pipeline.scoring import score as score
    from giblet.pipeline.simulation import simulate as simulate
    from giblet.pipeline.stim_files import export_bids as export_bids
    from giblet.pipeline.trained_run import TrainedRun as TrainedRun
    from giblet.pipeline.trained_run import open_run as open_run
    from giblet.pipeline.training import train as train
    from giblet.pipeline.word_times import align_words as align_words
    from giblet.statistics.rotation import rotation_test as rotation_test
    from giblet.training.settings import TrainSettings as TrainSettings


__getattr__, __dir__, __all__ = _lazily(
    __name__,
    {
        "giblet.alignment": ("align=align_all_modalities",),
        "giblet.codec": ("load_codec",),
        "giblet.data.acoustics": ("AcousticsProcessor", "AcousticsSettings"),
        "giblet.data.audio": ("AudioProcessor", "AudioSettings"),
        "giblet.data.clips": ("ClipProcessor", "VideoClipSettings"),
        "giblet.data.cuts": ("CutProcessor", "CutSettings"),
        "giblet.data.fmri": ("FMRIProcessor",),
        "giblet.data.language": ("LanguageProcessor", "LanguageSettings"),
        "giblet.data.motion": ("MotionProcessor", "MotionSettings"),
        "giblet.data.splits": ("make_splits",),
        "giblet.data.speech": ("SpeechProcessor", "SpeechSettings"),
        "giblet.data.text": ("TextProcessor", "TextSettings"),
        "giblet.data.video": ("VideoProcessor", "VideoSettings"),
        "giblet.encoding.clip_settings": ("ClipSettings",),
        "giblet.encoding.settings": ("EncodeSettings",),
        "giblet.statistics.rotation": ("rotation_test",),
        "giblet.features": ("load_features", "save_features"),
        "giblet.models.autoencoder": ("MultimodalAutoencoder",),
        "giblet.models.decoder": ("MultimodalDecoder",),
        "giblet.models.encoder": ("AudioEncoder",),
        "giblet.pipeline.brain": ("check_alignment",),
        "giblet.pipeline.codec": ("evaluate_codec",),
        "giblet.pipeline.decoding": ("decode",),
        "giblet.pipeline.demonstration.whole": ("demo",),
        "giblet.pipeline.encoding": ("encode",),
        "giblet.pipeline.encoding_film": ("predict_film",),
        "giblet.pipeline.encoding_sounds": ("predict_clips",),
        "giblet.pipeline.features": ("extract", "extract_many"),
        "giblet.pipeline.reconstruction": ("reconstruct",),
        "giblet.pipeline.report": ("report",),
        "giblet.pipeline.round_trip": ("measure_round_trip",),
        "giblet.pipeline.scoring": ("score",),
        "giblet.pipeline.simulation": ("simulate",),
        "giblet.pipeline.stim_files": ("export_bids",),
        "giblet.pipeline.trained_run": ("TrainedRun", "open_run"),
        "giblet.pipeline.training": ("train",),
        "giblet.pipeline.word_times": ("align_words",),
        "giblet.training.settings": ("TrainSettings",),
    },
    renamed={"ExtractSettings": "AudioSettings"},
)
