"""What a scanner leaves: images, tables, timing, confounds, and the volumes of one subject as a Dataset."""
