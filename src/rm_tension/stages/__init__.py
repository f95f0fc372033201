"""One thin program per DVC stage."""
