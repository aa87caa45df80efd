"""Does the model look at the video? Alters the features of clips, and measures what that does to their sentences."""
