"""What is published of a finished profile: cards, checkpoints, data, records."""
