"""Labels: their text, label files, labelled image folders, and the label of a frame."""
