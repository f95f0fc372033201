"""How the three kinds of RM look wherever they are shown."""

COLOURS = {"helpful": "#004488", "harmless": "#BB5566", "mixed": "#DDAA33"}
