"""A sweep of small media files: made by ffmpeg and libsndfile, read by giblet and by an independent decoder."""
