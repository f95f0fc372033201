"""What figures show alike wherever it is drawn."""

COLOURS = {"helpful": "#004488", "harmless": "#BB5566", "mixed": "#DDAA33"}
THIRDS = ("early", "middle", "late")  # of the depth (METHOD.md section 4)
