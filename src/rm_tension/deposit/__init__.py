"""A citable deposit of a finished profile, and DVC's cache filled from one."""
