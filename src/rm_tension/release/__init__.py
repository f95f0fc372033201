"""What is published of a profile: model cards, the kit around them, and the way to a hub or a bucket."""
