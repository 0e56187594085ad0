"""Films as FFmpeg gives them: containers, packets, headers, and blocks of sound on the film's clock."""
