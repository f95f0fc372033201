"""Any reward model, its neurons and what they do."""
