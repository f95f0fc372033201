"""What figures show alike wherever it is drawn."""

THIRDS = ("early", "middle", "late")  # of the depth (METHOD.md section 4)
