"""What is swept: one row per file."""

from __future__ import annotations

from fractions import Fraction

from tests.sweep import patches
from tests.sweep.films import CINEMA, NTSC, PTS_WRAP, Film

NO_XING = "-write_xing 0 -id3v2_version 0"
GAP_AT = 1.4
"""Where the holes are, in seconds: between the second mark and the third."""
LIVE = "-live 1 -cluster_time_limit 200"
FRAGMENTED = "-movflags +frag_keyframe+empty_moov+default_base_moof"
LATE = 0.37
"""Seconds by which sound or picture begins after the other, and not a whole number of frames or packets."""


def _uneven(n: int) -> tuple[int, ...]:
    """Of `n` frames those of a film whose rate varies: every second, then each, then every fifth."""
    return tuple(k for k in range(n) if (k < n // 3 and k % 2 == 0) or n // 3 <= k < n // 2 or k % 5 == 0)


def _late_sound(suffix: str, video: str, audio: str, *more, by: float = LATE, **options) -> Film:
    timing = "late sound" if by == LATE else f"sound {by:g} s late"
    return Film(suffix, video, audio, *more, timing=timing, sound_in=f"-itsoffset {by}", sound_late=by, **options)


def _late_picture(suffix: str, video: str, audio: str, *more, by: float = LATE, **options) -> Film:
    timing = "late picture" if by == LATE else f"picture {by:g} s late"
    return Film(suffix, video, audio, *more, timing=timing, picture_in=f"-itsoffset {by}", sound_late=-by, **options)


def _begins_later(suffix: str, video: str, audio: str, *more, by: float, **options) -> Film:
    """Sound and picture begin `by` seconds after the clock of the medium."""
    timing, out = f"begins at {by:g} s", f"-output_ts_offset {by}"
    return Film(suffix, video, audio, *more, timing=timing, out=out, **options)


def _recut(suffix: str, video: str, audio: str, *more, **options) -> Film:
    """Packets copied from 0.8 s on: the picture from the key frame before, where the container cannot hide it."""
    return Film(suffix, video, audio, *more, timing="copied from 0.8 s", recut=("-ss 0.8", ""), cut=True, **options)


def _hole(suffix: str, video: str | None, audio: str, *more, seconds: float = 0.5, **options) -> Film:
    """Timestamps of the sound that leave out `seconds` from `GAP_AT` on."""
    step = f"-bsf:a setts=ts='TS+if(gte(TS*TB\\,{GAP_AT})\\,{seconds}/TB\\,0)'"
    jumps = ((GAP_AT, seconds),)
    return Film(suffix, video, audio, *more, timing="hole in timestamps", recut=("", step), jumps=jumps, **options)


def _lost(suffix: str, video: str | None, audio: str, *more, packet: float, **options) -> Film:
    """About 0.3 s of the sound's packets, of `packet` seconds each, are missing from 1.3 s on."""
    first, n = round(1.3 / packet), round(0.3 / packet)
    drop = f"-bsf:a noise=drop='between(n\\,{first}\\,{first + n - 1})'"
    return Film(suffix, video, audio, *more, timing="lost packets", out=drop, lost=n * packet, **options)


SOUNDS = [
    # PCM in WAV
    Film("wav", None, "pcm u8", 8_000, "mono"),
    Film("wav", None, "pcm s16le", 11_025, "stereo"),
    Film("wav", None, "pcm s16le", 96_000, "stereo"),
    Film("wav", None, "pcm s24le", 44_100, "stereo"),
    Film("wav", None, "pcm s32le", 48_000, "mono"),
    Film("wav", None, "pcm f32le", 22_050, "mono"),
    Film("wav", None, "pcm f64le", 16_000, "stereo"),
    Film("wav", None, "pcm s64le", 48_000, "stereo", oracle="ffmpeg"),
    Film("wav", None, "pcm s32le", 48_000, "5.0", timing="24 valid bits of 32", patch=patches.call_24_bits_valid),
    Film("wav", None, "pcm s32le", 44_100, "stereo", timing="24 valid bits of 32", patch=patches.call_24_bits_valid),
    Film("wav", None, "pcm s24le", 48_000, "quad", timing="20 valid bits of 24", patch=patches.call_20_bits_valid),
    Film("wav", None, "pcm s16le", 44_100, "left"),
    Film("wav", None, "pcm s16le", 48_000, "2.1"),
    Film("wav", None, "pcm s16le", 48_000, "4.0"),
    Film("wav", None, "pcm s16le", 32_000, "quad"),
    Film("wav", None, "pcm s24le", 48_000, "5.1"),
    Film("wav", None, "pcm s24le", 48_000, "5.1(side)"),
    Film("wav", None, "pcm s16le", 48_000, "6.1"),
    Film("wav", None, "pcm f32le", 48_000, "7.1"),
    Film("wav", None, "pcm s16le", 48_000, "3 unnamed", patch=patches.unset_mask),
    Film("wav", None, "pcm alaw", 8_000, "mono"),
    Film("wav", None, "pcm mulaw", 8_000, "mono"),
    Film("wav", None, "adpcm ms", 22_050, "mono"),
    Film("wav", None, "adpcm ima", 44_100, "stereo"),
    Film("wav", None, "pcm s16le", 44_100, "stereo", timing="sizes unknown", patch=patches.forget_sizes),
    Film("wav", None, "pcm s16le", 12_000, "mono"),
    Film("wav", None, "sndfile PCM_24", 48_000, "stereo"),
    Film("wav", None, "sndfile FLOAT", 24_000, "mono"),
    # PCM in other containers
    Film("rf64", None, "sndfile PCM_16", 44_100, "stereo"),
    Film("wav", None, "pcm s24le", 48_000, "stereo", timing="RF64", out="-rf64 always"),
    Film("w64", None, "pcm f32le", 96_000, "stereo", oracle="ffmpeg"),
    Film("w64", None, "sndfile PCM_24", 48_000, "mono"),
    Film("aiff", None, "pcm s16be", 44_100, "stereo"),
    Film("aiff", None, "sndfile PCM_24", 48_000, "mono"),
    Film("aiff", None, "sndfile FLOAT", 32_000, "stereo"),
    Film("caf", None, "pcm s24be", 48_000, "stereo"),
    Film("caf", None, "sndfile ALAC_16", 44_100, "stereo"),
    Film("au", None, "pcm s16be", 8_000, "mono"),
    Film("au", None, "sndfile FLOAT", 44_100, "stereo"),
    Film("nist", None, "sndfile PCM_16", 16_000, "mono"),
    Film("ircam", None, "sndfile PCM_16", 44_100, "mono"),
    # Lossless
    Film("flac", None, "flac", 44_100, "stereo"),
    Film("flac", None, "flac 24", 96_000, "stereo"),
    Film("flac", None, "flac 24", 192_000, "mono"),
    Film("flac", None, "flac", 44_100, "mono", timing="length unknown", patch=patches.forget_length, oracle="ffmpeg"),
    Film("flac", None, "flac", 48_000, "5.1"),
    Film("flac", None, "sndfile PCM_S8", 22_050, "mono"),
    Film("oga", None, "flac", 48_000, "stereo", oracle="ffmpeg"),
    Film("m4a", None, "alac", 44_100, "stereo"),
    Film("m4a", None, "alac 24", 96_000, "stereo"),
    Film("wv", None, "wavpack", 44_100, "stereo"),
    Film("wv", None, "wavpack float", 48_000, "5.1"),
    Film("tta", None, "tta", 44_100, "stereo"),
    Film("mka", None, "flac 24", 44_100, "stereo"),
    Film("mka", None, "pcm f32le", 22_050, "mono"),
    Film("mka", None, "truehd", 48_000, "stereo"),
    # Lossy
    Film("ogg", None, "vorbis", 44_100, "stereo"),
    Film("ogg", None, "vorbis", 32_000, "mono"),
    Film("ogg", None, "vorbis", 48_000, "stereo"),
    Film("ogg", None, "vorbis", 24_000, "mono"),
    Film("ogg", None, "vorbis", 22_050, "mono"),
    Film("ogg", None, "vorbis", 16_000, "stereo"),
    Film("ogg", None, "vorbis", 96_000, "stereo"),
    Film("ogg", None, "vorbis", 8_000, "mono"),
    Film("ogg", None, "vorbis", 48_000, "5.1"),
    Film("ogg", None, "sndfile VORBIS", 44_100, "stereo"),
    Film("opus", None, "opus", 48_000, "stereo"),
    Film("opus", None, "opus 60 ms", 16_000, "mono", oracle="ffmpeg"),
    Film("opus", None, "opus family 1", 48_000, "5.1"),
    Film("ogg", None, "sndfile OPUS", 24_000, "mono", oracle="ffmpeg"),
    Film("weba", None, "opus", 48_000, "mono", out="-f webm"),
    Film("mka", None, "vorbis", 44_100, "stereo"),
    Film("mp3", None, "mp3", 44_100, "stereo"),
    Film("mp3", None, "mp3", 22_050, "mono"),
    Film("mp3", None, "mp3", 8_000, "mono", out="-b:a 32k"),
    Film("mp3", None, "mp3 vbr", 48_000, "stereo"),
    Film("mp3", None, "sndfile MPEG_LAYER_III", 44_100, "stereo"),
    Film("m4a", None, "aac", 88_200, "stereo"),
    Film("mp2", None, "mp2", 48_000, "stereo", lead=482 / 48_000),
    Film("aac", None, "aac", 48_000, "stereo", lead=1024 / 48_000),
    Film("aac", None, "aac", 22_050, "mono", lead=1024 / 22_050),
    Film("m4a", None, "aac", 44_100, "stereo"),
    Film("m4a", None, "aac", 48_000, "5.1"),
    Film("m4a", None, "aac", 11_025, "mono"),
    Film("m4a", None, "aac", 44_100, "stereo", timing="fragmented", out=FRAGMENTED, lead=1024 / 44_100),
    Film("m4a", None, "aac", 96_000, "stereo"),
    Film("latm", None, "aac", 48_000, "stereo", out="-f latm", lead=1024 / 48_000),
    Film("ac3", None, "ac3", 48_000, "5.1(side)", lead=256 / 48_000),
    Film("ac3", None, "ac3", 44_100, "stereo", lead=256 / 44_100),
    Film("eac3", None, "eac3", 48_000, "stereo", lead=256 / 48_000),
    Film("dts", None, "dts", 48_000, "5.1(side)", lead=512 / 48_000),
    Film("wma", None, "wmav2", 44_100, "stereo", out="-f asf", lead=-2048 / 44_100),
    Film("spx", None, "speex", 16_000, "mono", out="-f ogg", lead=223 / 16_000),
    Film("wav", None, "g722", 16_000, "mono", oracle="ffmpeg", lead=22 / 16_000),
    # Odd timing
    Film(
        "mp3", None, "mp3", 44_100, "stereo", timing="no Xing header",
        out=NO_XING, oracle="ffmpeg", lead=1105 / 44_100,
    ),
    Film(
        "mp3", None, "mp3", 44_100, "mono", timing="cut in a packet", cut=True,
        out=NO_XING, oracle="ffmpeg", patch=patches.cut_in_a_packet,
    ),
    Film("aac", None, "aac", 24_000, "stereo", timing="cut in a packet", cut=True, patch=patches.cut_in_a_packet),
    Film(
        "ogg", None, "vorbis", 44_100, "stereo", timing="copied from 0.8 s", cut=True,
        recut=("-ss 0.8", ""), oracle="ffmpeg",
    ),
    Film("ogg", None, "vorbis", 48_000, "mono", timing="no end mark", patch=patches.take_the_end_mark),
    Film(
        "opus", None, "opus", 48_000, "mono", timing="no end mark",
        patch=patches.take_the_end_mark, sound_end=2.4, oracle="ffmpeg",
    ),
    _hole("mka", None, "opus", 48_000, "stereo"),
    _hole("m4a", None, "aac", 48_000, "stereo"),
    _lost("mka", None, "flac", 48_000, "stereo", packet=4608 / 48_000),
    Film(
        "mka", None, "flac", 48_000, "stereo", timing="broken packet",
        out="-frame_size 2400 -bsf:a noise=amount='if(eq(n\\,28)\\,1\\,0)'", lost=0.05, damaged_packets=1,
    ),
]  # fmt: skip

FILMS = [
    # MP4 and MOV
    Film("mp4", "h264", "aac", 48_000, "stereo"),
    Film("mp4", "h264 pyramid", "aac", 44_100, "stereo", CINEMA),
    Film("mp4", "h264", "aac", 48_000, "5.1", NTSC),
    Film("mp4", "h264", "aac", 22_050, "mono", Fraction(60)),
    Film("mp4", "h264", "mp3", 44_100, "stereo"),
    Film("mp4", "hevc", "ac3", 48_000, "5.1(side)"),
    Film("mp4", "av1", "opus", 48_000, "stereo"),
    Film("mp4", "av1 grey", "opus", 48_000, "mono", NTSC),
    Film("mp4", "vp9", "flac", 48_000, "stereo", out="-strict -2"),
    Film("mp4", "mpeg4", "alac", 44_100, "stereo"),
    Film("mp4", "h264", "eac3", 48_000, "stereo"),
    Film("mp4", "h264", None, fps=NTSC),
    Film("mp4", "h264", "aac", timing="variable rate", kept=_uneven(60)),
    Film("mp4", "h264", "aac", timing="fragmented", out=FRAGMENTED, muxer_holes=True),
    Film("mp4", "h264", "aac", timing="fragmented with edit list", out=FRAGMENTED + "+delay_moov"),
    Film("mp4", "h264", "aac", timing="no edit list", out="-use_editlist 0", muxer_holes=True),
    Film("mp4", "h264", "aac", timing="negative offsets", out="-movflags +negative_cts_offsets"),
    Film("mp4", "h264 pyramid", "aac", timing="pause near the end", kept=(*range(48), *range(56, 60))),
    Film("mp4", "mpeg4", None, timing="pause near the end", kept=(*range(48), *range(57, 60))),
    Film("mp4", "hevc", "aac", timing="turned by 90", patch=patches.turn_by_90),
    _late_sound("mp4", "h264", "aac"),
    _late_sound("mp4", "h264", "aac", 48_000, "stereo", Fraction(12), by=7, seconds=9.6, sound_seconds=2.4),
    _late_picture("mp4", "h264", "aac", by=7, sound_seconds=9.6),
    _late_picture("mp4", "h264", "aac"),
    _recut("mp4", "h264", "aac"),
    _begins_later("mp4", "h264", "aac", by=5),
    Film("mp4", "h264", "aac", timing="picture ends first", sound_seconds=3.0),
    Film("mp4", "h264", "aac", timing="sound ends first", sound_seconds=1.9),
    Film("mp4", "h264", "aac", timing="long pause", kept=(*range(32), *range(43, 60))),
    Film("mp4", "h264 pyramid", "aac", timing="long pause", kept=(*range(32), *range(43, 60))),
    _hole("mp4", "h264", "aac"),
    Film("mp4", "h264", "aac", timing="turned by 90", patch=patches.turn_by_90),
    Film("mp4", "h264", "aac", timing="turned by 180", patch=patches.turn_by_180),
    Film("mp4", "h264", "aac", timing="turned by 270", patch=patches.turn_by_270),
    Film("mp4", "h264", "aac", timing="wide pixels", out="-aspect 64:27"),
    Film("mp4", "h264 interlaced", "aac", timing="interlaced"),
    Film("mp4", "h264 4:4:4", "aac", timing="odd size", size=(47, 63)),
    Film("mp4", "h264 full range", "aac", timing="full range"),
    Film("mp4", "hevc 10 bit", "aac", timing="10 bit"),
    Film("mov", "prores", "pcm s24le", 48_000, "stereo"),
    Film("mov", "mjpeg", "pcm s16be", 44_100, "stereo", NTSC),
    Film("mov", "qtrle", "adpcm ima qt", 44_100, "mono"),
    Film("mov", "png", "pcm f32le", 48_000, "5.1", Fraction(12)),
    _recut("mov", "h264 pyramid", "aac"),
    _recut("mov", "prores", "pcm s16le"),
    _late_sound("mov", "h264", "pcm s16le"),
    Film("3gp", "h263", "aac", 16_000, "mono", Fraction(15), size=(144, 176)),
    Film("f4v", "h264", "aac", 44_100, "stereo"),
    Film("ismv", "h264", "aac", 48_000, "stereo"),
    # Matroska and WebM
    Film("mkv", "h264", "opus", 48_000, "stereo"),
    Film("mkv", "h264 pyramid", "vorbis", 44_100, "stereo", CINEMA),
    Film("mkv", "hevc", "flac", 44_100, "stereo", NTSC),
    Film("mkv", "mpeg2", "ac3", 48_000, "5.1(side)"),
    Film("mkv", "mpeg4", "mp3", 44_100, "stereo"),
    Film("mkv", "theora", "vorbis", 48_000, "stereo"),
    Film("mkv", "ffv1", "pcm s24le", 96_000, "stereo"),
    Film("mkv", "h264", "dts", 48_000, "5.1(side)"),
    Film("mkv", "h264", "truehd", 48_000, "stereo", Fraction(60000, 1001)),
    Film("mkv", "h264", "wavpack", 48_000, "stereo"),
    Film("mkv", "h264", "aac", 44_100, "stereo", Fraction(60)),
    Film("mkv", "h264", "eac3", 48_000, "stereo"),
    Film("mkv", "h264", "alac", 48_000, "stereo"),
    Film("mkv", "h264", "opus", timing="variable rate", kept=_uneven(60)),
    Film("mkv", "h264", "opus", timing="live", out=LIVE),
    Film("mkv", "h264", "aac", timing="live", out=LIVE),
    _late_sound("mkv", "h264", "opus"),
    _late_sound("mkv", "h264", "flac", 44_100),
    _late_picture("mkv", "h264", "opus"),
    _late_picture("mkv", "h264", "aac"),
    _late_picture("mkv", "mpeg4", "mp3", 44_100),
    _late_picture("mkv", "h264", "opus", by=7, sound_seconds=9.6),
    _late_sound("mkv", "h264", "aac", 48_000, "stereo", Fraction(12), by=7, seconds=9.6, sound_seconds=2.4),
    _recut("mkv", "h264", "opus"),
    _begins_later("mkv", "h264", "opus", by=5),
    Film("mkv", "h264", "opus", timing="sound ends first", sound_seconds=1.9),
    Film("mkv", "h264", "opus", timing="output gain of -6 dB", patch=patches.turn_down),
    Film("mkv", "h264", "aac", timing="long pause", kept=(*range(32), *range(43, 60))),
    _hole("mkv", "h264", "flac"),
    _lost("mkv", "h264", "opus", packet=0.02),
    Film("webm", "vp8", "vorbis", 44_100, "stereo"),
    Film("webm", "vp9", "opus", 48_000, "stereo", NTSC),
    Film("webm", "av1", "opus", 48_000, "5.1", out="-mapping_family 1 -b:a 256k"),
    Film("webm", "vp9", "vorbis", 44_100, timing="variable rate", kept=_uneven(60)),
    _late_picture("webm", "vp8", "vorbis", 44_100, by=7, sound_seconds=9.6),
    _late_sound("webm", "vp8", "opus"),
    _late_picture("webm", "vp9", "opus"),
    # AVI
    Film("avi", "mpeg4", "pcm s16le", 44_100, "stereo"),
    Film("avi", "xvid", "mp3", 44_100, "stereo", sound_late=-0.12),  # libxvid stamps all but the first 3 frames late
    Film("avi", "mpeg4", "mp3", 48_000, "stereo", CINEMA),
    Film("avi", "h264", "pcm s16le", 48_000, "mono", sound_late=-0.08),
    Film("avi", "h264 pyramid", "aac", 48_000, "stereo"),
    Film("avi", "mjpeg", "pcm u8", 11_025, "mono", Fraction(15)),
    Film("avi", "huffyuv", "pcm s16le", 48_000, "5.1"),
    Film("avi", "msmpeg4", "ac3", 48_000, "stereo"),
    Film("avi", "raw", "adpcm ms", 22_050, "mono", Fraction(12)),
    Film("avi", "mpeg4 without B", "mp2", 48_000, "stereo"),
    Film("avi", "mpeg4", "mp3 vbr", 44_100, "stereo"),
    Film("avi", "mpeg4", None),
    Film("avi", "mjpeg", "pcm s16le", timing="dropped frames", kept=_uneven(60)),
    Film("avi", "mpeg4 without B", "mp3", 44_100, timing="dropped frames", kept=_uneven(60)),
    Film("avi", "mpeg4", "pcm s16le", timing="dropped frames", kept=_uneven(60)),
    # MPEG
    Film("ts", "h264", "aac", 48_000, "stereo"),
    Film("ts", "mpeg2", "mp2", 48_000, "stereo"),
    Film("ts", "h264", "ac3", 48_000, "5.1(side)", NTSC),
    Film("ts", "hevc", "aac", 44_100, "stereo", Fraction(50)),
    Film("ts", "h264", "opus", 48_000, "stereo"),
    Film("ts", "mpeg2 interlaced", "mp2", timing="interlaced"),
    Film("ts", None, "aac", 48_000, "stereo", lead=1024 / 48_000),
    Film("ts", "h264", "aac", timing="wraps", out=f"-output_ts_offset {float(PTS_WRAP) - 2.5:.3f}"),
    Film("ts", "mpeg2", "mp2", timing="wraps", out=f"-output_ts_offset {float(PTS_WRAP) - 2.5:.3f}"),
    Film("ts", "h264", "aac", timing="variable rate", kept=_uneven(60)),
    _late_sound("ts", "h264", "aac"),
    _late_picture("ts", "h264", "aac"),
    _late_picture("ts", "h264", "aac", by=7, sound_seconds=9.6),
    _late_sound("ts", "mpeg2", "mp2", by=7, seconds=9.6, sound_seconds=2.4),
    _recut("ts", "h264", "aac"),
    _begins_later("ts", "h264", "aac", by=36_000),
    Film("ts", "h264", "aac", timing="LATM", out="-mpegts_flags latm"),
    Film("ts", "h264", "dts", 48_000, "5.1(side)"),
    _late_picture("ts", "mpeg2", "mp2"),
    Film("ts", "mpeg2", "mp2", timing="cut in a GOP", patch=patches.cut_in_a_gop, cut=True),
    Film("ts", "h264", "aac", timing="cut in a GOP", patch=patches.cut_in_a_gop, cut=True),
    Film("ts", "mpeg2", "mp2", timing="timestamps step back", patch=patches.step_back, jumps=((GAP_AT, -0.2),)),
    Film("ts", "mpeg2", "mp2", timing="lost sound", patch=patches.lose_sound, lost=0.24),
    Film("ts", "mpeg2", "mp2", timing="lost pictures", patch=patches.lose_picture, damaged=None),
    Film("ts", "h264", "aac", timing="lost pictures", patch=patches.lose_picture, damaged=None),
    Film("m2ts", "h264", "ac3", 48_000, "5.1(side)", CINEMA),
    Film("m2ts", "h264", "pcm bluray", 48_000, "stereo"),
    Film("mpg", "mpeg1", "mp2", 44_100, "stereo"),
    Film("mpg", "mpeg2", "mp2", 48_000, "stereo", NTSC),
    Film("vob", "mpeg2", "ac3", 48_000, "5.1(side)"),
    Film("vob", "mpeg2", "pcm dvd", 48_000, "stereo"),
    _late_sound("mpg", "mpeg2", "mp2"),
    _late_picture("mpg", "mpeg2", "mp2"),
    # Others
    Film("flv", "flv1", "mp3", 44_100, "stereo"),
    Film("flv", "h264", "aac", 48_000, "stereo"),
    Film("flv", "flv1", "nellymoser", 22_050, "mono"),
    Film("flv", "flv1", "mp3", 44_100, timing="variable rate", kept=_uneven(60)),
    _late_sound("flv", "h264", "aac"),
    _late_picture("flv", "h264", "aac"),
    _recut("flv", "h264", "aac"),
    _begins_later("flv", "h264", "aac", by=5),
    Film("ogv", "theora", "vorbis", 44_100, "stereo"),
    Film("ogv", "theora", "vorbis", 48_000, "stereo", NTSC),
    Film("ogv", "theora", "opus", 48_000, "stereo"),
    Film("ogv", "theora", "flac", 44_100, "stereo"),
    Film("ogv", "theora", "vorbis", 44_100, timing="no end mark", patch=patches.take_the_end_mark, sound_end=2.4),
    _late_sound("ogv", "theora", "vorbis"),
    _late_picture("ogv", "theora", "vorbis", 44_100),
    Film("wmv", "wmv2", "wmav2", 44_100, "stereo"),
    _late_sound("wmv", "wmv2", "wmav2", 44_100),
    Film("mxf", "mpeg2", "pcm s16le", 48_000, "stereo"),
    Film("nut", "ffv1", "flac", 48_000, "stereo"),
    Film("nut", "mpeg4", "vorbis", 44_100, "stereo"),
    Film("wtv", "mpeg2", "mp2", 48_000, "stereo"),
    Film("ivf", "vp8", None),
    Film("gif", "gif", None, fps=Fraction(20)),
    Film("gif", "gif", None, fps=Fraction(20), timing="variable rate", kept=_uneven(48)),
    Film("y4m", "y4m", None, fps=NTSC),
]

ROWS = [*SOUNDS, *FILMS]
