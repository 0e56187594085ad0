"""Training of the multimodal autoencoder, on one processor or on many."""
